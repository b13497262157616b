package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

var errAborted = errors.New("nothing was changed")

// confirm asks a person, and takes the word of a program, which nobody can ask.
func confirm(cmd *cobra.Command, question string) bool {
	if !interactive(cmd.InOrStdin()) {
		return true
	}
	answer := ask(cmd, question+" [y/N] ")
	return answer == "y" || answer == "Y" || strings.EqualFold(answer, "yes")
}

func interactive(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	// Majors of terminals (Documentation/admin-guide/devices.txt): virtual and serial consoles,
	// /dev/tty and /dev/console, pseudo terminals. /dev/null is a character device too.
	major := stat.Rdev >> 8 & 0xfff
	return major == 4 || major == 5 || major >= 136 && major <= 143
}

// ask reads one line; empty at the end of input.
func ask(cmd *cobra.Command, question string) string {
	fmt.Fprint(cmd.ErrOrStderr(), question)
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	return strings.TrimSpace(line)
}
