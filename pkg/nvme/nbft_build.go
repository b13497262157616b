package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// BuildNBFT builds the table that [ParseNBFT] reads as t, with a right checksum: for
// tests, and for a virtual machine that is to find one. Notes are left out.
func BuildNBFT(t *NBFT) ([]byte, error) {
	const limit = 255
	if len(t.Interfaces) > limit || len(t.Subsystems) > limit || len(t.Security) > limit || len(t.Discovery) > limit {
		return nil, fmt.Errorf("cannot build NBFT: more than %d descriptors of a kind", limit)
	}
	w := &nbftWriter{}
	host := w.reserve(nbftHostSize)
	interfaces := w.reserve(nbftInterfaceSize * len(t.Interfaces))
	subsystems := w.reserve(nbftSubsystemSize * len(t.Subsystems))
	security := w.reserve(nbftSecuritySize * len(t.Security))
	discovery := w.reserve(nbftDiscoverySize * len(t.Discovery))
	w.heap = nbftHeaderSize + nbftControlSize + len(w.body)

	w.host(host, &t.Host)
	for i := range t.Interfaces {
		w.hfi(interfaces+i*nbftInterfaceSize, &t.Interfaces[i])
	}
	for i := range t.Subsystems {
		w.subsystem(subsystems+i*nbftSubsystemSize, &t.Subsystems[i])
	}
	for i := range t.Security {
		w.security(security+i*nbftSecuritySize, &t.Security[i])
	}
	for i := range t.Discovery {
		w.discovery(discovery+i*nbftDiscoverySize, &t.Discovery[i])
	}
	if w.err != nil {
		return nil, fmt.Errorf("cannot build NBFT: %w", w.err)
	}

	b := make([]byte, nbftHeaderSize+nbftControlSize, nbftHeaderSize+nbftControlSize+len(w.body))
	copy(b, "NBFT")
	b[8] = 1
	copy(b[10:], "STAS  ")
	copy(b[16:], "STASTEST")
	binary.LittleEndian.PutUint32(b[36:], uint32(w.heap))
	binary.LittleEndian.PutUint32(b[40:], uint32(len(b)+len(w.body)-w.heap))
	c := b[nbftHeaderSize:]
	c[0], c[1] = nbftControl, 1
	binary.LittleEndian.PutUint16(c[4:], nbftControlSize)
	c[6] = nbftValid
	binary.LittleEndian.PutUint32(c[8:], uint32(host))
	binary.LittleEndian.PutUint16(c[12:], nbftHostSize)
	c[14] = 1
	putNBFTGroup(c[16:], interfaces, nbftInterfaceSize, len(t.Interfaces))
	putNBFTGroup(c[24:], subsystems, nbftSubsystemSize, len(t.Subsystems))
	putNBFTGroup(c[32:], security, nbftSecuritySize, len(t.Security))
	putNBFTGroup(c[40:], discovery, nbftDiscoverySize, len(t.Discovery))
	b = append(b, w.body...)
	if len(b) > maxNBFT {
		return nil, fmt.Errorf("cannot build NBFT: %d bytes are more than %d", len(b), maxNBFT)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	b[9] = -nbftSum(b)
	return b, nil
}

func putNBFTGroup(b []byte, at, stride, count int) {
	binary.LittleEndian.PutUint32(b, uint32(at))
	binary.LittleEndian.PutUint16(b[4:], uint16(stride))
	b[6], b[7] = 1, byte(count)
}

// nbftWriter collects what follows header and control descriptor. All positions are
// those in the table.
type nbftWriter struct {
	body []byte
	heap int
	err  error
}

func (w *nbftWriter) reserve(n int) int {
	at := nbftHeaderSize + nbftControlSize + len(w.body)
	w.body = append(w.body, make([]byte, n)...)
	return at
}

func (w *nbftWriter) at(pos, n int) []byte {
	return w.body[pos-nbftHeaderSize-nbftControlSize:][:n]
}

// object puts content on the heap, with a NUL behind it, and its place into the 6 bytes
// at pos; nothing for no content.
func (w *nbftWriter) object(pos int, content string) int {
	if content == "" {
		return 0
	}
	if len(content) > 0xFFFF {
		w.err = errors.Join(w.err, fmt.Errorf("text of %d bytes is too long", len(content)))
		return 0
	}
	at := w.reserve(len(content) + 1)
	copy(w.at(at, len(content)), content)
	o := w.at(pos, 6)
	binary.LittleEndian.PutUint32(o, uint32(at))
	binary.LittleEndian.PutUint16(o[4:], uint16(len(content)))
	return at
}

func nbftAddr16(a netip.Addr) string {
	if !a.IsValid() {
		return string(make([]byte, 16))
	}
	b := a.As16()
	return string(b[:])
}

func flag[T uint8 | uint16](set bool, bit T) T {
	if set {
		return bit
	}
	return 0
}

func (w *nbftWriter) host(pos int, h *NBFTHost) {
	d := w.at(pos, nbftHostSize)
	d[0] = nbftHost
	d[1] = nbftValid | flag[uint8](h.HostIDConfigured, nbftHostIDConfigured) | flag[uint8](h.HostNQNConfigured, nbftHostNQNConfigured)
	copy(d[2:], h.HostID[:])
	w.object(pos+18, h.HostNQN)
}

func (w *nbftWriter) hfi(pos int, f *NBFTInterface) {
	d := w.at(pos, nbftInterfaceSize)
	d[0], d[1], d[2], d[3] = nbftInterface, f.Index, nbftValid, byte(f.Transport)
	info := w.object(pos+16, string(make([]byte, nbftInfoSize)))
	b := w.at(info, nbftInfoSize)
	b[0], b[1], b[2], b[3], b[4] = nbftInterfaceInfo, 1, byte(f.Transport), 1, f.Index
	b[6] = nbftValid | flag[uint8](f.GlobalRoute, nbftInfoGlobalRoute) | flag[uint8](f.DHCP, nbftInfoDHCP) | flag[uint8](f.Autoconf, nbftInfoAutoconf)
	binary.LittleEndian.PutUint32(b[7:], f.PCI)
	copy(b[11:17], f.MAC[:])
	binary.LittleEndian.PutUint16(b[17:], f.VLAN)
	b[19], b[36] = f.Origin, f.Prefix
	copy(b[20:], nbftAddr16(f.IP))
	copy(b[37:], nbftAddr16(f.Gateway))
	binary.LittleEndian.PutUint16(b[54:], f.RouteMetric)
	copy(b[56:], nbftAddr16(f.DNS[0]))
	copy(b[72:], nbftAddr16(f.DNS[1]))
	copy(b[88:], nbftAddr16(f.DHCPServer))
	w.object(info+104, f.HostName)
}

func (w *nbftWriter) subsystem(pos int, s *NBFTSubsystem) {
	d := w.at(pos, nbftSubsystemSize)
	p16 := binary.LittleEndian.PutUint16
	ext := s.CntlID != 0 || s.ASQSize != 0 || s.RootPath != ""
	d[0] = nbftSubsystem
	p16(d[1:], s.Index)
	p16(d[3:], nbftValid|flag[uint16](s.NonBootable, nbftSubsystemNonBootable)|flag[uint16](s.Secure, nbftSubsystemSecure)|
		flag[uint16](s.RootPath != "", nbftSubsystemRootPath)|flag[uint16](ext, nbftSubsystemExtInfo)|
		flag[uint16](s.SeparateDC, nbftSubsystemSeparateDC)|flag[uint16](s.Discovered, nbftSubsystemDiscovered)|
		uint16(s.Availability&3)<<7)
	d[5] = byte(s.Transport)
	p16(d[6:], nbftValid|flag[uint16](s.HeaderDigest, nbftTransportHeaderDigest)|flag[uint16](s.DataDigest, nbftTransportDataDigest))
	d[8] = s.Discovery
	p16(d[22:], s.PortID)
	binary.LittleEndian.PutUint32(d[24:], s.NSID)
	d[28] = s.NIDType
	copy(d[29:], s.NID[:])
	d[45] = s.Security
	if len(s.Interfaces) > 0 {
		d[46] = s.Interfaces[0]
		w.object(pos+48, string(s.Interfaces[1:]))
	}
	w.object(pos+10, nbftAddr16(s.Traddr))
	w.object(pos+16, s.Trsvcid)
	w.object(pos+54, s.SubNQN)
	if !ext {
		return
	}
	at := w.object(pos+60, string(make([]byte, nbftSubsystemExtSize)))
	e := w.at(at, nbftSubsystemExtSize)
	e[0], e[1] = nbftSubsystemExt, 1
	p16(e[2:], s.Index)
	e[4] = nbftValid | flag[uint8](s.ASQSize != 0, nbftExtASQSize)
	p16(e[8:], s.CntlID)
	p16(e[10:], s.ASQSize)
	w.object(at+12, s.RootPath)
}

func (w *nbftWriter) security(pos int, s *NBFTSecurity) {
	d := w.at(pos, nbftSecuritySize)
	d[0], d[1], d[4] = nbftSecurity, s.Index, s.SecretType
	binary.LittleEndian.PutUint16(d[2:], nbftValid|uint16(s.Auth&3)<<1|uint16(s.Channel&3)<<5)
	w.object(pos+36, s.KeyURI)
}

func (w *nbftWriter) discovery(pos int, c *NBFTDiscovery) {
	d := w.at(pos, nbftDiscoverySize)
	d[0], d[1], d[2], d[3], d[4] = nbftDiscovery, nbftValid, c.Index, c.Interface, c.Security
	w.object(pos+6, c.URI)
	if c.NQN != DiscoveryNQN {
		w.object(pos+12, c.NQN)
	}
}
