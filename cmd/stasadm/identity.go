package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/machine"
	"github.com/stas-go/stas/pkg/nvme"
)

// hostSection is the section of sys.conf that all keys are in.
const hostSection = "Host"

// errNowhere says that what is made would be kept in no file.
var errNowhere = fmt.Errorf("%w: without a sys.conf there is nowhere to write it", errUsage)

// word is one part of the identity that is made by a command.
type word struct {
	key   string // of sys.conf
	what  string
	check func(string) error
	force bool
	file  string
}

func (p *places) hostNQN() *cobra.Command {
	w := &word{key: "nqn", what: "host NQN", check: nvme.CheckNQN}
	return w.command(p, "hostnqn", "Derive the host NQN from this machine and configure it", func() (string, error) {
		id, _, err := machine.UUID(p.root)
		return id.NQN(), err
	})
}

func (p *places) hostID() *cobra.Command {
	w := &word{key: "id", what: "host ID", check: nvme.CheckHostID}
	return w.command(p, "hostid", "Configure the host ID that belongs to the host NQN", func() (string, error) { return p.pairedID(w.force) })
}

// pairedID is the UUID that the host NQN in force is made of, as nvme-cli has it; a new one where
// the NQN is of another form, and that of the machine where there is no NQN yet.
func (p *places) pairedID(force bool) (string, error) {
	nqn, err := p.nqnInForce(force)
	if err != nil {
		return "", err
	}
	if id, ok := nvme.HostIDFromNQN(nqn); ok {
		return id.String(), nil
	}
	if nqn != "" {
		// The machine's UUID belongs to the NQN that is made of it.
		id, err := machine.RandomUUID()
		return id.String(), err
	}
	id, source, err := machine.UUID(p.root)
	if err == nil && source == machine.Random {
		return "", errors.New("there is nothing to derive a host ID from; run: stasadm hostnqn -f /etc/nvme/hostnqn")
	}
	return id.String(), err
}

func (p *places) nqnInForce(force bool) (string, error) {
	w := &word{key: "nqn", what: "host NQN", check: nvme.CheckNQN, force: force}
	if p.sysConf == "" {
		return w.in(p, filepath.Join(nvmeDir, "hostnqn"))
	}
	return w.inForce(p, "hostnqn")
}

func (w *word) command(p *places, use, short string, make func() (string, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(cobra.NoArgs), ValidArgsFunction: cobra.NoFileCompletions,
		Long: short + `.

An identity that exists stays: controllers know this host by it. --force replaces it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.sysConf == "" && w.file == "" {
				return errNowhere
			}
			if err := w.absolute(); err != nil {
				return err
			}
			value, err := make()
			if err != nil {
				return fmt.Errorf("cannot make a %s: %w", w.what, err)
			}
			filed, err := w.in(p, w.file)
			if err != nil {
				return err
			}
			inForce, err := w.inForce(p, use)
			if err != nil {
				return err
			}
			same := filed == inForce || w.key == "id" && strings.EqualFold(filed, inForce)
			if filed != "" && inForce != "" && !same && !w.force {
				return fmt.Errorf("%s has the %s %s, and %s is in force: %w; --force replaces both by %s", w.file, w.what, filed, inForce, errAborted, value)
			}
			old := cmp.Or(filed, inForce)
			if old == "" || w.force {
				if err := p.effective(w.key, w.file); err != nil {
					return err
				}
			}
			if old != "" && old != value && !w.force {
				fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: keeping the %s %s; --force replaces it by %s\n", w.what, old, value)
				value = old
			}
			return p.save(w.key, value, w.file)
		},
	}
	cmd.Flags().StringVarP(&w.file, "file", "f", "", "keep the value in `FILE` and refer to it in sys.conf")
	cmd.Flags().BoolVar(&w.force, "force", false, "replace another valid value")
	return cmd
}

// effective says whether what is written to sys.conf, or to the file that it refers to, will count: a drop-in comes after it.
func (p *places) effective(key, file string) error {
	if p.sysConf == "" {
		return nil
	}
	where, value, err := config.DropInWith(p.sys(), hostSection, key)
	path, named := strings.CutPrefix(value, "file://")
	if err != nil || where == "" || file != "" && named && filepath.Join("/", path) == file {
		return err
	}
	return fmt.Errorf("%s has %s= too, and comes after %s: %w; change it there", where, key, p.sys(), errAborted)
}

// absolute makes the path of the file the one that sys.conf refers to.
func (w *word) absolute() error {
	if w.file == "" {
		return nil
	}
	file, err := filepath.Abs(w.file)
	if err != nil {
		return fmt.Errorf("cannot find %s: %w", w.file, err)
	}
	w.file = file
	return nil
}

// inForce is the valid value that connections are made with; empty where there is none. What cannot be read may have one.
func (w *word) inForce(p *places, name string) (string, error) {
	if p.sysConf == "" {
		return "", nil
	}
	value := ""
	dropIns, _ := filepath.Glob(p.sys() + ".d/*.conf")
	for _, file := range append([]string{p.sys()}, dropIns...) {
		v, err := config.KeyOf(file, hostSection, w.key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		value = cmp.Or(v, value)
	}
	if value == "" {
		value, err := w.in(p, filepath.Join(nvmeDir, name))
		if err != nil {
			return "", err
		}
		if value == "" && w.key == "id" {
			nqn, err := p.nqnInForce(w.force)
			if id, ok := nvme.HostIDFromNQN(nqn); ok || err != nil {
				return id.String(), err
			}
		}
		return value, nil
	}
	if file, named := strings.CutPrefix(value, "file://"); named {
		file = filepath.Join("/", file)
		if _, err := config.FirstWord(p.at(file)); errors.Is(err, fs.ErrNotExist) && file != w.file && !w.force {
			// It may be on what is not mounted yet.
			return "", fmt.Errorf("%s refers to %s, which does not exist: %w; --force does not go by it, and -f %s makes it", p.sys(), file, errAborted, file)
		}
		return w.in(p, file)
	}
	if w.check(value) == nil {
		return value, nil
	}
	return "", nil
}

// in is the valid value in a file. What cannot be read may have one, and so may what a symbolic link leads to, once it is mounted.
func (w *word) in(p *places, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := config.FirstWord(p.at(file))
	if err == nil && w.check(text) == nil {
		return text, nil
	}
	var unread *config.FileError
	if !w.force && errors.As(err, &unread) && unread.Err != nil {
		return "", fmt.Errorf("%w; nothing was changed; --force makes another %s", err, w.what)
	}
	return "", nil
}

// save writes value to file, where one is given, and to sys.conf the value or where it is.
func (p *places) save(key, value, file string) error {
	if file != "" {
		file, err := filepath.Abs(file)
		if err != nil {
			return fmt.Errorf("cannot find %s: %w", file, err)
		}
		if err := config.WriteWord(p.at(file), value); err != nil {
			return err
		}
		value = "file://" + file
	}
	if p.sysConf == "" {
		return nil
	}
	return config.SetKey(p.sys(), hostSection, key, value)
}

func (p *places) setSymName() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "set-symname NAME", Short: "Configure the symbolic name of this host", Args: arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			if err := nvme.CheckSymbolicName(name); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if p.sysConf == "" {
				return errNowhere // nothing but sys.conf refers to a file with it
			}
			if file != "" && strings.ContainsAny(name, " \t") {
				return fmt.Errorf("%w: a name in a file ends at the first space; leave --file out", errUsage)
			}
			if file != "" {
				var err error
				if file, err = filepath.Abs(file); err != nil {
					return fmt.Errorf("cannot find %s: %w", file, err)
				}
			}
			if err := p.effective("symname", file); err != nil {
				return err
			}
			return p.save("symname", name, file)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "keep the name in `FILE` and refer to it in sys.conf")
	return cmd
}

func (p *places) clearSymName() *cobra.Command {
	return &cobra.Command{
		Use: "clear-symname", Short: "Remove the symbolic name of this host", Args: arguments(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if p.sysConf == "" {
				return nil
			}
			if err := p.effective("symname", ""); err != nil {
				return err
			}
			return config.ClearKey(p.sys(), hostSection, "symname")
		},
	}
}
