package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/ctl"
	"github.com/stas-go/stas/pkg/discover"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// discoverFlags are the options of "stafctl discover" as they were given.
type discoverFlags struct {
	transport, traddr, trsvcid, nqn, hostTraddr, hostIface, hostNQN string
	output                                                          string
	recursive                                                       bool
	timeout                                                         time.Duration
}

// writers are the forms in which the result can be printed.
var writers = map[string]func(io.Writer, *discover.Page) error{
	"table": discover.WriteTable, "json": discover.WriteJSON, "tree": discover.WriteTree,
}

// discoverCommand makes the command that reads log pages itself: without stafd, root
// or the kernel's NVMe.
func discoverCommand() *cobra.Command {
	var o discoverFlags
	cmd := &cobra.Command{
		Use: "discover", Short: "Read the log page of any discovery controller, without stafd",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return ctl.Usage(err)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := writers[o.output]
			if write == nil {
				return ctl.Usage(fmt.Errorf("--output is table, json or tree, not %q", o.output))
			}
			opts, addrs, err := o.options(cmd.Context())
			if err != nil {
				return err
			}
			page, err := walk(cmd.Context(), opts, addrs)
			if page == nil {
				return err
			}
			return errors.Join(write(cmd.OutOrStdout(), page), err)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.transport, "transport", "t", "tcp", "`transport`: only tcp")
	f.StringVarP(&o.traddr, "traddr", "a", "", "`address` of the controller")
	f.StringVarP(&o.trsvcid, "trsvcid", "s", nvme.PortDiscovery, "its `port`")
	f.StringVarP(&o.nqn, "nqn", "n", nvme.DiscoveryNQN, "`NQN` of the discovery subsystem")
	f.StringVarP(&o.hostTraddr, "host-traddr", "w", "", "`address` of this host")
	f.StringVarP(&o.hostIface, "host-iface", "f", "", "network `interface` of this host")
	f.StringVarP(&o.hostNQN, "host-nqn", "q", "", "`NQN` of this host (default: /etc/nvme/hostnqn)")
	f.StringVarP(&o.output, "output", "o", "table", "print a `format`: table, json or tree")
	f.BoolVarP(&o.recursive, "recursive", "r", false, "follow referrals")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "`time` for each controller")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "tree"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions([]string{string(nvme.TCP)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagRequired("traddr")
	return cmd
}

// walk begins at the first of the addresses of one controller that answers. With pages its error says that these are not all.
func walk(ctx context.Context, opts discover.Options, addrs []netip.AddrPort) (*discover.Page, error) {
	var failures []error
	for _, opts.Addr = range addrs {
		page, err := discover.Walk(ctx, opts)
		if err == nil || errors.Is(err, discover.ErrIncomplete) {
			return page, err
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// options gives what the flags say, and the addresses that they name.
func (o *discoverFlags) options(ctx context.Context) (discover.Options, []netip.AddrPort, error) {
	opts := discover.Options{NQN: o.nqn, Recursive: o.recursive, Timeout: o.timeout}
	if o.transport != string(nvme.TCP) {
		return opts, nil, ctl.Usage(fmt.Errorf("cannot discover over %q: only tcp is spoken without the kernel", o.transport))
	}
	if o.timeout <= 0 {
		return opts, nil, ctl.Usage(fmt.Errorf("cannot use --timeout: %v is no time to wait", o.timeout))
	}
	if err := nvme.CheckName(o.nqn); err != nil {
		return opts, nil, ctl.Usage(fmt.Errorf("cannot use --nqn: %w", err))
	}
	list, err := resolve(ctx, o.traddr)
	if err != nil {
		return opts, nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", o.trsvcid)
	if err != nil || port == 0 {
		return opts, nil, ctl.Usage(fmt.Errorf("cannot use --trsvcid: %q is no port; allowed are 1 to 65535", o.trsvcid))
	}
	addrs := make([]netip.AddrPort, len(list))
	for i, addr := range list {
		addrs[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	opts.HostIface = o.hostIface
	if o.hostTraddr != "" {
		if opts.HostTraddr, err = tid.ParseIP(o.hostTraddr); err != nil {
			return opts, nil, ctl.Usage(fmt.Errorf("cannot use --host-traddr: %w", err))
		}
	}
	opts.HostNQN, opts.HostID, err = identity(o.hostNQN, "/etc/nvme")
	return opts, addrs, err
}

// resolve gives the addresses that a text or a host name means.
func resolve(ctx context.Context, s string) ([]netip.Addr, error) {
	if a, err := tid.ParseIP(strings.Trim(s, "[]")); err == nil {
		return []netip.Addr{a}, nil
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve --traddr: %w", err)
	}
	return list, nil
}

// identity says as whom to ask: as the host that was named, as this one, or as one
// that nobody knows where this one has no name yet. etcNVMe has the files hostnqn and hostid.
func identity(nqn, etcNVMe string) (string, nvme.HostID, error) {
	file := filepath.Join(etcNVMe, "hostnqn")
	own, _ := config.FirstWord(file) // as the daemons read it
	if nqn != "" {
		if err := nvme.CheckName(nqn); err != nil {
			return "", nvme.HostID{}, ctl.Usage(fmt.Errorf("cannot use --host-nqn: %w", err))
		}
	} else if err := nvme.CheckName(own); own != "" && err != nil {
		return "", nvme.HostID{}, fmt.Errorf("cannot use the host NQN in %s: %w; give another one with --host-nqn", file, err)
	}
	nqn = cmp.Or(nqn, own)
	if nqn == own && nqn != "" {
		text, _ := config.FirstWord(filepath.Join(etcNVMe, "hostid"))
		if id, err := nvme.ParseHostID(text); err == nil {
			return nqn, id, nil
		}
	}
	id, ok := nvme.HostIDFromNQN(nqn)
	if !ok {
		_, _ = rand.Read(id[:]) // never fails
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	}
	return cmp.Or(nqn, id.NQN()), id, nil
}
