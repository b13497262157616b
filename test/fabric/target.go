package fabric

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Where nvmet keeps its configuration (drivers/nvme/target/configfs.c).
const nvmet = "/sys/kernel/config/nvmet"

// backing is where the files behind namespaces lie.
const backing = "/var/tmp/stas-namespaces"

// NamespaceSize is the size of a namespace in bytes, unless Options say otherwise. Its file is sparse.
const NamespaceSize = 64 << 20

// Options say what a subsystem is to be. The zero value is one namespace that any host may use.
type Options struct {
	Namespaces int               // how many at first; 0 means 1, negative none
	Size       int64             // of each namespace in bytes; 0 means NamespaceSize
	Hosts      []Host            // who may connect; none means everyone
	Attributes map[string]string // further attributes, as configfs names them (attr_serial, attr_cntlid_min, …)
}

// Host is an initiator that a subsystem lets in. The keys are DH-HMAC-CHAP secrets in their text form, or empty.
type Host struct {
	NQN     string
	Key     string // with which the host proves itself
	CtrlKey string // with which the controller proves itself to the host
}

// Subsystem is a subsystem of the kernel's target.
type Subsystem struct {
	NQN  string
	size int64
	last int // highest namespace ID given out
}

// NewSubsystem makes a subsystem. No host sees it before a port is linked to it.
func NewSubsystem(t testing.TB, nqn string, o Options) *Subsystem {
	t.Helper()
	s := &Subsystem{NQN: nqn, size: o.Size}
	if s.size == 0 {
		s.size = NamespaceSize
	}
	mkdir(t, s.path())
	for name, value := range o.Attributes {
		write(t, s.path(name), value)
	}
	if len(o.Hosts) == 0 {
		write(t, s.path("attr_allow_any_host"), "1")
	}
	for _, h := range o.Hosts {
		s.Allow(t, h)
	}
	if o.Namespaces == 0 {
		o.Namespaces = 1
	}
	for range o.Namespaces {
		s.AddNamespace(t)
	}
	return s
}

// NewSubsystems makes n subsystems named prefix followed by a number from 1 on, with enough leading zeros to sort.
func NewSubsystems(t testing.TB, prefix string, n int, o Options) []*Subsystem {
	t.Helper()
	width := len(strconv.Itoa(n))
	all := make([]*Subsystem, 0, n)
	for i := range n {
		all = append(all, NewSubsystem(t, fmt.Sprintf("%s%0*d", prefix, width, i+1), o))
	}
	return all
}

// NQNs of the subsystems.
func NQNs(subsystems []*Subsystem) []string {
	names := make([]string, 0, len(subsystems))
	for _, s := range subsystems {
		names = append(names, s.NQN)
	}
	return names
}

func (s *Subsystem) path(parts ...string) string {
	return filepath.Join(append([]string{nvmet, "subsystems", s.NQN}, parts...)...)
}

// AddNamespace adds a namespace and returns its ID.
func (s *Subsystem) AddNamespace(t testing.TB) int {
	t.Helper()
	s.last++
	id := strconv.Itoa(s.last)
	if err := os.MkdirAll(backing, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(backing, fmt.Sprintf("%s.%s", filepath.Base(s.NQN), id))
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(s.size); err != nil {
		t.Fatal(err)
	}
	mkdir(t, s.path("namespaces", id))
	write(t, s.path("namespaces", id, "device_path"), file)
	write(t, s.path("namespaces", id, "enable"), "1")
	return s.last
}

// RemoveNamespace takes a namespace away.
func (s *Subsystem) RemoveNamespace(t testing.TB, id int) {
	t.Helper()
	write(t, s.path("namespaces", strconv.Itoa(id), "enable"), "0")
	remove(t, s.path("namespaces", strconv.Itoa(id)))
}

// Allow lets a host in, and with it only those that are named.
func (s *Subsystem) Allow(t testing.TB, h Host) {
	t.Helper()
	path := filepath.Join(nvmet, "hosts", h.NQN)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "dhchap_key")); err != nil && h.Key != "" {
		t.Skip("this kernel's target knows no DH-HMAC-CHAP")
	}
	if h.Key != "" {
		write(t, filepath.Join(path, "dhchap_key"), h.Key)
	}
	if h.CtrlKey != "" {
		write(t, filepath.Join(path, "dhchap_ctrl_key"), h.CtrlKey)
	}
	write(t, s.path("attr_allow_any_host"), "0")
	if err := os.Symlink(path, s.path("allowed_hosts", h.NQN)); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// Disallow takes a host's permission back.
func (s *Subsystem) Disallow(t testing.TB, nqn string) {
	t.Helper()
	remove(t, s.path("allowed_hosts", nqn))
}

// Remove takes the subsystem away, from its ports too.
func (s *Subsystem) Remove(t testing.TB) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(nvmet, "ports", "*", "subsystems", s.NQN))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		remove(t, link)
	}
	if err := removeSubsystem(s.path()); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatalf("cannot make: %v", err)
	}
}

func write(t testing.TB, path, value string) {
	t.Helper()
	if err := put(path, value); err != nil {
		t.Fatalf("cannot write %q: %v", value, err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatalf("cannot remove: %v", err)
	}
}

// put writes an attribute; unlike os.WriteFile it neither creates nor truncates.
func put(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
