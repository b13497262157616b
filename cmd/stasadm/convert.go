package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/export"
)

// configured reads all configuration files, which must be usable.
func (p *places) configured() (*config.Staf, *config.Stac, error) {
	fabrics := p.at(fabricsConf)
	staf, _, err := config.LoadStaf(config.Files{Own: p.at(stafdConf), Fabrics: fabrics})
	if err != nil {
		return nil, nil, err
	}
	stac, _, err := config.LoadStac(config.Files{Own: p.at(stacdConf), Fabrics: fabrics})
	if err == nil && (staf.Incomplete || stac.Incomplete) {
		err = errors.New("a controller line cannot be used; run: stasadm check --files")
	}
	return staf, stac, err
}

func (p *places) convert() *cobra.Command {
	var to, output string
	cmd := &cobra.Command{
		Use: "convert --to 2|3 --output DIR", Short: "Write the configured connections in the other format", Args: arguments(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Write the configured connections in the format of nvme-stas 3 (nvme-stas.conf and
exclusions.conf) or of 2 (stafd.conf and stacd.conf) to a directory. The files in use stay as
they are. What cannot be said in the other format is told. New files have mode 0600, as they
may have secrets.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := map[string]func(*config.Staf, *config.Stac) ([]config.Text, []string){"2": config.ToOwn, "3": config.ToFabrics}[to]
			if write == nil {
				return fmt.Errorf("%w: --to is 2 or 3, not %q", errUsage, to)
			}
			staf, stac, err := p.configured()
			if err != nil {
				return err
			}
			files, notes := write(staf, stac)
			for _, file := range []string{stafdConf, stacdConf, sysConf, fabricsConf, exclusions} {
				// A directory in the place of a file makes its whole set unusable.
				dir, err := filepath.Abs(output)
				path, err2 := filepath.Abs(p.at(file))
				if err == nil && err2 == nil && strings.HasPrefix(dir+"/", path+"/") {
					return fmt.Errorf("%w: --output is a directory, and %s is a file", errUsage, path)
				}
			}
			for _, f := range files {
				if path := filepath.Join(output, f.Name); p.inUse(output, path) {
					return fmt.Errorf("%s is in use, and nothing was written: give another directory", path)
				}
			}
			for _, f := range files {
				path := filepath.Join(output, f.Name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return fmt.Errorf("cannot make a directory: %w", err)
				}
				if err := renameio.WriteFile(path, f.Bytes(), 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
					return fmt.Errorf("cannot write %s: %w", path, err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), path)
			}
			for _, note := range notes {
				fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: %s\n", note)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the `FORMAT`: 2 or 3")
	cmd.Flags().StringVar(&output, "output", "", "the `DIR`ectory to write to")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"2", "3"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("output")
	_, _ = cmd.MarkFlagRequired("to"), cmd.MarkFlagRequired("output")
	return cmd
}

// inUse says whether there is a file at path, in a directory whose files the daemons read.
func (p *places) inUse(dir, path string) bool {
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	info, err := os.Stat(dir)
	for _, used := range []string{nvmeDir, filepath.Dir(stafdConf)} {
		other, otherErr := os.Stat(p.at(used))
		if err == nil && otherErr == nil && os.SameFile(info, other) {
			return true
		}
	}
	return false
}

func (p *places) export() *cobra.Command {
	formats := []string{"discovery.conf", "config.json", "nvme-fabrics.conf"}
	return &cobra.Command{
		Use: "export discovery.conf|config.json|nvme-fabrics.conf", Short: "Print the configured connections as a file of nvme-cli",
		Args: arguments(cobra.ExactArgs(1)), ValidArgs: formats,
		Long: `Print the configured connections as a file of nvme-cli. Secrets are left out.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			staf, stac, err := p.configured()
			if err != nil {
				return err
			}
			all := append(staf.Controllers[:len(staf.Controllers):len(staf.Controllers)], stac.Controllers...)
			identity, _ := config.LoadIdentityBelow(p.root, p.sys(), p.at(nvmeDir))
			notes := export.Notes(all)
			if n := len(staf.Excludes) + len(stac.Excludes); n > 0 && args[0] != "nvme-fabrics.conf" {
				notes = append(notes, fmt.Sprintf("exclude= lines, %d of them, are left out; for exclusions.conf, run: stasadm convert --to 3 --output DIR", n))
			}
			theirs, _ := config.LoadIdentityBelow(p.root, "", p.at(nvmeDir)) // nvme-cli does not read sys.conf
			other := identity.Host.NQN != "" && (identity.Host.NQN != theirs.Host.NQN || !strings.EqualFold(identity.Host.ID, theirs.Host.ID))
			if !identity.HostKey.IsZero() && identity.HostKey != theirs.HostKey || !identity.HostCtrlKey.IsZero() {
				notes = append(notes, "the secrets of this host are left out; nvme-cli takes one from "+p.at(nvmeDir+"/hostkey"))
			}
			var more []string
			switch args[0] {
			case "discovery.conf":
				more, err = export.DiscoveryConf(cmd.OutOrStdout(), all, identity.Host, other)
			case "config.json":
				for i := range staf.Controllers {
					all[i].Persistent = cmp.Or(all[i].Persistent, staf.Persistent)
				}
				if identity.Host.NQN == "" {
					more = append(more, identity.Missing+"; controllers without one of their own cannot be used")
				}
				err = export.ConfigJSON(cmd.OutOrStdout(), all, identity.Host)
			case "nvme-fabrics.conf":
				if other {
					more = append(more, fmt.Sprintf("the host NQN %s with the host ID %s is left out; nvme-cli takes those in %s", identity.Host.NQN, identity.Host.ID, p.at(nvmeDir)))
				}
				for i := range all {
					all[i].Given, all[i].Params = config.WithoutSecrets(all[i].Given), config.WithoutSecrets(all[i].Params)
				}
				staf.Controllers, stac.Controllers = all[:len(staf.Controllers)], all[len(staf.Controllers):]
				staf.Defaults, stac.Defaults = config.WithoutSecrets(staf.Defaults), config.WithoutSecrets(stac.Defaults)
				files, told := config.ToFabrics(staf, stac)
				_, err = cmd.OutOrStdout().Write(files[0].Bytes())
				if len(files) > 1 {
					told = append(told, "there is more than one file; run: stasadm convert --to 3 --output DIR")
				}
				more = append(more, told...)
			default:
				return fmt.Errorf("%w: there is no format %q; there are %v", errUsage, args[0], formats)
			}
			for _, note := range append(notes, more...) {
				fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: %s\n", note)
			}
			return err
		},
	}
}
