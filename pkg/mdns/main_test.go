package mdns

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// Inside the private namespaces this variable is set.
const insideEnv = "STAS_MDNS_TEST_NAMESPACE"

// TestMain runs the tests in a network and a mount namespace of their own, where that is
// allowed: buses, Avahi daemons and interfaces of the tests are invisible to the host.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" && os.Geteuid() == 0 {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), insideEnv+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
			Pdeathsig:  syscall.SIGKILL,
		}
		switch err := cmd.Run().(type) {
		case nil:
			os.Exit(0)
		case *exec.ExitError:
			os.Exit(err.ExitCode())
		default:
			fmt.Fprintln(os.Stderr, "no private namespaces, tests that need them are left out:", err)
		}
	}
	if os.Getenv(insideEnv) != "" {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot furnish the namespaces:", err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(withChildren{m})
}

// withChildren is the run of the tests with its starter of processes.
type withChildren struct{ m *testing.M }

func (w withChildren) Run() int {
	startChildren()
	defer close(children)
	return w.m.Run()
}

// furnish makes /run private and loopback usable for multicast.
func furnish() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("cannot mount /run: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up", "multicast", "on").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot set up lo: %w: %s", err, out)
	}
	return nil
}

// need skips the test where the namespaces or a program are missing, or fails it where
// the environment promises everything.
func need(t *testing.T, programs ...string) {
	t.Helper()
	missing := ""
	if os.Getenv(insideEnv) == "" {
		missing = "private network and mount namespaces"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = p
		}
	}
	switch {
	case missing == "":
	case os.Getenv("STAS_REQUIRE_INTEGRATION") == "1":
		t.Fatalf("%s is required and missing", missing)
	default:
		t.Skipf("%s is missing", missing)
	}
}
