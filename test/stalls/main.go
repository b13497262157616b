// Stalls runs tests in a copy of the module in which any statement, of tests and product alike, may stand still for a moment, as
// on a machine that is taken away: what fails there depends on goroutines that are fast enough, in the test or in the product.
//
//	go run ./test/stalls [-rounds N] [-timeout D] [PACKAGES]
//
// One goroutine of a process stands still at a time, for a fifth of the time in all; the others go on. It is the thread that
// sleeps, so the clock of testing/synctest does not advance meanwhile.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 3, "how `often` all tests are run")
	timeout := flag.Duration("timeout", time.Hour, "`time` for the tests of one package")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./pkg/...", "./cmd/..."}
	}
	if err := run(*rounds, *timeout, packages); err != nil {
		fmt.Fprintln(os.Stderr, "stalls:", err)
		os.Exit(1)
	}
}

func run(rounds int, timeout time.Duration, packages []string) error {
	dir, err := os.MkdirTemp("", "stas-stalls-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := copyTree(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d packages can stand still, in %s\n", n, dir)
	failed := 0
	for round := range rounds {
		began := time.Now()
		test := exec.Command("go", append([]string{"test", "-count=1", "-timeout", timeout.String()}, packages...)...)
		test.Dir, test.Env = dir, append(os.Environ(), "STAS_STALL=1")
		out, err := test.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("cannot run the tests: %w", err)
		}
		if err != nil {
			failed++
			for line := range bytes.Lines(out) {
				if !bytes.HasPrefix(line, []byte("ok ")) && !bytes.Contains(line, []byte("[no test files]")) {
					fmt.Printf("%s", line)
				}
			}
		}
		fmt.Printf("round %d: %v, %v\n", round+1, time.Since(began).Round(time.Second), map[bool]string{true: "ok", false: "FAILED"}[err == nil])
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rounds failed", failed, rounds)
	}
	return nil
}

// copyTree copies what git knows of the module to dir, and has the Go files of its packages stand still there. It gives how many
// packages these are.
func copyTree(dir string) (int, error) {
	list, err := exec.Command("git", "ls-files", "-z", "--full-name", ":/").Output()
	if err != nil {
		return 0, fmt.Errorf("cannot list the files: %w", err)
	}
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return 0, fmt.Errorf("cannot find the top of the tree: %w", err)
	}
	packages := map[string]string{} // by directory
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		from, to := filepath.Join(strings.TrimSpace(string(top)), name), filepath.Join(dir, name)
		info, err := os.Lstat(from)
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(name, "pkg/check/") && strings.HasSuffix(name, "_test.go") {
			continue // the tests of package check read the source
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return 0, err
		}
		if stands(name) {
			var pkg string
			if text, pkg, err = instrument(name, text); err != nil {
				return 0, err
			}
			if !strings.HasSuffix(pkg, "_test") {
				packages[filepath.Dir(to)] = pkg
			}
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return 0, err
		}
		if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
			return 0, err
		}
	}
	for d, pkg := range packages {
		if err := os.WriteFile(filepath.Join(d, "zz_stall.go"), []byte("package "+pkg+stall), 0o644); err != nil {
			return 0, err
		}
	}
	return len(packages), nil
}

func stands(name string) bool {
	return strings.HasSuffix(name, ".go") && (strings.HasPrefix(name, "pkg/") || strings.HasPrefix(name, "cmd/")) && !strings.Contains(name, "/testdata/")
}
