package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// many makes a file with n controllers.
func many(n int) string {
	var b strings.Builder
	b.WriteString("[Controllers]\n")
	for i := range n {
		fmt.Fprintf(&b, "controller=transport=tcp;traddr=10.%d.%d.%d;nqn=nqn.2014-08.org.example:s%d;ctrl-loss-tmo=600\n", i>>16&255, i>>8&255, i&255, i)
	}
	return b.String()
}

// BenchmarkLoad reads ten thousand controllers.
func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "stacd.conf")
	if err := writeBench(path, many(10_000)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		v, problems, err := LoadStac(Files{Own: path})
		if err != nil || len(problems) > 0 || len(v.Controllers) != 10_000 {
			b.Fatal(problems, err)
		}
	}
}

// TestLoadGrowsWithTheFile fails where reading is quadratic.
func TestLoadGrowsWithTheFile(t *testing.T) {
	path := write(t, t.TempDir(), "stacd.conf", many(50_000)+strings.Repeat("controler=x\n", 50_000))
	v, problems, err := LoadStac(Files{Own: path})
	if err != nil || len(v.Controllers) != 50_000 || len(problems) != maxProblems+1 || !says(problems, "49800 more problems are not listed") {
		t.Fatal(len(v.Controllers), len(problems), err)
	}
}

// TestLoadGrowsWithTheFabricsFile fails where reading is quadratic: four times the file would take sixteen times as long.
func TestLoadGrowsWithTheFabricsFile(t *testing.T) {
	load := func(size int) time.Duration {
		var b strings.Builder
		n := 0
		for ; b.Len() < size-100; n++ {
			fmt.Fprintf(&b, "[Subsystem]\nnqn=nqn.2014-08.a:%d\ncontroller=transport=tcp;traddr=10.1.%d.%d\n", n, n>>8&255, n&255)
		}
		files := set(t, b.String())
		best := time.Hour
		for range 3 {
			start := cpuTime(t)
			v, problems, err := LoadStac(files)
			if err != nil || len(problems) > 0 || len(v.Controllers) != n {
				t.Fatal(len(v.Controllers), problems, err)
			}
			best = min(best, cpuTime(t)-start)
		}
		return best
	}
	quarter, whole := load(maxFabricsFile/4), load(maxFabricsFile)
	t.Logf("%v, %v", quarter, whole)
	if whole > 9*quarter {
		t.Errorf("a quarter takes %v, the whole %v", quarter, whole)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBrokenFabricsFileIsToldInFew: one broken file does not fill the journal.
func TestBrokenFabricsFileIsToldInFew(t *testing.T) {
	for _, text := range []string{"x\n", "[Subsystem]\n", "[\n"} {
		s := StacSource{Files: set(t, strings.Repeat(text, 2000))}
		_, problems := s.Load()
		if len(problems) > maxProblems+2 || !says(problems, "too many errors") {
			t.Errorf("%q: %d problems", text, len(problems))
		}
	}
}
