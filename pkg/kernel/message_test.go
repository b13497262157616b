package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"golang.org/x/sys/unix"
)

func TestErrorsThroughThePipe(t *testing.T) {
	send := func(err error) error {
		t.Helper()
		frame, ferr := appendFrame(nil, reply{Failure: packError(err)}, nil)
		if ferr != nil {
			t.Fatal(ferr)
		}
		var r reply
		if _, ferr := readFrame(bytes.NewReader(frame), &r); ferr != nil {
			t.Fatal(ferr)
		}
		return r.Failure.unpack()
	}
	if err := send(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	for _, sentinel := range sentinels {
		want := fmt.Errorf("cannot do it: %w", sentinel)
		got := send(want)
		if !errors.Is(got, sentinel) || got.Error() != want.Error() {
			t.Errorf("%v became %v", want, got)
		}
		for _, other := range sentinels {
			if other != sentinel && errors.Is(got, other) {
				t.Errorf("%v became %v too", want, other)
			}
		}
	}
	if got := send(fmt.Errorf("cannot: %w", syscall.EBUSY)); !errors.Is(got, syscall.EBUSY) {
		t.Errorf("EBUSY became %v", got)
	}
	if got := send(fmt.Errorf("cannot: %w", nvme.StatusInvalidField|nvme.StatusDNR)); !errors.Is(got, nvme.StatusInvalidField) || errors.Is(got, nvme.StatusInvalidOpcode) {
		t.Errorf("a status became %v", got)
	}
	want := &ConnectError{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}, Errno: syscall.EIO, Class: Rejected, Took: time.Second, Warnings: []string{"w"}}
	var got *ConnectError
	if !errors.As(send(want), &got) || got.Error() != want.Error() || got.Took != want.Took || got.Class != want.Class || !slices.Equal(got.Warnings, want.Warnings) {
		t.Errorf("%+v became %+v", want, got)
	}
}

func TestFrameBounds(t *testing.T) {
	if _, err := appendFrame(nil, reply{}, make([]byte, maxData+1)); err == nil {
		t.Error("too much data is sent")
	}
	if _, err := appendFrame(nil, reply{Failure: &failure{Text: string(make([]byte, maxHead))}}, nil); err == nil {
		t.Error("too long a head is sent")
	}
	frame, err := appendFrame(nil, reply{ID: 3}, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(frame); n++ {
		if _, err := readFrame(bytes.NewReader(frame[:n]), new(reply)); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("%d of %d bytes: %v", n, len(frame), err)
		}
	}
	if _, err := readFrame(bytes.NewReader(nil), new(reply)); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := readFrame(bytes.NewReader([]byte("\xff\xff\xff\xff\xff\xff\xff\xff")), new(reply)); err == nil {
		t.Error("4 GiB are read")
	}
}

func FuzzReadFrame(f *testing.F) {
	frame, err := appendFrame(nil, reply{ID: 3, Failure: &failure{Kind: 99}}, []byte("data"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add([]byte("\x00\x00\x00\x02\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if data, err := readFrame(bytes.NewReader(b), &r); err == nil {
			if len(data) > len(b) {
				t.Errorf("%d bytes out of %d", len(data), len(b))
			}
			_ = r.Failure.unpack()
		}
	})
}

func FuzzReadConnection(f *testing.F) {
	f.Add("instance=3,cntlid=7\n")
	f.Add("instance=-1,cntlid=-1,transport=%s\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := readConnection(textDevice{text: s})
		if err == nil && c.Instance < 0 {
			t.Errorf("%q gives %+v", s, c)
		}
	})
}

func TestReadConnection(t *testing.T) {
	if c, err := readConnection(textDevice{text: "instance=3,cntlid=7\n"}); err != nil || c.Instance != 3 || c.CntlID != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, s := range []string{"", "\n", "cntlid=7\n", "instance=x\n", reply612} {
		if c, err := readConnection(textDevice{text: s}); err == nil {
			t.Errorf("%q gives %+v", s, c)
		}
	}
}

func TestUnusableIntentsAreCleared(t *testing.T) {
	run := t.TempDir()
	if list, err := Intents(run); err != nil || len(list) != 0 {
		t.Errorf("no directory: %v, %v", list, err)
	}
	dir := intentDir(run)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty.json": "", "cut.json": `{"TID":{"Tra`, "other.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Intents(run); err != nil || len(list) != 0 {
		t.Errorf("Intents = %v, %v", list, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "other.txt" {
		t.Errorf("left: %v", entries)
	}
	// One that is being written is busy, whatever it holds.
	i := Intent{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}}
	held, err := i.note(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(held.fd, 0); err != nil {
		t.Fatal(err)
	}
	list, err := Intents(run)
	if err != nil || len(list) != 1 || !list[0].Busy {
		t.Fatalf("Intents = %+v, %v", list, err)
	}
	if err := list[0].Forget(); err != nil {
		t.Error(err)
	}
	if list, _ := Intents(run); len(list) != 1 {
		t.Error("a held intent was removed")
	}
	if _, err := i.note(run); !errors.Is(err, ErrBusy) {
		t.Errorf("second note = %v, want ErrBusy", err)
	}
	held.done()
	if list, _ := Intents(run); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
