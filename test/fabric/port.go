package fabric

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Port is a port of the kernel's target. It listens while at least one subsystem is linked to it, and answers for
// discovery on the same address.
type Port struct {
	ID         int
	Transport  string // tcp, rdma, fc, loop
	Address    string // traddr
	Service    string // trsvcid
	subsystems []*Subsystem
	referrals  int
}

// PortOptions name a port's attributes as configfs does, without the leading addr_. Empty ones are left alone.
type PortOptions struct {
	Transport string // trtype
	Family    string // adrfam: ipv4, ipv6, fc; empty means what the address looks like
	Address   string // traddr
	Service   string // trsvcid
	Security  string // tsas: tls1.3
	Require   string // treq: required, not required, not specified
}

// NewPort makes a port.
func NewPort(t testing.TB, o PortOptions) *Port {
	t.Helper()
	p := &Port{ID: 1, Transport: o.Transport, Address: o.Address, Service: o.Service}
	for {
		err := os.Mkdir(p.path(), 0o755)
		if err == nil {
			break
		}
		if !os.IsExist(err) {
			t.Fatal(err)
		}
		p.ID++
	}
	if o.Family == "" && (o.Transport == "tcp" || o.Transport == "rdma") {
		o.Family = "ipv4"
		if strings.Contains(o.Address, ":") {
			o.Family = "ipv6"
		}
	}
	for _, a := range []struct{ name, value string }{
		{"addr_trtype", o.Transport}, {"addr_adrfam", o.Family}, {"addr_traddr", o.Address}, {"addr_trsvcid", o.Service},
		{"addr_tsas", o.Security}, {"addr_treq", o.Require},
	} {
		if a.value != "" {
			write(t, p.path(a.name), a.value)
		}
	}
	return p
}

// TCP makes a port at an address of this host. All of 127.0.0.0/8 and ::1 are there without further ado.
func TCP(t testing.TB, address string, service int) *Port {
	t.Helper()
	return NewPort(t, PortOptions{Transport: "tcp", Address: address, Service: strconv.Itoa(service)})
}

// Loop makes a port of transport loop.
func Loop(t testing.TB) *Port {
	t.Helper()
	modprobe(t, "nvme-loop")
	return NewPort(t, PortOptions{Transport: "loop"})
}

func (p *Port) path(parts ...string) string {
	return filepath.Join(append([]string{nvmet, "ports", strconv.Itoa(p.ID)}, parts...)...)
}

// Link offers subsystems on the port; the hosts that hold a discovery controller get an event for each.
func (p *Port) Link(t testing.TB, subsystems ...*Subsystem) {
	t.Helper()
	for _, s := range subsystems {
		if err := os.Symlink(s.path(), p.path("subsystems", s.NQN)); err != nil {
			t.Fatalf("cannot link: %v", err)
		}
		p.subsystems = append(p.subsystems, s)
	}
}

// Unlink takes subsystems off the port; the target ends their connections through it.
func (p *Port) Unlink(t testing.TB, subsystems ...*Subsystem) {
	t.Helper()
	for _, s := range subsystems {
		remove(t, p.path("subsystems", s.NQN))
		for i, q := range p.subsystems {
			if q == s {
				p.subsystems = append(p.subsystems[:i:i], p.subsystems[i+1:]...)
				break
			}
		}
	}
}

// Down takes the port out of service: nothing listens, every connection through it ends. Up brings it back.
func (p *Port) Down(t testing.TB) {
	t.Helper()
	for _, s := range p.subsystems {
		if err := os.Remove(p.path("subsystems", s.NQN)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// Up offers again what was linked before Down.
func (p *Port) Up(t testing.TB) {
	t.Helper()
	for _, s := range p.subsystems {
		if err := os.Symlink(s.path(), p.path("subsystems", s.NQN)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}

// Remove takes the port away for good.
func (p *Port) Remove(t testing.TB) {
	t.Helper()
	p.Down(t)
	remove(t, p.path())
}

// Refer adds a referral to the discovery service of the other port and returns a function that takes it back.
func (p *Port) Refer(t testing.TB, to PortOptions) (takeBack func()) {
	t.Helper()
	p.referrals++
	path := p.path("referrals", strconv.Itoa(p.referrals))
	mkdir(t, path)
	if to.Family == "" {
		to.Family = "ipv4"
		if strings.Contains(to.Address, ":") {
			to.Family = "ipv6"
		}
	}
	write(t, filepath.Join(path, "addr_trtype"), to.Transport)
	write(t, filepath.Join(path, "addr_adrfam"), to.Family)
	write(t, filepath.Join(path, "addr_traddr"), to.Address)
	write(t, filepath.Join(path, "addr_trsvcid"), to.Service)
	write(t, filepath.Join(path, "enable"), "1")
	return func() {
		t.Helper()
		write(t, filepath.Join(path, "enable"), "0")
		remove(t, path)
	}
}
