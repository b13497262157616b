package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/exclusion/edit"
)

// errNoMatch is the answer of exclusion match, not a failure.
var errNoMatch = errors.New("nothing matches")

func (p *places) exclusion() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "exclusion", Short: "Show and change what no program connects by itself", Args: arguments(cobra.NoArgs),
		Long: `Show and change the lists of what no program of this host connects by itself:
/etc/nvme/exclusions.conf, and the named ones in /etc/nvme/exclusions.conf.d; see
stas-coexistence(7). The commands are those of nvme-cli 3.`,
		RunE: missingCommand,
	}
	path := func() (string, error) {
		path, err := edit.Path(p.at(exclusions), p.at(exclusionDir), name)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUsage, err)
		}
		return path, nil
	}
	for _, c := range []*cobra.Command{
		p.exclusionList(path), exclusionAdd(path), exclusionRemove(path), exclusionCreate(path), exclusionDelete(path), exclusionEdit(path),
	} {
		c.Flags().StringVarP(&name, "name", "N", "", "the list of this `NAME`; without it the default one")
		cmd.AddCommand(c)
	}
	cmd.AddCommand(p.exclusionMatch())
	return cmd
}

type pathOf func() (string, error)

func (p *places) exclusionList(path pathOf) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Print all lists, or one", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			one := cmd.Flags().Changed("name")
			var list *exclusion.List
			var problems []exclusion.Problem
			if one {
				file, err := path()
				if err != nil {
					return err
				}
				content, token, err := edit.Read(file)
				if err != nil {
					return err
				}
				if token == 0 {
					return fmt.Errorf("there is no list %s", file)
				}
				var entries []exclusion.Entry
				entries, problems = exclusion.Parse(bytes.NewReader(content), file)
				list = exclusion.NewList(entries...)
			} else {
				list, problems = exclusion.Load(p.at(exclusions), p.at(exclusionDir))
			}
			last := ""
			for _, e := range list.Entries() {
				if e.File != last && !one {
					fmt.Fprintln(cmd.OutOrStdout(), p.listName(e.File))
				}
				last = e.File
				fmt.Fprintf(cmd.OutOrStdout(), "  %s\n", e)
			}
			return tell(cmd, problems)
		},
	}
}

// tell says what of the lists excludes nothing although it was to; it is an error where a whole file is not read.
func tell(cmd *cobra.Command, problems []exclusion.Problem) (err error) {
	for _, p := range problems {
		switch p.Kind {
		case exclusion.Unreadable:
			err = errors.Join(err, p)
		case exclusion.Suspicious:
		default:
			fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: %v\n", p)
		}
	}
	return err
}

func (p *places) listName(file string) string {
	if file == p.at(exclusions) {
		return "(default)"
	}
	return strings.TrimSuffix(filepath.Base(file), ".conf")
}

func (p *places) exclusionMatch() *cobra.Command {
	return &cobra.Command{
		Use: "match CONNECTION", Short: "Tell whether a connection is excluded, and by which lines", Args: arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Tell whether a connection is excluded, and by which lines. The connection is written like an
entry, with all that is known of it; a line that names something else besides does not match.
The exit status is 1 when nothing matches.`,
		Example: "  stasadm exclusion match 'transport=tcp;traddr=192.0.2.10;trsvcid=4420;nqn=nqn.2014-08.org.example:a'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := exclusion.ParseEntry(args[0])
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			list, problems := exclusion.Load(p.at(exclusions), p.at(exclusionDir))
			found := errNoMatch
			for _, e := range list.Entries() {
				if e.Matches(c.Fields()) {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", e.Where(), e)
					found = nil
				}
			}
			if err := tell(cmd, problems); err != nil && found != nil {
				return err // "nothing matches" would be too much said
			} else if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: %v\n", err)
			}
			return found
		},
	}
}

func exclusionAdd(path pathOf) *cobra.Command {
	var entry string
	cmd := &cobra.Command{
		Use: "add [ENTRY]", Short: "Add an entry, and make the list where there is none", Args: arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		Example:           "  stasadm exclusion add 'transport=tcp;traddr=192.0.2.10'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 == (entry != "") {
				return fmt.Errorf("%w: one entry is needed", errUsage)
			}
			file, err := path()
			if err != nil {
				return err
			}
			text := entry + strings.Join(args, "")
			added, err := edit.Add(file, text)
			if err == nil && !added {
				fmt.Fprintln(cmd.ErrOrStderr(), "stasadm: the list has this entry already")
			}
			if e, _ := exclusion.ParseEntry(text); err == nil && e.LooksCommented() {
				fmt.Fprintln(cmd.ErrOrStderr(), `stasadm: " #" does not start a comment here, it is part of the value, and the entry will hardly match`)
			} else if err == nil && e.HasName() {
				fmt.Fprintln(cmd.ErrOrStderr(), "stasadm: a host name in an entry matches nothing, only numeric addresses are compared")
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&entry, "entry", "e", "", "the `ENTRY`, as nvme-cli wants it")
	return cmd
}

func exclusionRemove(path pathOf) *cobra.Command {
	var entry string
	cmd := &cobra.Command{
		Use: "remove [ENTRY]", Short: "Take an entry out; without ENTRY, ask which", Args: arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := path()
			if err != nil {
				return err
			}
			text := entry + strings.Join(args, "")
			if text == "" {
				if text, err = choose(cmd, file); err != nil || text == "" {
					return err
				}
			}
			n, err := edit.Remove(file, text)
			if err == nil && n == 0 {
				return fmt.Errorf("the list %s has no such entry", file)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&entry, "entry", "e", "", "the `ENTRY` to take out")
	return cmd
}

// choose shows the entries of a list and asks for one; empty when none is chosen.
func choose(cmd *cobra.Command, file string) (string, error) {
	content, _, err := edit.Read(file)
	if err != nil {
		return "", err
	}
	entries, _ := exclusion.Parse(bytes.NewReader(content), file)
	if len(entries) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "The list %s has no entries.\n", file)
		return "", nil
	}
	for i, e := range entries {
		fmt.Fprintf(cmd.OutOrStdout(), "%3d. %s\n", i+1, e)
	}
	n, err := strconv.Atoi(ask(cmd, fmt.Sprintf("Which entry is to go? [1-%d, or nothing to cancel] ", len(entries))))
	if err != nil || n < 1 || n > len(entries) {
		fmt.Fprintln(cmd.OutOrStdout(), "cancelled")
		return "", nil
	}
	return entries[n-1].String(), nil
}

func exclusionCreate(path pathOf) *cobra.Command {
	return &cobra.Command{
		Use: "create", Short: "Make an empty list", Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			file, err := path()
			if err != nil {
				return err
			}
			return edit.Create(file)
		},
	}
}

func exclusionDelete(path pathOf) *cobra.Command {
	return &cobra.Command{
		Use: "delete", Short: "Delete a list with all its entries", Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			file, err := path()
			if err != nil {
				return err
			}
			_, token, err := edit.Read(file)
			if err != nil {
				return err
			}
			return edit.Delete(file, token)
		},
	}
}

func exclusionEdit(path pathOf) *cobra.Command {
	return &cobra.Command{
		Use: "edit", Short: "Open a list in $EDITOR", Args: arguments(cobra.NoArgs),
		Long: `Open a copy of a list in $EDITOR and install it when it is valid and nobody else changed the
list meanwhile. The copy is kept, and its path printed, when it is not installed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := path()
			if err != nil {
				return err
			}
			content, token, err := edit.Read(file)
			if err != nil {
				return err
			}
			if len(content) == 0 {
				content = []byte("[exclusions]\n")
			}
			scratch, err := scratchCopy(file, content)
			if err != nil {
				return err
			}
			if err := editUntilValid(cmd, file, scratch, content, token); err != nil {
				return fmt.Errorf("%w; what you wrote is in %s", err, scratch)
			}
			return os.Remove(scratch)
		},
	}
}
