package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

//go:embed guest.sh
var guestScript []byte

// fill puts into the shared directory what the guest expects there; guest.sh lists it.
func (r *run) fill(share string) error {
	for _, d := range []string{"files", "out"} {
		if err := os.Mkdir(filepath.Join(share, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(share, "guest.sh"), guestScript, 0o755); err != nil {
		return err
	}
	mode := "run"
	if r.shell {
		mode = "shell"
	}
	// What the guest needs to boot and to collect is not the command's.
	seconds := max(int((r.deadline - 90*time.Second).Seconds()), 30)
	rows, columns := terminalSize()
	settings := fmt.Sprintf("mode=%s seconds=%d rows=%d columns=%d\n", mode, seconds, rows, columns)
	if err := os.WriteFile(filepath.Join(share, "settings"), []byte(settings), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(share, "command"), []byte(commandLine(r.env, r.command)), 0o644); err != nil {
		return err
	}
	for _, f := range r.files {
		if out, err := exec.Command("cp", "-rL", "--", f, filepath.Join(share, "files")).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s", f, strings.TrimSpace(string(out)))
		}
	}
	if err := archive(filepath.Join(share, "files"), filepath.Join(share, "files.tar")); err != nil {
		return err
	}
	if r.tree == "" {
		return nil
	}
	return archive(r.tree, filepath.Join(share, "tree.tar"))
}

// archive packs a directory for the guest, which reads it as a disk: an order of magnitude faster than file by file over 9p.
func archive(directory, file string) error {
	if out, err := exec.Command("tar", "-C", directory, "-cf", file, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", directory, strings.TrimSpace(string(out)))
	}
	return nil
}

// commandLine is a shell line that runs the command with its arguments as they are.
func commandLine(env, command []string) string {
	var b strings.Builder
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	b.WriteString("exec")
	for _, c := range command {
		b.WriteString(" " + quote(c))
	}
	b.WriteString("\n")
	return b.String()
}

// quote makes one shell word of s.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// collect moves what the guest left in its out directory to the results.
func collect(share, results string) error {
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-r", filepath.Join(share, "out")+"/.", results).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the results: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// keepConsole saves the console of a boot that failed, before the next one overwrites it.
func keepConsole(share, results string, boot int) string {
	to := filepath.Join(results, fmt.Sprintf("console.%d", boot))
	if err := os.Rename(filepath.Join(share, "out", "console"), to); err != nil {
		return err.Error()
	}
	return to
}

// explain shows the end of what came back and says where the rest is.
func (r *run) explain() {
	for _, f := range []struct {
		name  string
		lines int
	}{{"journal", 60}, {"console", 15}, {"qemu", 10}} {
		tail := lastLines(filepath.Join(r.results, f.name), f.lines)
		if len(tail) == 0 || f.name == "console" && fileExists(filepath.Join(r.results, "journal")) {
			continue
		}
		fmt.Fprintf(os.Stderr, "--- end of the guest's %s\n%s\n", f.name, strings.Join(tail, "\n"))
	}
	r.say("journal, dmesg, state and console are in %s", r.results)
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// lastLines gives the last n lines of a file, none when it cannot be read.
func lastLines(name string, n int) []string {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if lines = append(lines, s.Text()); len(lines) > n {
			lines = lines[1:]
		}
	}
	return lines
}

// terminalSize is that of standard output, or 24 by 80.
func terminalSize() (rows, columns int) {
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, os.Stdout.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 || size.rows == 0 || size.columns == 0 {
		return 24, 80
	}
	return int(size.rows), int(size.columns)
}
