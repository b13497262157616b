package kernel

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// The worker process of the tests is this test binary with devices that follow a script:
// files in RunDir/script.
//
//	ADDRESS        what a connect to the address gives: "errno 111", "ok INSTANCE CNTLID"
//	ADDRESS.hang   a file; the connect sleeps until it is gone
//	writes         addresses that were connected to, one per line
//	nvmeN.log      log page 0x70 of a controller
//	nvmeN.hang     a file; each command sleeps as above
//	nvmeN.status   status that each command ends with
//	commands       commands that were sent
func scriptedWorker() int {
	err := runWorker(os.Stdin, os.Stdout, func(g greeting) *host {
		h := newHost(g)
		h.release = "6.12.0"
		dir := filepath.Join(g.RunDir, "script")
		h.openFabrics = func() (fabricsDevice, error) {
			if _, err := os.Stat(filepath.Join(dir, "no-fabrics")); err == nil {
				return nil, syscall.ENOENT
			}
			return &scriptedFabrics{dir: dir}, nil
		}
		h.openController = func(name string) (controllerDevice, error) {
			if _, err := os.Stat(filepath.Join(dir, name+".log")); err != nil {
				return nil, ErrNotLive
			}
			return scriptedController{dir, name}, nil
		}
		return h
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func sleepOn(file string) {
	for {
		if _, err := os.Stat(file); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = f.WriteString(line + "\n")
		_ = f.Close()
	}
}

type scriptedFabrics struct {
	dir   string
	reply string
}

func (s *scriptedFabrics) Close() error { return nil }

func (s *scriptedFabrics) Write(b []byte) (int, error) {
	_, rest, _ := strings.Cut(string(b), "traddr=")
	addr, _, _ := strings.Cut(rest, ",")
	appendLine(filepath.Join(s.dir, "writes"), addr)
	sleepOn(filepath.Join(s.dir, addr+".hang"))
	script, err := os.ReadFile(filepath.Join(s.dir, addr))
	if err != nil {
		return 0, syscall.ECONNREFUSED
	}
	var errno, instance, cntlid int
	if _, err := fmt.Sscanf(string(script), "errno %d", &errno); err == nil {
		return 0, syscall.Errno(errno)
	}
	if _, err := fmt.Sscanf(string(script), "ok %d %d", &instance, &cntlid); err == nil {
		s.reply = fmt.Sprintf("instance=%d,cntlid=%d\n", instance, cntlid)
	}
	return len(b), nil
}

func (s *scriptedFabrics) ReadAt(b []byte, _ int64) (int, error) {
	if s.reply != "" {
		return copy(b, s.reply), nil
	}
	return copy(b, reply612), nil
}

type scriptedController struct{ dir, name string }

func (s scriptedController) Close() error { return nil }

func (s scriptedController) Admin(c *adminCommand, data []byte) (uint32, error) {
	appendLine(filepath.Join(s.dir, "commands"), fmt.Sprintf("%s %02x %08x", s.name, c.Opcode, c.CDW[0]))
	sleepOn(filepath.Join(s.dir, s.name+".hang"))
	if text, err := os.ReadFile(filepath.Join(s.dir, s.name+".status")); err == nil {
		var status nvme.Status
		_, _ = fmt.Sscanf(string(text), "%x", &status)
		return 0, status
	}
	switch c.Opcode {
	case nvme.OpGetLogPage:
		page, _ := os.ReadFile(filepath.Join(s.dir, s.name+".log"))
		g := nvme.ParseGetLogPage(c.CDW[0], c.CDW[1], c.CDW[2], c.CDW[3])
		if g.Offset < uint64(len(page)) {
			copy(data, page[g.Offset:])
		}
	case nvme.OpIdentify:
		copy(data, (&nvme.Identify{SN: "serial", CNTLID: 7, DCTYPE: nvme.DCTypeCDC}).Encode())
	case nvme.OpDIM:
		return uint32(len(data)), os.WriteFile(filepath.Join(s.dir, s.name+".dim"), data, 0o600)
	}
	return 0, nil
}

// bench is a host for a worker: a /sys, a registry, a script.
type bench struct {
	tree
	run  string
	late chan Late
	*Worker
}

func newBench(t *testing.T, change func(*WorkerOptions)) *bench {
	t.Helper()
	b := &bench{tree: newTree(t), run: t.TempDir(), late: make(chan Late, 16)}
	b.write("kernel/uevent_seqnum", "100\n")
	b.mkdir("dev")
	opt := WorkerOptions{RunDir: b.run, RegistryRoot: filepath.Join(b.root, "registry"), SysRoot: b.root, DevRoot: filepath.Join(b.root, "dev"),
		OnOrphan: func(l Late) { b.late <- l }}
	if change != nil {
		change(&opt)
	}
	b.Worker = NewWorker(opt)
	t.Cleanup(func() { b.end(t, b.Worker) })
	if err := os.Mkdir(filepath.Join(b.run, "script"), 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// end closes a worker and waits until its process is reaped.
func (b *bench) end(t *testing.T, w *Worker) {
	w.mu.Lock()
	p := w.proc
	w.mu.Unlock()
	_ = w.Close()
	if p != nil {
		await(t, "the worker process to end", func() bool { return p.reaped() })
	}
}

func (p *process) reaped() bool { return syscall.Kill(p.cmd.Process.Pid, 0) == syscall.ESRCH }

func (b *bench) script(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.run, "script", name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) lines(name string) []string {
	text, _ := os.ReadFile(filepath.Join(b.run, "script", name))
	return strings.Fields(string(text))
}

// hang makes a file to sleep on; the result ends the sleep of those who do, and of all after.
func (b *bench) hang(name string) (wake func()) {
	b.t.Helper()
	path := filepath.Join(b.run, "script", name+".hang")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

func (b *bench) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proc.cmd.Process.Pid
}

// logPage encodes a discovery log page with n entries.
func logPage(n int) []byte {
	page := make([]byte, 1024*(n+1))
	binary.LittleEndian.PutUint64(page, 5)
	binary.LittleEndian.PutUint64(page[8:], uint64(n))
	for i := range n {
		e := page[1024*(i+1):]
		e[0], e[1], e[2] = 3, 1, 2
		copy(e[32:64], "4420")
		copy(e[256:], fmt.Sprintf("nqn.2024-01.test:s%d", i))
		copy(e[512:], fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	return page
}
