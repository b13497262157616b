package fabricsim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// setter takes one key of a section, finisher adds the section to the configuration.
type (
	setter   func(key, value string) error
	finisher func() error
	parser   func(c *Config, name string) (setter, finisher)
)

var parsers = map[string]parser{
	"fabricsim": parseGlobal,
	"port":      parsePort,
	"dc":        parseDC,
	"subsystem": parseSubsystem,
	"host":      parseHost,
	"zone":      parseZone,
	"entry":     parseEntry,
	"fault":     parseFault,
}

var errUnknownKey = errors.New("unknown key")

func parseGlobal(c *Config, _ string) (setter, finisher) {
	return func(key, value string) (err error) {
		switch key {
		case "control":
			c.Control = value
		case "memory":
			var n uint64
			n, err = parseSize(value)
			c.Memory = int64(n)
		case "announce":
			c.Announce, err = parseBool(value)
		case "io-queues":
			c.IOQueues, err = parseInt(value, 1, 128)
		default:
			err = errUnknownKey
		}
		return err
	}, func() error { return nil }
}

func parsePort(c *Config, name string) (setter, finisher) {
	p := PortConfig{Name: name}
	var addr netip.Addr
	service := 8009
	return func(key, value string) (err error) {
			switch key {
			case "address":
				addr, err = netip.ParseAddr(value)
			case "service":
				service, err = parseInt(value, 0, 65535)
			case "advertise-address":
				p.Advertise = value
			case "advertise-service":
				p.Service = value
			default:
				err = errUnknownKey
			}
			return err
		}, func() error {
			if !addr.IsValid() {
				return errors.New("address is missing")
			}
			if addr.IsUnspecified() && p.Advertise == "" {
				return errors.New("a port on all addresses needs advertise-address")
			}
			p.Address = netip.AddrPortFrom(addr, uint16(service))
			c.Ports = append(c.Ports, p)
			return nil
		}
}

func parseDC(c *Config, name string) (setter, finisher) {
	d := DCConfig{Name: name, Type: nvme.DCTypeDDC, AEN: true, LogPages: true, Self: true, PortLocal: true, Register: true, Extended: true}
	return d.set, func() error {
		c.DCs = append(c.DCs, d)
		return nil
	}
}

// set takes one key of [dc NAME], also from "ctl dc set".
func (d *DCConfig) set(key, value string) (err error) {
	flag := func(p *bool) { *p, err = parseBool(value) }
	switch key {
	case "type":
		d.Type, err = parseDCType(value)
	case "nqn":
		d.NQN, err = value, nvme.CheckName(value)
	case "ports":
		d.Ports = parseList(value)
	case "zoning":
		flag(&d.Zoning)
	case "register":
		flag(&d.Register)
	case "aen":
		flag(&d.AEN)
	case "log-pages":
		flag(&d.LogPages)
	case "port-local":
		flag(&d.PortLocal)
	case "extended":
		flag(&d.Extended)
	case "self":
		flag(&d.Self)
	case "epcsd":
		err = setEFlag(&d.EFlags, nvme.EPCSD, value)
	case "ncc":
		err = setEFlag(&d.EFlags, nvme.NCC, value)
	case "dupretinfo":
		err = setEFlag(&d.EFlags, nvme.DUPRETINFO, value)
	case "padding":
		d.PadNUL = value == "nul"
		if !d.PadNUL && value != "space" {
			err = errors.New("padding is either space or nul")
		}
	case "announce":
		d.Announce = new(bool)
		flag(d.Announce)
	case "referral":
		d.Referrals = append(d.Referrals, parseList(value)...)
	case "subsystems":
		d.Subsystems = parseList(value)
	case "generation":
		d.Generation, err = strconv.ParseUint(value, 0, 64)
	default:
		err = errUnknownKey
	}
	return err
}

func parseSubsystem(c *Config, name string) (setter, finisher) {
	s := SubsystemConfig{Name: name, BlockSize: 512, Model: "fabricsim"}
	return s.set, func() error {
		if err := s.check(); err != nil {
			return err
		}
		c.Subsystems = append(c.Subsystems, s)
		return nil
	}
}

// check looks at what set cannot tell from one key.
func (s *SubsystemConfig) check() error {
	if s.NQN == "" {
		return errors.New("nqn is missing")
	}
	if len(s.Namespaces) > maxNamespaces {
		return fmt.Errorf("%d namespaces, allowed are %d", len(s.Namespaces), maxNamespaces)
	}
	for port := range s.ANA {
		if !slices.Contains(s.Ports, port) {
			return fmt.Errorf("ana: it is not reached at port %s", port)
		}
	}
	for _, size := range s.Namespaces {
		if size == 0 || size%uint64(s.BlockSize) != 0 {
			return fmt.Errorf("a namespace of %d bytes has no whole number of blocks of %d", size, s.BlockSize)
		}
	}
	return nil
}

// set takes one key of [subsystem NAME], also from "ctl subsys add".
func (s *SubsystemConfig) set(key, value string) (err error) {
	switch key {
	case "nqn":
		s.NQN, err = value, nvme.CheckName(value)
	case "count":
		s.Count, err = parseInt(value, 1, maxSubsystems)
	case "ports":
		s.Ports = parseList(value)
	case "namespace":
		var n uint64
		n, err = parseSize(value)
		s.Namespaces = append(s.Namespaces, n)
	case "block-size":
		if s.BlockSize, err = parseInt(value, 512, 4096); err == nil && s.BlockSize != 512 && s.BlockSize != 4096 {
			err = errors.New("block size is either 512 or 4096")
		}
	case "hosts":
		switch value {
		case "any":
			s.Access = AccessAny
		case "zoned":
			s.Access = AccessZoned
		default:
			s.Access, s.Hosts = AccessList, parseList(value)
		}
	case "serial":
		s.Serial = value
	case "model":
		s.Model = value
	case "treq":
		s.TReq, err = parseTReq(value)
	case "sectype":
		s.SecType, err = parseSecType(value)
	case "dupretinfo":
		err = setEFlag(&s.EFlags, nvme.DUPRETINFO, value)
	case "ana":
		s.ANA, err = parseANA(value)
	default:
		err = errUnknownKey
	}
	return err
}

func parseHost(c *Config, name string) (setter, finisher) {
	h := HostConfig{Name: name, Auth: nvmetcp.AuthPolicy{Group: nvmetcp.FFDHE2048}}
	return func(key, value string) (err error) {
			switch key {
			case "nqn":
				h.NQN, err = value, nvme.CheckName(value)
			case "dhchap-key":
				h.Auth.Host, err = nvme.ParseDHCHAPSecret(value)
			case "dhchap-ctrl-key":
				h.Auth.Controller, err = nvme.ParseDHCHAPSecret(value)
			case "dhchap-hash":
				h.Auth.Hash, err = parseHash(value)
			case "dhchap-dhgroup":
				h.Auth.Group, err = nvmetcp.ParseDHGroup(value)
			default:
				err = errUnknownKey
			}
			return err
		}, func() error {
			if h.NQN == "" {
				return errors.New("nqn is missing")
			}
			for _, other := range c.Hosts {
				if other.NQN == h.NQN {
					return fmt.Errorf("[host %s] has this NQN", other.Name)
				}
			}
			c.Hosts = append(c.Hosts, h)
			return nil
		}
}

func parseZone(c *Config, name string) (setter, finisher) {
	z := ZoneConfig{Name: name}
	return func(key, value string) error {
			if key != "members" {
				return errUnknownKey
			}
			z.Members = append(z.Members, parseList(value)...)
			return nil
		}, func() error {
			c.Zones = append(c.Zones, z)
			return nil
		}
}

func parseFault(c *Config, name string) (setter, finisher) {
	f := FaultConfig{Name: name}
	return f.set, func() error {
		if _, err := newFault(f); err != nil {
			return err
		}
		c.Faults = append(c.Faults, f)
		return nil
	}
}

// set takes one key of [fault NAME], also from "ctl fault add".
func (f *FaultConfig) set(key, value string) (err error) {
	switch key {
	case "port":
		f.Port = value
	case "subsystem", "dc":
		if f.Subsystem != "" {
			return fmt.Errorf("a fault concerns one subsystem or dc, and %s is given already", f.Subsystem)
		}
		f.Subsystem = value
	case "host":
		f.Host = value
	case "step":
		f.Step = value
	case "skip":
		f.Skip, err = parseInt(value, 0, 1<<30)
	case "times":
		f.Times, err = parseInt(value, 0, 1<<30)
	case "action":
		f.Action = value
	default:
		err = errUnknownKey
	}
	return err
}

func parseList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}
