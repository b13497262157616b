package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/registry"
)

func (p *places) registry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "registry", Short: "Show and change who owns which NVMe-oF controller", Args: arguments(cobra.NoArgs),
		Long: `Show and change who owns which NVMe-oF controller, as the registry in /run/nvme/registry
has it; see stas-coexistence(7). The commands are those of nvme-cli 3.`,
		RunE: missingCommand,
	}
	cmd.AddCommand(p.registryList(), p.registryRetrieve(), p.registryUpdate(), p.registryDelete())
	return cmd
}

func missingCommand(cmd *cobra.Command, _ []string) error {
	fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
	return fmt.Errorf("%w: a command is missing", errUsage)
}

func (p *places) openRegistry() *registry.Dir {
	return registry.Open(p.at(registryDir), p.at(registry.DefaultDevDir), p.at(registry.DefaultSysDir))
}

// device is the name of a controller, with or without /dev/ before it.
func device(arg string) string { return strings.TrimPrefix(arg, "/dev/") }

func (p *places) completeDevices(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	entries, _ := p.openRegistry().List()
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (p *places) registryList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the registered controllers that exist", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := p.openRegistry()
			entries, err := dir.List()
			if err != nil {
				return err
			}
			for _, e := range entries {
				attrs, odd := dir.Attrs(e.Name)
				if odd != nil && !errors.Is(odd, fs.ErrNotExist) { // the others are shown all the same
					err = errors.Join(err, odd)
				}
				if len(attrs) == 0 {
					continue
				}
				fmt.Fprintln(cmd.OutOrStdout(), e.Name)
				for _, attr := range slices.Sorted(maps.Keys(attrs)) {
					fmt.Fprintf(cmd.OutOrStdout(), "  %-12s %s\n", attr, attrs[attr])
				}
			}
			return err
		},
	}
}

func (p *places) registryRetrieve() *cobra.Command {
	var attr string
	cmd := &cobra.Command{
		Use: "retrieve DEVICE", Short: "Print one attribute", Args: arguments(cobra.ExactArgs(1)), ValidArgsFunction: p.completeDevices,
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := p.openRegistry().Attr(device(args[0]), attr)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("%s is not registered, or has no attribute %s", device(args[0]), attr)
			case err != nil:
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), value)
			return nil
		},
	}
	cmd.Flags().StringVarP(&attr, "attr", "a", registry.AttrOwner, "the `ATTRIBUTE`")
	return cmd
}

func (p *places) registryUpdate() *cobra.Command {
	var attr, value string
	cmd := &cobra.Command{
		Use: "update DEVICE", Short: "Write one attribute", Args: arguments(cobra.ExactArgs(1)), ValidArgsFunction: p.completeDevices,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, dir := device(args[0]), p.openRegistry()
			if attr != registry.AttrOwner {
				err := dir.Set(name, attr, value)
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s is not registered; give it an owner first", name)
				}
				return err
			}
			if !confirm(cmd, "The owner is who protects this controller from being disconnected. Change it?") {
				return errAborted
			}
			// An entry is replaced as a whole, with a new stamp.
			attrs, err := dir.Attrs(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			delete(attrs, registry.AttrOwner)
			delete(attrs, registry.AttrSeqnum)
			_, err = dir.Create(name, value, attrs)
			return err
		},
	}
	cmd.Flags().StringVarP(&attr, "attr", "a", "", "the `ATTRIBUTE`")
	cmd.Flags().StringVarP(&value, "value", "V", "", "its new `VALUE`")
	_, _ = cmd.MarkFlagRequired("attr"), cmd.MarkFlagRequired("value")
	return cmd
}

func (p *places) registryDelete() *cobra.Command {
	var attr string
	cmd := &cobra.Command{
		Use: "delete DEVICE", Short: "Remove an entry, or one attribute", Args: arguments(cobra.ExactArgs(1)), ValidArgsFunction: p.completeDevices,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, dir := device(args[0]), p.openRegistry()
			if attr != "" && attr != registry.AttrOwner {
				return dir.Delete(name, attr)
			}
			if !confirm(cmd, "Without an owner nobody protects this controller from being disconnected. Go on?") {
				return errAborted
			}
			return dir.Remove(name)
		},
	}
	cmd.Flags().StringVarP(&attr, "attr", "a", "", "only this `ATTRIBUTE`; without an owner nothing of an entry stays")
	return cmd
}
