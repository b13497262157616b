package ctl

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/discover"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// discover makes the command that reads log pages itself, without daemon, kernel or privilege.
func (t *tool) discover() *cobra.Command {
	var o discover.Options
	var port, hostTraddr, hostID string
	tree := false
	cmd := &cobra.Command{
		Use: "discover ADDRESS", Short: "Read the log page of a discovery controller over NVMe/TCP, without a daemon",
		Long: "Read the log page of a discovery controller over NVMe/TCP, without a daemon, the kernel or privileges.\n" +
			"Nothing is connected or registered.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: say one address of a discovery controller", errUsage)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := lookUpAddress(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("%w: --trsvcid is a port, not %q", errUsage, port)
			}
			o.Endpoint.Addr = netip.AddrPortFrom(addr, uint16(n))
			if hostTraddr != "" {
				if o.HostTraddr, err = tid.ParseIP(hostTraddr); err != nil {
					return fmt.Errorf("%w: --host-traddr: %w", errUsage, err)
				}
			}
			if o.HostNQN == "" {
				o.HostNQN = firstWord("/etc/nvme/hostnqn")
			}
			if o.HostID, err = discoverHostID(hostID, o.HostNQN); err != nil {
				return fmt.Errorf("%w: --host-id: %w", errUsage, err)
			}
			page, err := discover.Walk(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("cannot discover %s: %w", net.JoinHostPort(addr.String(), port), err)
			}
			switch {
			case t.output == "json":
				return discover.WriteJSON(cmd.OutOrStdout(), page)
			case tree:
				return discover.WriteTree(cmd.OutOrStdout(), page)
			}
			return discover.WriteTable(cmd.OutOrStdout(), page)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&port, "trsvcid", "s", nvme.TCP.DefaultPort(true), "`port` of the controller")
	f.StringVarP(&hostTraddr, "host-traddr", "w", "", "`address` of this host to ask from")
	f.StringVarP(&o.HostIface, "host-iface", "f", "", "network `interface` to ask through")
	f.StringVarP(&o.NQN, "nqn", "n", "", "`NQN` of the discovery subsystem; else the well-known one")
	f.StringVarP(&o.HostNQN, "host-nqn", "q", "", "`NQN` to ask as; else that of /etc/nvme/hostnqn")
	f.StringVar(&hostID, "host-id", "", "host `ID` to ask as; else that of /etc/nvme/hostid, or of the host NQN")
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "follow referrals")
	f.BoolVar(&tree, "tree", false, "print a tree instead of a table")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "how long each controller may take")
	return cmd
}

// lookUpAddress takes an address or a host name.
func lookUpAddress(ctx context.Context, s string) (netip.Addr, error) {
	if a, err := tid.ParseIP(s); err == nil {
		return a, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot look up %s: %w", printable(s), err)
	}
	return found[0].Unmap(), nil
}

func firstWord(file string) string {
	b, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.TrimSpace(word)
}

// discoverHostID gives the ID that belongs to a host NQN: what was given, that of the host where the NQN is
// the host's, that in the NQN itself.
func discoverHostID(given, hostNQN string) (nvme.HostID, error) {
	if given != "" {
		return nvme.ParseHostID(given)
	}
	if hostNQN == firstWord("/etc/nvme/hostnqn") {
		if id, err := nvme.ParseHostID(firstWord("/etc/nvme/hostid")); err == nil {
			return id, nil
		}
	}
	id, _ := nvme.HostIDFromNQN(hostNQN)
	return id, nil
}
