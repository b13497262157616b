package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

var (
	errNoneSelected    = errors.New("no controller has this device name, NQN or address")
	errSeveralSelected = errors.New("several controllers are meant; name a device, or give --all for one after the other")
	errOldDaemon       = errors.New("the daemon that runs cannot do that; it is another version, or nvme-stas 2.x")
)

// selects says whether a controller is meant by a device name, an NQN, an address, or the key of its object.
func (r *row) selects(selector string) bool {
	switch {
	case selector == "" || r.state == duplicate:
		return false
	case selector == r.device, selector == r.key, selector == r.id.SubsysNQN, strings.TrimPrefix(selector, "/dev/") == r.device && r.device != "":
		return true
	case strings.EqualFold(selector, r.id.Traddr), sameAddress(selector, r.id.Traddr):
		return true
	}
	return selector == strings.TrimSuffix(hostPort(r.id.Traddr, r.id.Trsvcid), ":")
}

// selected gives the controllers that are meant, each once. That one selector means more than one must be allowed.
func (t *tool) selected(ctx context.Context, c *bus.Client, selectors []string, several bool) ([]row, error) {
	all, ok, err := t.rows(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errOldDaemon
	}
	var found []row
	for _, selector := range selectors {
		var meant []row
		for _, r := range all {
			if r.selects(selector) {
				meant = append(meant, r)
			}
		}
		switch {
		case len(meant) == 0:
			return nil, fmt.Errorf("%w: %s; '%s ls' lists them", errNoneSelected, printable(selector), t.name())
		case len(meant) > 1 && !several:
			var titles strings.Builder
			for i := range meant {
				titles.WriteString("\n  " + meant[i].title())
			}
			return nil, fmt.Errorf("%w:%s", errSeveralSelected, titles.String())
		}
		for _, r := range meant {
			if !slices.ContainsFunc(found, func(f row) bool { return f.key == r.key }) {
				found = append(found, r)
			}
		}
	}
	return found, nil
}

// name is that of the tool: stafctl for stafd.
func (t *tool) name() string { return strings.TrimSuffix(t.daemon, "d") + "ctl" }

// completeSelector offers devices, addresses and NQNs of the controllers that the daemon knows.
func (t *tool) completeSelector(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	c, err := t.connect(cmd.Context(), t.opts)
	if err != nil {
		return nil, nothing
	}
	defer c.Close()
	rows, _, _ := t.rows(cmd.Context(), c)
	var words []string
	seen := map[string]bool{"": true}
	for _, given := range args {
		seen[given] = true
	}
	for i := range rows {
		r := &rows[i]
		for _, w := range []string{r.device, r.id.Traddr, r.id.SubsysNQN} {
			if !seen[w] {
				seen[w] = true
				words = append(words, w)
			}
		}
	}
	return words, nothing
}

// selectors is the argument check of commands that take some.
func selectors(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: say which controller: a device name, an NQN or an address", errUsage)
	}
	return nil
}
