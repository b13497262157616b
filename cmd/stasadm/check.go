package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/check"
)

func (p *places) check() *cobra.Command {
	var strict, filesOnly bool
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "Check all configuration files and the host", Args: arguments(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Check all configuration files and the host. Every finding has an id, the place, and where
possible a command after which it is gone. The exit status is 3 when there is an error, with
--strict also for a warning.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("%w: --output is table or json, not %q", errUsage, output)
			}
			c, list := check.Configured(p.files())
			if !filesOnly {
				host := check.This()
				host.Root = p.root
				list = check.Sorted(append(list, host.Look(c)...))
			}
			if err := show(cmd.OutOrStdout(), list, output); err != nil {
				return err
			}
			for _, f := range list {
				if strict || f.Severity == check.Error {
					return errFindings
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "let warnings count like errors")
	cmd.Flags().BoolVar(&filesOnly, "files", false, "check the files only, not the host")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "print a `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (p *places) files() check.Files {
	return check.Files{
		Root: p.root, Staf: p.at(stafdConf), Stac: p.at(stacdConf), Sys: p.sys(), Fabrics: p.at(fabricsConf),
		NVMe: p.at(nvmeDir), Exclusions: p.at(exclusions), ExclusionDropIns: p.at(exclusionDir),
	}
}

func show(w io.Writer, list []check.Finding, output string) error {
	if output == "json" {
		if list == nil {
			list = []check.Finding{}
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "Nothing found.")
		return err
	}
	for _, f := range list {
		if _, err := fmt.Fprintf(w, "%s  %s  %s\n    %s\n", f.Severity, f.ID, f.Where, f.What); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(w, "    run: %s\n", f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}
