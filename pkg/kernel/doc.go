// Package kernel is the boundary to Linux as an NVMe-oF host: it connects through
// /dev/nvme-fabrics, sends admin commands to controller devices, disconnects, reads
// /sys/class/nvme, and tells what changed there.
//
// Connect, admin command and delete sleep uninterruptibly in the kernel: a process with
// such a call can neither be killed nor exit, and all connects of a host wait for one
// another in a single mutex (drivers/nvme/host/fabrics.c, nvmf_dev_mutex). (Only the wait for
// a TCP connection ends with a signal, and the connect with it.) So a daemon never
// makes them itself. [Worker] starts a process of the same program that does
// ([RunWorkerIfAsked]) and talks to it over a pipe. The process finishes what it began
// whatever happens to the daemon: connect, registry entry, reply. What it is about to
// connect is noted before ([Intents]), so that even a killed one leaves no connection
// that nobody knows to be ours.
//
// [Sysfs] reads; reading never blocks and is done in the daemon. [Watcher] joins uevents
// and sysfs into one ordered stream of changes.
//
// Secrets go through the pipe into the option string and nowhere else: no error, no log,
// no argument, no environment, no intent holds one.
package kernel
