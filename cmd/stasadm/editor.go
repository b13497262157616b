package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/exclusion/edit"
)

// scratchCopy makes the file that the editor works on, readable by its user only.
func scratchCopy(file string, content []byte) (string, error) {
	f, err := os.CreateTemp("", filepath.Base(file)+".*")
	if err != nil {
		return "", fmt.Errorf("cannot make a copy of %s: %w", file, err)
	}
	_, err = f.Write(content)
	if err = cmp.Or(err, f.Close()); err != nil {
		return "", fmt.Errorf("cannot make a copy of %s: %w", file, err)
	}
	return f.Name(), nil
}

// editUntilValid runs the editor, again while the result is invalid and the user wants it, and
// installs the result where it differs.
func editUntilValid(cmd *cobra.Command, file, scratch string, before []byte, token edit.Token) error {
	for {
		if err := runEditor(cmd, scratch); err != nil {
			return err
		}
		after, err := os.ReadFile(scratch)
		if err != nil {
			return fmt.Errorf("cannot read what was edited: %w", err)
		}
		if bytes.Equal(before, after) {
			return nil
		}
		err = edit.Check(scratch, after)
		if err == nil {
			return edit.Write(file, after, token)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "stasadm: %v\n", err)
		if answer := ask(cmd, "Edit it again? [y/N] "); answer != "y" && answer != "Y" {
			return errAborted
		}
	}
}

// runEditor runs $EDITOR, which may have arguments.
func runEditor(cmd *cobra.Command, file string) error {
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	c := exec.CommandContext(cmd.Context(), "/bin/sh", "-c", editor+` "$1"`, "sh", file)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("cannot edit with %s: %w", editor, err)
	}
	return nil
}
