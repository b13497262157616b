package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/version"
)

// places are the files that stasadm works on.
type places struct {
	root    string // what "/" is
	sysConf string // below root
}

func (p *places) at(path string) string { return filepath.Join(p.root, path) }

// sys is the path of sys.conf; empty where there is to be none.
func (p *places) sys() string {
	if p.sysConf == "" {
		return ""
	}
	if filepath.Clean(p.root) == "/" {
		if path, err := filepath.Abs(p.sysConf); err == nil {
			return path
		}
	}
	return p.at(p.sysConf)
}

// Files below the root.
const (
	sysConf      = "/etc/stas/sys.conf"
	stafdConf    = "/etc/stas/stafd.conf"
	stacdConf    = "/etc/stas/stacd.conf"
	nvmeDir      = "/etc/nvme"
	fabricsConf  = "/etc/nvme/nvme-stas.conf"
	exclusions   = "/etc/nvme/exclusions.conf"
	exclusionDir = "/etc/nvme/exclusions.conf.d"
	registryDir  = "/run/nvme/registry"
)

func newRoot() *cobra.Command {
	p := &places{}
	root := &cobra.Command{
		Use: "stasadm", Short: "Host identity, configuration checks and shared files of stas", Version: version.Version,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: there is no command %q", errUsage, args[0])
			}
			return nil
		},
		RunE: missingCommand,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.Flags().BoolP("version", "v", false, "print the version")
	root.PersistentFlags().StringVarP(&p.sysConf, "conf-file", "c", sysConf, "host configuration `FILE`; empty: none")
	root.PersistentFlags().StringVar(&p.root, "root", "/", "work on the system whose root is `DIR`")
	_ = root.MarkPersistentFlagDirname("root")
	root.AddCommand(p.hostNQN(), p.hostID(), p.setSymName(), p.clearSymName(), p.check(), p.convert(), p.export(), p.registry(), p.exclusion())
	return root
}
