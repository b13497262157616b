package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

// maxNBFT bounds the table; a real one has a few KiB.
const maxNBFT = 1 << 20

// ParseNBFT parses the table. A wrong signature, length, checksum, major version or
// control descriptor is an error; any other descriptor that is not right is skipped
// with a note. Subsystems are kept as long as they tell which connection is meant: a
// boot connection must be known as one even where the firmware was careless.
func ParseNBFT(b []byte) (*NBFT, error) {
	p := nbftParser{table: new(NBFT)}
	if err := p.parse(b); err != nil {
		return nil, fmt.Errorf("cannot parse NBFT: %w", err)
	}
	return p.table, nil
}

type nbftParser struct {
	raw   []byte
	heap  [2]uint64 // from, to
	table *NBFT
}

func (p *nbftParser) note(format string, args ...any) {
	p.table.Notes = append(p.table.Notes, fmt.Sprintf(format, args...))
}

func (p *nbftParser) parse(b []byte) error {
	if len(b) < nbftHeaderSize+nbftControlSize || len(b) > maxNBFT {
		return fmt.Errorf("it has %d bytes, allowed are %d to %d", len(b), nbftHeaderSize+nbftControlSize, maxNBFT)
	}
	if string(b[:4]) != "NBFT" {
		return fmt.Errorf("signature is %q", b[:4])
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < nbftHeaderSize+nbftControlSize || uint64(size) > uint64(len(b)) {
		return fmt.Errorf("length is %d, there are %d bytes", size, len(b))
	}
	b = b[:size]
	if b[8] != 1 {
		return fmt.Errorf("major version is %d, known is 1", b[8])
	}
	if nbftSum(b) != 0 {
		return errors.New("checksum is wrong")
	}
	p.raw = b
	p.heap[0] = uint64(binary.LittleEndian.Uint32(b[36:]))
	p.heap[1] = p.heap[0] + uint64(binary.LittleEndian.Uint32(b[40:]))
	if p.heap[1] > uint64(size) {
		return fmt.Errorf("heap ends at %d, the table at %d", p.heap[1], size)
	}
	control := b[nbftHeaderSize:]
	if control[0] != nbftControl || control[6]&nbftValid == 0 {
		return errors.New("control descriptor is not valid")
	}
	if err := p.host(control[8:14]); err != nil {
		p.note("host: %v", err)
	}
	p.each(control[16:24], "interface", nbftInterface, nbftInterfaceSize, p.hfi)
	p.each(control[32:40], "security", nbftSecurity, nbftSecuritySize, p.security)
	p.each(control[40:48], "discovery", nbftDiscovery, nbftDiscoverySize, p.discovery)
	p.each(control[24:32], "subsystem", nbftSubsystem, nbftSubsystemSize, p.subsystem)
	return nil
}

// nbftSum is the sum of all bytes, 0 in a table whose checksum is right.
func nbftSum(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

// each hands every descriptor of the group to take and notes what take refuses.
func (p *nbftParser) each(group []byte, name string, id byte, least int, take func(d []byte) error) {
	at, stride, count := uint64(binary.LittleEndian.Uint32(group)), int(binary.LittleEndian.Uint16(group[4:])), int(group[7])
	switch {
	case count == 0:
		return
	case stride < least:
		p.note("%s descriptors: length %d is shorter than %d", name, stride, least)
		return
	case at+uint64(stride*count) > uint64(len(p.raw)):
		p.note("%s descriptors: %d of length %d at %d do not fit the table", name, count, stride, at)
		return
	}
	for i := range count {
		d := p.raw[at:][i*stride : (i+1)*stride]
		if d[0] != id {
			p.note("%s %d: descriptor ID is %d, not %d", name, i, d[0], id)
		} else if err := take(d); err != nil && !errors.Is(err, errNBFTUnused) {
			p.note("%s %d: %v", name, i, err)
		}
	}
}

// errNBFTUnused marks a descriptor whose valid bit is not set: a free slot, no mistake.
var errNBFTUnused = errors.New("not valid")

// object gives what the 6 bytes of a heap object refer to; nil where it is absent.
func (p *nbftParser) object(o []byte) ([]byte, error) {
	at, size := uint64(binary.LittleEndian.Uint32(o)), uint64(binary.LittleEndian.Uint16(o[4:]))
	if size == 0 {
		return nil, nil
	}
	if at < p.heap[0] || at+size > p.heap[1] {
		return nil, fmt.Errorf("%d bytes at %d are not in the heap", size, at)
	}
	return p.raw[at : at+size], nil
}

// text gives a string of the heap.
func (p *nbftParser) text(o []byte, name string) (string, error) {
	b, err := p.object(o)
	if err == nil {
		b = fieldText(b)
		err = checkText(b)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(b), nil
}

func (p *nbftParser) nqn(o []byte, name string) (string, error) {
	s, err := p.text(o, name)
	if len(s) > MaxNQN {
		return "", fmt.Errorf("%s: %d bytes are longer than %d", name, len(s), MaxNQN)
	}
	return s, err
}

// nbftAddr reads 16 bytes: IPv6, IPv4 mapped into it, or all zero for none.
func nbftAddr(b []byte) netip.Addr {
	a := netip.AddrFrom16([16]byte(b)).Unmap()
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func (p *nbftParser) host(o []byte) error {
	at, size := uint64(binary.LittleEndian.Uint32(o)), uint64(binary.LittleEndian.Uint16(o[4:]))
	if size < nbftHostSize || at+size > uint64(len(p.raw)) {
		return fmt.Errorf("%d bytes at %d are no host descriptor", size, at)
	}
	d := p.raw[at : at+size]
	if d[0] != nbftHost || d[1]&nbftValid == 0 {
		return errNBFTUnused
	}
	h := &p.table.Host
	h.HostID = HostID(d[2:18])
	h.HostIDConfigured, h.HostNQNConfigured = d[1]&nbftHostIDConfigured != 0, d[1]&nbftHostNQNConfigured != 0
	var err error
	h.HostNQN, err = p.nqn(d[18:], "NQN")
	return err
}

func (p *nbftParser) hfi(d []byte) error {
	if d[2]&nbftValid == 0 {
		return errNBFTUnused
	}
	f := NBFTInterface{Index: d[1], Transport: TransportType(d[3])}
	if _, dup := p.table.InterfaceByIndex(f.Index); dup {
		return fmt.Errorf("index %d is taken", f.Index)
	}
	if f.Transport != TransportTypeTCP {
		return fmt.Errorf("transport %v is not known", f.Transport)
	}
	b, err := p.object(d[16:])
	if err != nil {
		return fmt.Errorf("transport information: %w", err)
	}
	if len(b) < 110 || b[0] != nbftInterfaceInfo || b[1] != 1 || b[2] != byte(TransportTypeTCP) || b[6]&nbftValid == 0 {
		return errors.New("transport information is not valid")
	}
	if n := binary.LittleEndian.Uint16(b[4:]); n != uint16(f.Index) {
		return fmt.Errorf("transport information is that of index %d, not %d", n, f.Index)
	}
	f.GlobalRoute, f.DHCP, f.Autoconf = b[6]&nbftInfoGlobalRoute != 0, b[6]&nbftInfoDHCP != 0, b[6]&nbftInfoAutoconf != 0
	f.PCI = binary.LittleEndian.Uint32(b[7:])
	f.MAC = [6]byte(b[11:17])
	f.VLAN = binary.LittleEndian.Uint16(b[17:])
	f.Origin, f.IP, f.Prefix, f.Gateway = b[19], nbftAddr(b[20:36]), b[36], nbftAddr(b[37:53])
	f.RouteMetric = binary.LittleEndian.Uint16(b[54:])
	f.DNS = [2]netip.Addr{nbftAddr(b[56:72]), nbftAddr(b[72:88])}
	f.DHCPServer = nbftAddr(b[88:104])
	if f.HostName, err = p.text(b[104:], "host name"); err != nil {
		p.note("interface %d: %v", f.Index, err)
	}
	p.table.Interfaces = append(p.table.Interfaces, f)
	return nil
}

func (p *nbftParser) security(d []byte) error {
	flags := binary.LittleEndian.Uint16(d[2:])
	if flags&nbftValid == 0 {
		return errNBFTUnused
	}
	uri, err := p.text(d[36:], "key URI")
	if err != nil {
		return err
	}
	p.table.Security = append(p.table.Security, NBFTSecurity{
		Index: d[1], Auth: NBFTRequirement(flags >> 1 & 3), Channel: NBFTRequirement(flags >> 5 & 3),
		SecretType: d[4], KeyURI: uri,
	})
	return nil
}

func (p *nbftParser) discovery(d []byte) error {
	if d[1]&nbftValid == 0 {
		return errNBFTUnused
	}
	c := NBFTDiscovery{Index: d[2], Interface: d[3], Security: d[4]}
	var err error
	if c.URI, err = p.text(d[6:], "URI"); err != nil {
		return err
	}
	if c.NQN, err = p.nqn(d[12:], "NQN"); err != nil {
		return err
	}
	if c.NQN == "" {
		c.NQN = DiscoveryNQN
	}
	if err := c.parseURI(); err != nil {
		return err
	}
	if _, ok := p.table.InterfaceByIndex(c.Interface); !ok {
		p.note("discovery %d: interface %d is not there", c.Index, c.Interface)
	}
	p.table.Discovery = append(p.table.Discovery, c)
	return nil
}

// parseURI takes "nvme+tcp://192.0.2.1:8009/" apart; an IPv6 address is in brackets,
// the port may be missing.
func (c *NBFTDiscovery) parseURI() error {
	u, err := url.Parse(c.URI)
	if err != nil || u.Scheme != "nvme+tcp" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("URI %q is not of the form nvme+tcp://address:port/", c.URI)
	}
	c.Transport, c.Traddr, c.Trsvcid = TransportTypeTCP, u.Hostname(), u.Port()
	if c.Trsvcid == "" {
		c.Trsvcid = PortDiscovery
	}
	if a, err := netip.ParseAddr(c.Traddr); err == nil {
		c.Traddr = a.Unmap().String()
	} else if err := checkText([]byte(c.Traddr)); err != nil {
		return fmt.Errorf("URI %q: %w", c.URI, err)
	}
	return nil
}
