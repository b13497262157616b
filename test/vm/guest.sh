#!/bin/bash
# Runs inside the guest as stas-guest.service: puts the installed tree in, runs the command of the host, brings back what explains a failure.
#
# The host's directory is mounted here already:
#   settings   shell variables: mode (run|shell), seconds (how long the command may take), rows, columns
#   command    the command, one shell line
#   tree.tar   what `make install` made (absent: nothing is installed); also a disk, vdc
#   files.tar  files for the command, which runs in the directory where they are unpacked; also a disk, vdb
#   out/       goes back to the host
# Two virtio ports lead to the host: stas.out is the command's output and nothing else, stas.control carries
# lines `stage TEXT` and, at the end, `exit CODE`.
set -u
host=/mnt/host
work=/var/tmp/stas
. $host/settings

port() { # name -> device; asks sysfs, so that udev need not be done
	local name
	until name=$(grep -lx "$1" /sys/class/virtio-ports/*/name 2>/dev/null); do sleep 0.1; done
	name=${name%/name}
	until [[ -c /dev/${name##*/} ]]; do sleep 0.1; done
	echo "/dev/${name##*/}"
}

stage() {
	if [[ $mode == shell ]]; then echo "* $*" >/dev/console; else printf 'stage %s\n' "$*" >&4; fi
}

finish() { # code
	sync -f $host/out
	printf 'exit %d\n' "$1" >&4
	systemctl poweroff --force --force
}

install_tree() {
	tar -C / -xf /dev/vdc --no-same-owner --no-overwrite-dir --keep-directory-symlink || return
	systemd-sysusers
	systemd-tmpfiles --create 2>&1 | grep -v 'Failed to determine whether' # of no interest in a VM
	systemctl daemon-reload
	busctl call -q org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig
	udevadm control --reload
}

state() {
	local program
	systemctl --no-pager --failed
	systemctl --no-pager --full -n 0 status stafd.service stacd.service
	echo '--- stafctl, stacctl'
	for program in stafctl stacctl; do
		type -P $program >/dev/null && timeout 10 $program status
	done
	echo '--- registry and state directories'
	(cd /run && timeout 5 grep -rHs . nvme/registry)
	ls -lR /run/nvme /run/stafd /run/stacd
	echo '--- controllers'
	(cd /sys/class/nvme 2>/dev/null && timeout 10 grep -Hs . nvme*/{state,cntrltype,subsysnqn,address,cntlid})
	timeout 20 nvme list-subsys
	lsblk
	echo '--- target'
	find /sys/kernel/config/nvmet -type l -o -type d 2>/dev/null | head -n 400
	echo '--- network'
	ip -br addr
	ss -tnap
	echo '--- processes'
	ps -eo pid,ppid,stat,wchan:32,rss,etimes,args --forest
}

collect() {
	echo w >/proc/sysrq-trigger # stacks of what is blocked, into the journal
	state >$host/out/state 2>&1
	dmesg >$host/out/dmesg
	journalctl --sync
	journalctl -b -o short-precise --no-pager >$host/out/journal
	cp -r /var/lib/systemd/coredump $host/out/ 2>/dev/null
}

if [[ $mode != shell ]]; then
	exec 3>"$(port stas.out)" 4>"$(port stas.control)"
fi
stage "booted $(. /etc/os-release && echo "$PRETTY_NAME"), kernel $(uname -r)"

if [[ -e $host/tree.tar ]]; then
	if install_tree; then stage "installed the tree"; else
		stage "cannot install the tree"
		[[ $mode == shell ]] || finish 125
	fi
fi
mkdir -p $work
tar -C $work -xf /dev/vdb --no-same-owner

if [[ $mode == shell ]]; then
	printf 'stty rows %d columns %d\n' "$rows" "$columns" >/etc/profile.d/size.sh
	exec systemctl start serial-getty@ttyS0.service
fi

# The command writes into a pipe: the port can be opened only once, and children that outlive the command may keep theirs.
mkfifo $work/.output
cat $work/.output >&3 &
cat=$!
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin STAS_OUT=$host/out
cd $work || finish 125
systemctl is-system-running --wait >/dev/null
stage "running $(tail -n 1 $host/command | cut -d ' ' -f 2- | head -c 200)"
(exec bash $host/command) >$work/.output 2>&1 3>&- 4>&- </dev/null &
command=$!
sleep "$seconds" 3>&- 4>&- &
clock=$!

# A command that the kernel holds can be neither killed nor waited for; the journal comes back all the same.
wait -n -p first $command $clock
code=$?
if [[ $first == "$clock" ]]; then
	stage "no end after $seconds s: asking it to stop"
	pkill -QUIT -P $command
	kill -QUIT $command
	for _ in {1..100}; do
		kill -0 $command 2>/dev/null || break
		sleep 0.1
	done
	pkill -KILL -P $command
	kill -KILL $command 2>/dev/null
	code=124
fi
kill $clock 2>/dev/null
for _ in {1..20}; do # until the output is through
	kill -0 $cat 2>/dev/null || break
	sleep 0.1
done
if dmesg | grep -qE 'BUG: |WARNING: |Oops: |INFO: task '; then
	stage "the kernel complained: $(dmesg | grep -E 'BUG: |WARNING: |Oops: |INFO: task ' | head -n 3)"
	dmesg >$host/out/dmesg
fi
if ((code)); then
	stage "exit code $code: collecting journal, dmesg and state"
	collect
fi
finish $code
