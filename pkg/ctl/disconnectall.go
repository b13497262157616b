package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/registry"
)

// Kernel is what disconnect-all works on: the host itself, with or without daemons.
type Kernel interface {
	Controllers() ([]kernel.Controller, error)
	Owner(name string) registry.Owner
	Disconnect(ctx context.Context, r kernel.DisconnectRequest) error
}

// host is the Kernel of this machine.
type host struct {
	kernel.Sysfs
	*registry.Dir
	*kernel.Worker
}

// newHost gives the host on which connections of owner may be ended. The program must call
// kernel.RunWorkerIfAsked first of all.
func newHost(owner string) (Kernel, func()) {
	w := kernel.NewWorker(kernel.WorkerOptions{RunDir: "/run/stacd", Owner: owner})
	return host{kernel.Sysfs{}, registry.Open("", "", ""), w}, func() { _ = w.Close() }
}

// disconnectWide is how many disconnects are under way at a time.
const disconnectWide = 16

var (
	errNotConfirmed = errors.New("nothing was disconnected")
	errNotRoot      = errors.New("only root may disconnect")
	errSomeFailed   = errors.New("not everything was disconnected")
)

// disconnectAll makes the command that nvme-cli 3 has under this name, with its meaning, for hosts whose
// nvme-cli does not know the ownership registry.
func (t *tool) disconnectAll() *cobra.Command {
	owner, force := "", false
	cmd := &cobra.Command{
		Use: "disconnect-all", Short: "Disconnect all NVMe-oF connections that nobody owns",
		Long: "Disconnect all NVMe-oF connections of this host that have no owner in the ownership registry,\n" +
			"discovery controllers too. It works on the kernel, without a daemon; PCIe is never touched.\n" +
			"With --owner or --force a terminal is asked to type \"yes\".",
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case force && cmd.Flags().Changed("owner"):
				return fmt.Errorf("%w: --owner and --force exclude each other", errUsage)
			case cmd.Flags().Changed("owner") && owner == "":
				return fmt.Errorf("%w: --owner has no name", errUsage)
			case t.uid != 0:
				return errNotRoot
			}
			as := registry.Stas
			if owner != "" {
				as = owner
			}
			k, done := t.kernel(as)
			defer done()
			d := &disconnection{tool: t, kernel: k, owner: owner, force: force, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "only connections that `name` owns")
	cmd.Flags().BoolVar(&force, "force", false, "all connections, whosever they are")
	_ = cmd.RegisterFlagCompletionFunc("owner", cobra.FixedCompletions(
		[]string{registry.Stas, registry.NBFT, registry.Discoverd, registry.Autoconnect}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// disconnection is one run of disconnect-all.
type disconnection struct {
	*tool
	kernel    Kernel
	owner     string
	force     bool
	in        io.Reader
	out, errs io.Writer

	mu     sync.Mutex
	failed bool
}

// meant says whether connections of o are to be disconnected. What could not be read belongs to somebody.
func (d *disconnection) meant(o registry.Owner) bool {
	switch {
	case d.force:
		return true
	case d.owner != "":
		return o.Is(d.owner)
	}
	return o.Kind() == registry.KindNone
}

func (d *disconnection) run(ctx context.Context) error {
	all, err := d.kernel.Controllers()
	if err != nil {
		return err
	}
	var list []kernel.Controller
	ours := false
	for _, c := range all {
		if o := d.kernel.Owner(c.Name); c.Transport.Fabric() && d.meant(o) {
			list = append(list, c)
			ours = ours || o.Is(registry.Stas)
		}
	}
	if len(list) == 0 {
		return d.tell("nothing to disconnect", nil)
	}
	if d.force || d.owner != "" {
		if err := d.confirm(ctx, list); err != nil {
			return err
		}
	}
	if ours {
		fmt.Fprintln(d.errs, "stafd and stacd connect again what they want: stop them first, or use 'stacctl disconnect'")
	}
	slots := make(chan struct{}, disconnectWide)
	var wg sync.WaitGroup
	for _, c := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d.one(ctx, c)
		})
	}
	wg.Wait()
	if d.failed {
		return errSomeFailed
	}
	return nil
}

// one disconnects c, unless it has got another owner meanwhile: the worker looks again.
func (d *disconnection) one(ctx context.Context, c kernel.Controller) {
	err := d.kernel.Disconnect(ctx, kernel.DisconnectRequest{Name: c.Name, Expect: c.Identity(), OnlyUnowned: d.owner == "" && !d.force, AnyOwner: d.force})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.failed = true
		fmt.Fprintf(d.errs, "%s: %v\n", d.name(), err)
		return
	}
	if err := d.tell("disconnected", &c); err != nil {
		d.failed = true
	}
}

func (d *disconnection) tell(what string, c *kernel.Controller) error {
	if d.output == "json" {
		o := bus.Object{{Name: "Result", Value: what}}
		if c != nil {
			o = append(bus.Object{{Name: "Device", Value: c.Name}, {Name: "SubsysNQN", Value: c.NQN}}, o...)
		}
		return writeJSON(d.out, o)
	}
	if c != nil {
		what = printable(titleOf(c.Name, string(c.Transport), c.Traddr, c.Trsvcid, c.NQN)) + ": " + what
	}
	_, err := fmt.Fprintln(d.out, what)
	return err
}

// confirm asks a terminal. What is no terminal has been told by the command line.
func (d *disconnection) confirm(ctx context.Context, list []kernel.Controller) error {
	if !d.terminal(d.in) {
		return nil
	}
	for _, c := range list {
		fmt.Fprintf(d.errs, "  %s  owner %s\n", printable(titleOf(c.Name, string(c.Transport), c.Traddr, c.Trsvcid, c.NQN)), printable(d.kernel.Owner(c.Name).String()))
	}
	fmt.Fprintf(d.errs, "Disconnect these %d? File systems on them lose their storage. Type \"yes\": ", len(list))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(d.in, 64)).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done(): // interrupted
		return errNotConfirmed
	case line := <-answer:
		if strings.TrimSpace(line) != "yes" {
			return errNotConfirmed
		}
	}
	return ctx.Err()
}

// isTerminal says whether somebody sits at r: a character device that is not one of memory, as /dev/null
// (Documentation/admin-guide/devices.txt, major number 1).
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Rdev>>8&0xfff != 1
}
