package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const program = "qemu-system-x86_64"

// emulation is what works everywhere. Five-level page tables only cost time here.
const emulation = "-accel tcg,thread=multi,tb-size=512 -cpu max,la57=off,svm=off"

// imageDirectory builds the image where it is missing and says where it is.
func imageDirectory(ctx context.Context, suite string) (string, error) {
	script, err := here("image")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, script, suite)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot build the image: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// here finds a file that lies beside this source file.
func here(name string) (string, error) {
	_, source, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(source), name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	path, err := filepath.Abs(filepath.Join("test", "vm", name)) // built with -trimpath: run from the top of the tree
	if err == nil {
		_, err = os.Stat(path)
	}
	return path, err
}

// acceleration gives QEMU's arguments for the processor. A /dev/kvm that exists proves nothing (nested, its guest
// may die in its first instructions or spin), so hardware counts only after the kernel of this image has booted with
// it. The answer is remembered for this boot of the machine.
func acceleration(ctx context.Context, image string, say func(string, ...any)) string {
	const hardware = "-accel kvm -cpu host"
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return emulation
	}
	_ = kvm.Close()

	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	path, _ := exec.LookPath(program)
	key := sha256.Sum256([]byte(string(boot) + path + image))
	memory := filepath.Join(filepath.Dir(image), fmt.Sprintf("accel-%x", key[:6]))
	if known, err := os.ReadFile(memory); err == nil {
		return string(known)
	}
	choice := emulation
	say("/dev/kvm is there: trying it")
	if err := tryBoot(ctx, image, hardware); err != nil {
		say("hardware acceleration does not work here (%v): emulation", err)
	} else {
		choice = hardware
	}
	_ = os.WriteFile(memory, []byte(choice), 0o644) // only costs the next run a trial
	return choice
}

// tryBoot boots the bare kernel without a disk: it works when the kernel gets as far as to miss its root.
func tryBoot(ctx context.Context, image, accel string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	args := append(strings.Fields(accel), "-m", "1024", "-smp", "2", "-kernel", filepath.Join(image, "vmlinux"),
		"-append", "console=ttyS0 panic=-1", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio", "-no-reboot")
	cmd := exec.CommandContext(ctx, program, args...)
	var console, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &messages
	err := cmd.Run()
	switch {
	case bytes.Contains(console.Bytes(), []byte("Kernel panic - not syncing: VFS")):
		return nil
	case ctx.Err() != nil:
		return errors.New("the trial boot hangs")
	case err != nil:
		line, _, _ := strings.Cut(messages.String(), "\n")
		return fmt.Errorf("%w: %s", err, line)
	}
	return errors.New("the trial boot ended early")
}

// arguments are those that every boot has.
func (r *run) arguments(image, share, accel string) []string {
	args := strings.Fields(accel)
	args = append(args, "-nodefaults", "-machine", "q35,sata=off,smbus=off,i8042=off,vmport=off", "-smp", strconv.Itoa(r.cpus), "-m", strconv.Itoa(r.memory),
		"-kernel", filepath.Join(image, "vmlinux"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "console=ttyS0 loglevel=5 panic=-1 no_timer_check mitigations=off nokaslr audit=0 nowatchdog tsc=reliable net.ifnames=0 systemd.show_status=0",
		"-drive", "if=virtio,format=raw,snapshot=on,cache=unsafe,file="+filepath.Join(image, "disk.img"),
		"-virtfs", "local,path="+share+",mount_tag=host,security_model=none,multidevs=remap",
		"-device", "virtio-rng-pci", "-nic", "none", "-display", "none", "-no-reboot",
		"-drive", "if=virtio,format=raw,readonly=on,file="+filepath.Join(share, "files.tar"))
	if r.tree != "" {
		args = append(args, "-drive", "if=virtio,format=raw,readonly=on,file="+filepath.Join(share, "tree.tar"))
	}
	return append(args, strings.Fields(r.qemu)...)
}

// start starts QEMU so that it cannot outlive this program; the context ends it.
func start(ctx context.Context, cmd func(context.Context) *exec.Cmd) (*exec.Cmd, error) {
	c := cmd(ctx)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The signal is sent when the starting thread ends, so that thread must be one that stays: the main thread is ours.
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("cannot start QEMU: %w", err)
	}
	return c, nil
}

// interactive gives the console to the terminal.
func (r *run) interactive(ctx context.Context, image, share, accel string) error {
	c, err := start(ctx, func(ctx context.Context) *exec.Cmd {
		c := exec.CommandContext(ctx, program, append(r.arguments(image, share, accel), "-serial", "mon:stdio")...)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		return c
	})
	if err != nil {
		return err
	}
	return c.Wait()
}

// bootTime is how long the guest may take until it begins with the command.
const bootTime = 6 * time.Minute

// errNoStart: the guest ended before it had begun with the command.
var errNoStart = errors.New("the guest died or hung while it booted")

// batch runs the command; the error is about the test bed, the code is the command's.
func (r *run) batch(ctx context.Context, image, share, accel string) (int, error) {
	out := filepath.Join(share, "out")
	messages, err := os.Create(filepath.Join(out, "qemu"))
	if err != nil {
		return 125, err
	}
	defer func() { _ = messages.Close() }()
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return 125, err
	}
	defer func() { _ = control.Close() }()
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return 125, err
	}
	defer func() { _ = output.Close() }()

	c, err := start(ctx, func(ctx context.Context) *exec.Cmd {
		// The guest's console and the command's output never share a line: each has its own way out.
		c := exec.CommandContext(ctx, program, append(r.arguments(image, share, accel),
			"-monitor", "none", "-serial", "file:"+filepath.Join(out, "console"),
			"-device", "virtio-serial-pci",
			"-chardev", "file,id=control,path=/dev/fd/3", "-device", "virtserialport,chardev=control,name=stas.control",
			"-chardev", "file,id=out,path=/dev/fd/4", "-device", "virtserialport,chardev=out,name=stas.out")...)
		c.Stdout, c.Stderr = messages, messages
		c.ExtraFiles = []*os.File{controlEnd, outputEnd}
		return c
	})
	_, _ = controlEnd.Close(), outputEnd.Close()
	if err != nil {
		return 125, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(os.Stdout, output)
	}()

	// A boot that hangs says nothing; under emulation on a busy machine a good one takes half a minute.
	boot := time.AfterFunc(bootTime, func() { _ = c.Process.Kill() })
	defer boot.Stop()
	code, started, ended := 125, false, false
	for s := bufio.NewScanner(control); s.Scan(); {
		word, rest, _ := strings.Cut(s.Text(), " ")
		switch word {
		case "stage":
			r.say("%s", rest)
			if strings.HasPrefix(rest, "running ") {
				started = true
				boot.Stop()
			}
		case "exit":
			if n, err := strconv.Atoi(rest); err == nil {
				code, ended = n, true
			}
		}
	}
	err = c.Wait()
	<-copied
	if ended {
		return code, nil // how QEMU ends after that is of no interest
	}
	switch {
	case !started && ctx.Err() == nil:
		err = errNoStart
	case err == nil:
		err = errors.New("the guest died before the command ended")
	}
	return 125, err
}
