package fabricsim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serveControl runs the control socket of f until the test ends.
func serveControl(t *testing.T, f *Fabric) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.ServeControl(ctx, path) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await(t, func() bool { return Call(t.Context(), path, Request{Op: "port ls"}, nil) == nil })
	return path
}

func TestControlSocket(t *testing.T) {
	f := start(t, sample)
	path := serveControl(t, f)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket is %v, %v", st.Mode(), err)
	}
	if err := f.ServeControl(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second server on the socket: %v", err)
	}
	for request, want := range map[string]string{
		"nonsense\n":                                "cannot read the request",
		`{"op":"explode"}` + "\n":                   "is unknown",
		`{"op":"zone add"}` + "\n":                  "0 arguments",
		`{"op":"hosts","args":["x"]}` + "\n":        "1 arguments",
		`{"op":"zone ls","set":{"a":"b"}}` + "\n":   "nothing to set",
		`{"op":"dc set","args":["cdc"]}` + "\n":     "cannot set nothing",
		`{"op":"hosts"}` + "\n":                     `"controllers":[]`,
		strings.Repeat(" ", maxRequest+10) + "{}\n": "", // too long: no answer
		"{}": "", // never ends
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		go func() {
			io.WriteString(c, request)
			c.(*net.UnixConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if want != "" && (err != nil || !strings.Contains(string(got), want)) || want == "" && len(got) > 0 {
			t.Errorf("%.40q gave %q, %v, want %q", request, got, err, want)
		}
		c.Close()
	}
}

// A follower that does not read is dropped, and delays nobody.
func TestSlowFollower(t *testing.T) {
	f := start(t, sample)
	events, stop := f.Follow()
	defer stop()
	for range followBuffer + 10 {
		f.record("test", "")
	}
	n := 0
	for range events {
		n++
	}
	if n != followBuffer {
		t.Errorf("follower got %d events", n)
	}
	for range keptEvents {
		f.record("test", "")
	}
	list := f.Events(0)
	if len(list) != keptEvents || list[0].Seq+keptEvents-1 != list[len(list)-1].Seq {
		t.Errorf("%d events are kept, from %d to %d", len(list), list[0].Seq, list[len(list)-1].Seq)
	}
}

// Whatever is asked, there is an answer.
func FuzzPerform(f *testing.F) {
	cfg, err := ParseConfig(strings.NewReader(sample))
	if err != nil {
		f.Fatal(err)
	}
	fabric, err := New(cfg, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(fabric.Close)
	f.Add("zone add", "za s3 alice", "", "")
	f.Add("zone remove", "za s1", "", "")
	f.Add("dc set", "cdc", "referral", "nvme+tcp://[::1]:8009/nqn.2024-01.x:y")
	f.Add("subsys add", "x", "nqn", "nqn.2024-01.org.example:x")
	f.Add("subsys remove", "s1", "", "")
	f.Add("fault add", "x", "action", "numrec=7")
	f.Add("aen", "cdc alice", "", "")
	f.Fuzz(func(t *testing.T, op, args, key, value string) {
		if strings.HasPrefix(op, "port") {
			return // ports are not for the taking
		}
		r := Request{Op: op, Args: strings.Fields(args)}
		if key != "" {
			r.Set = map[string]string{key: value}
		}
		if key == "action" && (strings.HasPrefix(value, "refuse") || strings.HasPrefix(value, "blackhole") || strings.HasPrefix(value, "move")) {
			return
		}
		_, _ = fabric.Perform(r)
		if _, err := fabric.Perform(Request{Op: "zone ls"}); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever line comes to the control socket, one line of JSON answers it.
func FuzzControlLine(f *testing.F) {
	cfg, err := ParseConfig(strings.NewReader(sample))
	if err != nil {
		f.Fatal(err)
	}
	fabric, err := New(cfg, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(fabric.Close)
	f.Add([]byte(`{"op":"zone ls"}`))
	f.Add([]byte(`{"op":"events","follow":false,"after":18446744073709551615}`))
	f.Add([]byte(`{"op":"events","after":1000}`)) // more than there are
	f.Add([]byte(`{"op":["zone"],"args":{}}`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var req Request
		if json.Unmarshal(line, &req) == nil && (req.Follow || strings.HasPrefix(req.Op, "port") || strings.HasPrefix(req.Op, "fault")) {
			return // does not end, or takes ports
		}
		line = append(bytes.ReplaceAll(line, []byte("\n"), nil), '\n')
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			fabric.answer(t.Context(), server)
		}()
		client.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := client.Write(line); err != nil {
			t.Fatal(err)
		}
		var resp Response
		if err := json.NewDecoder(client).Decode(&resp); err != nil {
			t.Fatalf("%q is answered by %v", line, err)
		}
		client.Close()
	})
}

// Out of file descriptors for a moment is no reason to end: whoever calls then, and later, is answered.
func TestControlSocketOutOfDescriptors(t *testing.T) {
	f := start(t, sample)
	path := serveControl(t, f)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := os.NewFile(uintptr(fd), "control")
	defer c.Close()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	time.Sleep(50 * time.Millisecond)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, `{"op":"zone ls"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !strings.Contains(string(got), "result") {
		t.Errorf("who called then got %q, %v", got, err)
	}
	if err := Call(t.Context(), path, Request{Op: "zone ls"}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Only a socket is replaced: a path that is given by mistake costs nobody a file.
func TestControlSocketReplacesNoFile(t *testing.T) {
	f := start(t, sample)
	path := filepath.Join(t.TempDir(), "lab.ini")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := f.ServeControl(ctx, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a control socket in place of a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != sample {
		t.Errorf("the file is gone: %v", err)
	}
}
