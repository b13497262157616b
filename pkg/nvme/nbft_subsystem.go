package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// subsystem takes one SSNS descriptor. Address and NQN must be there; what else is
// missing or dangling costs a note only.
func (p *nbftParser) subsystem(d []byte) error {
	u16 := binary.LittleEndian.Uint16
	flags, transport := u16(d[3:]), u16(d[6:])
	if flags&nbftValid == 0 {
		return errNBFTUnused
	}
	s := NBFTSubsystem{
		Index: u16(d[1:]), Transport: TransportType(d[5]), Discovery: d[8],
		PortID: u16(d[22:]), NSID: binary.LittleEndian.Uint32(d[24:]), NIDType: d[28], NID: [16]byte(d[29:45]),
		NonBootable: flags&nbftSubsystemNonBootable != 0, Secure: flags&nbftSubsystemSecure != 0,
		SeparateDC: flags&nbftSubsystemSeparateDC != 0, Discovered: flags&nbftSubsystemDiscovered != 0,
		Availability: NBFTAvailability(flags >> 7 & 3),
	}
	if s.Transport != TransportTypeTCP {
		return fmt.Errorf("transport %v is not known", s.Transport)
	}
	if transport&nbftValid != 0 {
		s.HeaderDigest, s.DataDigest = transport&nbftTransportHeaderDigest != 0, transport&nbftTransportDataDigest != 0
	}
	addr, err := p.object(d[10:])
	if err != nil {
		return fmt.Errorf("traddr: %w", err)
	}
	if len(addr) < 16 || !nbftAddr(addr[:16]).IsValid() {
		return errors.New("traddr is missing")
	}
	s.Traddr = nbftAddr(addr[:16])
	if s.SubNQN, err = p.nqn(d[54:], "subsystem NQN"); err != nil {
		return err
	}
	if s.SubNQN == "" {
		return errors.New("subsystem NQN is missing")
	}
	if s.Trsvcid, err = p.text(d[16:], "trsvcid"); err != nil || s.Trsvcid == "" {
		p.note("subsystem %d: no usable trsvcid, taken as %s", s.Index, PortIO)
		s.Trsvcid = PortIO
	}
	p.subsystemInterfaces(&s, d)
	p.subsystemReferences(&s, d[45])
	if flags&nbftSubsystemExtInfo != 0 {
		p.subsystemExt(&s, d[60:], flags&nbftSubsystemRootPath != 0)
	}
	p.table.Subsystems = append(p.table.Subsystems, s)
	return nil
}

// subsystemInterfaces collects the primary HFI and the secondary ones, which firmware
// has been seen to repeat the primary in.
func (p *nbftParser) subsystemInterfaces(s *NBFTSubsystem, d []byte) {
	secondary, err := p.object(d[48:])
	if err != nil {
		p.note("subsystem %d: secondary interfaces: %v", s.Index, err)
	}
	var seen [256]bool
	for _, index := range append([]byte{d[46]}, secondary...) {
		if seen[index] {
			continue
		}
		seen[index] = true
		if _, ok := p.table.InterfaceByIndex(index); !ok {
			p.note("subsystem %d: interface %d is not there", s.Index, index)
			continue
		}
		s.Interfaces = append(s.Interfaces, index)
	}
}

func (p *nbftParser) subsystemReferences(s *NBFTSubsystem, security uint8) {
	if s.Secure {
		s.Security = security
		found := false
		for _, c := range p.table.Security {
			found = found || c.Index == security
		}
		if !found {
			p.note("subsystem %d: security %d is not there", s.Index, security)
		}
	}
	if s.Discovery == 0 {
		return
	}
	for _, c := range p.table.Discovery {
		if c.Index == s.Discovery {
			return
		}
	}
	p.note("subsystem %d: discovery %d is not there", s.Index, s.Discovery)
	s.Discovery = 0
}

func (p *nbftParser) subsystemExt(s *NBFTSubsystem, o []byte, rootPath bool) {
	b, err := p.object(o)
	u16 := binary.LittleEndian.Uint16
	switch {
	case err != nil:
		p.note("subsystem %d: extended information: %v", s.Index, err)
		return
	case len(b) < nbftSubsystemExtSize || b[0] != nbftSubsystemExt || b[1] != 1 || u16(b[2:]) != s.Index:
		p.note("subsystem %d: extended information is not valid", s.Index)
		return
	}
	flags := binary.LittleEndian.Uint32(b[4:])
	if flags&nbftValid == 0 {
		return
	}
	s.CntlID = u16(b[8:])
	if flags&nbftExtASQSize != 0 {
		s.ASQSize = u16(b[10:])
	}
	if rootPath {
		if s.RootPath, err = p.text(b[12:], "DHCP root path"); err != nil {
			p.note("subsystem %d: %v", s.Index, err)
		}
	}
}
