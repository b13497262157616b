package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/version"
	"github.com/stas-go/stas/pkg/veto"
)

// program is what differs between the daemons.
type program struct {
	name, about string
	conf        string // default configuration file
	build       func(*daemon) service
	beginnings  bool // it is to be told of connections that are only being made, too
}

// service is a daemon's own part, wired up.
type service struct {
	bus     func(context.Context)       // runs before all else, as it ends the process where another one is the daemon
	alone   <-chan struct{}             // closed once it is known that no other one is, or that it cannot be known
	run     func(context.Context)       // works until the context ends
	reload  func() (status string)      // reads files and puts them in force; called on one goroutine only
	alive   func(context.Context) error // nil when the event loop answers
	closing func(context.Context)       // last acts, while the kernel worker still takes requests
	recheck func()                      // the host-wide exclusion list has changed
	kick    func()                      // something has changed in the network
	more    []func(context.Context)     // what runs beside
}

// daemon is what both share while they run.
type daemon struct {
	program
	opts     options
	log      *slog.Logger
	trace    *tracing
	worker   *kernel.Worker
	sysfs    kernel.Sysfs
	watcher  *kernel.Watcher
	registry *registry.Dir
	hostWide veto.HostWide
	notify   notifier
	status   status
	network  network
	boot     boot
	wanted   wanted
	identity config.IdentitySource
	again    chan struct{} // something outside of the configuration files asks for a reload
}

// ownership is the registry. Who takes over a connection answers for what the kernel shows of it: somebody else may
// have made it with a secret, and left that for everybody to read.
type ownership struct {
	*registry.Dir
	sysfs kernel.Sysfs
}

// Claim registers an owner where there is none.
func (o ownership) Claim(name, owner string) (seqnum string, err error) {
	seqnum, err = o.Dir.Claim(name, owner)
	if err == nil {
		o.sysfs.ShutSecrets(name)
	}
	return seqnum, err
}

// Places of the host. Tests of the whole daemon run where these are real.
const (
	registryRoot = "/run/nvme/registry"
	sysConf      = "/etc/stas/sys.conf"
	etcNVMe      = "/etc/nvme"
	fabricsConf  = "/etc/nvme/nvme-stas.conf"
)

// Execute runs the command line of a daemon and gives its exit status.
func (p program) execute() int {
	o, err := p.parse(os.Args[1:], os.Stdout)
	if err == nil {
		err = p.serve(context.Background(), o)
	}
	if err != nil && !errors.Is(err, errShown) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err)
		return 1
	}
	return 0
}

// stopWithin bounds how long a daemon takes to stop. Whatever is inside the kernel by then is
// finished by the worker process.
const stopWithin = 3 * time.Second

// aloneWithin bounds how long a daemon waits to know that it is the only one: a bus that does not answer must not hold the storage up.
// Beside another daemon nothing may be begun. It may have been started by hand, with another configuration, and would
// disconnect what that does not name.
const aloneWithin = 3 * time.Second

// serve runs the daemon until it is told to stop.
func (p program) serve(ctx context.Context, o options) error {
	kernel.KeepMemory()
	frugal()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	d := &daemon{program: p, opts: o, sysfs: kernel.Sysfs{}, hostWide: veto.NewHostWide(veto.MainFile, veto.DropinDir),
		identity: config.IdentitySource{SysConf: sysConf, Dir: etcNVMe}, status: status{tell: tell}}
	d.trace = newTracing(o.tron)
	d.log = newLog(d.trace, o.syslog)
	d.log.Info("starting", "version", version.Version)
	d.registry = registry.Open(registryRoot, "/dev", "/sys")
	d.worker = kernel.NewWorker(kernel.WorkerOptions{Log: d.log, RunDir: "/run/" + p.name, RegistryRoot: registryRoot, Owner: registry.Stas,
		ExclusionFile: veto.MainFile, ExclusionDropIn: veto.DropinDir})
	d.again = make(chan struct{}, 1)
	d.readNetwork()
	d.readBoot(nbft.Dir)
	source, err := p.openUevents()
	if err != nil {
		return err
	}
	d.watcher = kernel.NewWatcher(d.sysfs, source)
	d.watcher.Log = d.log
	if adopted, err := d.worker.Adopt(); err != nil {
		d.log.Warn("cannot take up the connects that an earlier run had begun", "error", err)
	} else if len(adopted) > 0 {
		d.log.Info("registered connections that an earlier run had begun", "devices", adopted)
	}

	s := p.build(d)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	parts := append(s.more, s.run, d.watch, d.followBoot(nbft.Dir), d.watchIdentity(work), d.watchExclusions(work, s.recheck), d.watchNetwork(s.kick))
	files := s.reload() // what it posts waits for the event loop, before anything that somebody asks on the bus
	var wg sync.WaitGroup
	wg.Go(func() { s.bus(work) })
	select {
	case <-ctx.Done():
		cancel()
		return nil
	case <-s.alone:
	case <-time.After(aloneWithin):
	}
	for _, run := range parts {
		wg.Go(func() { run(work) })
	}
	d.status.put(statusFiles, files, sd.SdNotifyReady)
	wg.Go(func() { d.notify.watchdog(work, s.alive) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-hangup:
			d.log.Info("reloading")
			d.notify.reloading()
			d.status.put(statusFiles, s.reload(), sd.SdNotifyReady)
		case <-d.again:
			d.status.set(statusFiles, s.reload())
		}
	}
	d.log.Info("stopping")
	d.notify.stopping()
	if s.closing != nil {
		last, done := context.WithTimeout(work, stopWithin)
		s.closing(last)
		done()
	}
	cancel()
	d.worker.Close()
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(stopWithin):
		d.log.Warn("not everything ended in time; going anyway")
	}
	return nil
}

func (d *daemon) watch(ctx context.Context) {
	if err := d.watcher.Run(ctx); err != nil && ctx.Err() == nil {
		d.log.Error("kernel events cannot be received any more", "error", err)
		os.Exit(1) // blind to the kernel the daemon would be of no use; systemd starts it anew
	}
}
