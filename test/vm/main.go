// Command vm runs a command in the test bed: Debian with its own kernel, in QEMU.
//
//	go run ./test/vm [flags] COMMAND [ARGUMENT...]    run COMMAND in the guest as root, exit with its code
//	go run ./test/vm [flags] -shell                   a root shell on the guest's console; Ctrl-a x ends it
//
// The command's output appears on standard output as it is written, the test bed's own progress on standard error. When the
// command fails, the guest's journal, dmesg and the state of the daemons come back into the results directory,
// and the end of the journal is shown. Whatever the command leaves in $STAS_OUT comes back too.
//
// The guest has its disk for this one run only: every run starts from the same image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// run is one boot of the guest.
type run struct {
	suite    string        // Debian release of the image
	tree     string        // directory with an installed tree to put in, or empty
	files    list          // files to have in the command's directory
	env      list          // NAME=VALUE for the command
	command  []string      // what to run
	shell    bool          // interactive instead
	results  string        // where results go
	keep     bool          // results were asked for: keep them on success too
	deadline time.Duration // for everything from the boot to the end
	cpus     int
	memory   int    // MiB
	qemu     string // further arguments for QEMU

	started time.Time
}

func main() {
	r := run{started: time.Now()}
	flag.StringVar(&r.suite, "suite", suiteFor(os.Getenv("KERNEL")), "Debian `release` of the guest (KERNEL=6.1 in the environment means bookworm)")
	flag.StringVar(&r.tree, "tree", "", "`directory` with an installed tree to put into the guest")
	flag.Var(&r.files, "put", "`file` to have in the command's directory (repeatable)")
	flag.Var(&r.env, "env", "`NAME=VALUE` for the command (repeatable)")
	flag.BoolVar(&r.shell, "shell", false, "a shell on the console instead of a command")
	flag.StringVar(&r.results, "out", "", "`directory` for results (default: a new one, kept after a failure only)")
	flag.DurationVar(&r.deadline, "deadline", 20*time.Minute, "longest time from the boot to the end")
	flag.IntVar(&r.cpus, "smp", 2, "CPUs of the guest")
	flag.IntVar(&r.memory, "mem", 3072, "memory of the guest in MiB")
	flag.StringVar(&r.qemu, "qemu", os.Getenv("STAS_VM_QEMU"), "further `arguments` for QEMU, separated by spaces (or STAS_VM_QEMU)")
	flag.Parse()
	r.command = flag.Args()
	if r.shell == (len(r.command) > 0) {
		fmt.Fprintln(os.Stderr, "vm: give a command, or -shell")
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	code, err := r.do(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		if code == 0 {
			code = 125
		}
	}
	os.Exit(code)
}

// suiteFor says which Debian release has the wanted kernel series.
func suiteFor(kernel string) string {
	if kernel == "6.1" {
		return "bookworm"
	}
	return "trixie"
}

// say prints a progress line.
func (r *run) say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "[vm %5.1fs] %s\n", time.Since(r.started).Seconds(), fmt.Sprintf(format, a...))
}

// do boots, runs, collects. The code is the command's, and 125 beside an error when there is none.
func (r *run) do(ctx context.Context) (int, error) {
	image, err := imageDirectory(ctx, r.suite)
	if err != nil {
		return 125, err
	}
	share, err := os.MkdirTemp("", "stas-vm-")
	if err != nil {
		return 125, err
	}
	defer func() { _ = os.RemoveAll(share) }()
	if r.results == "" {
		if r.results, err = os.MkdirTemp("", "stas-vm-results-"); err != nil {
			return 125, err
		}
	} else {
		r.keep = true
	}
	if r.results, err = filepath.Abs(r.results); err != nil {
		return 125, err
	}
	if err := os.MkdirAll(r.results, 0o755); err != nil {
		return 125, err
	}
	if err := r.fill(share); err != nil {
		return 125, fmt.Errorf("cannot prepare the guest's files: %w", err)
	}

	accel := acceleration(ctx, image, r.say)
	r.say("booting %s (%s, %d CPUs, %d MiB)", r.suite, strings.Fields(accel)[1], r.cpus, r.memory)
	if r.shell {
		r.say("Ctrl-a x leaves the guest")
		return 0, r.interactive(ctx, image, share, accel)
	}

	ctx, cancel := context.WithTimeout(ctx, r.deadline)
	defer cancel()
	code, err := r.batch(ctx, image, share, accel)
	// Emulated SMP has a rare race of its own while the kernel patches its code (seen: a stray int3 in early boot, QEMU
	// 7.2). Nothing is lost by a second try as long as the command has not begun.
	for try := 1; errors.Is(err, errNoStart) && ctx.Err() == nil && try <= 2; try++ {
		r.say("%v, see %s; once more", err, keepConsole(share, r.results, try))
		code, err = r.batch(ctx, image, share, accel)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no end after %v: QEMU was killed", r.deadline)
	}
	if cerr := collect(share, r.results); cerr != nil && err == nil {
		err = cerr
	}
	if code != 0 || err != nil {
		r.explain()
	} else if !r.keep {
		_ = os.RemoveAll(r.results)
	}
	r.say("ended with code %d", code)
	return code, err
}
