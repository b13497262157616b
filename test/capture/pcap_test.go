package capture

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// recorder is a proxy in front of a target that writes what passes into a capture file. The
// packets there are made up, as capturing real ones takes privileges; the streams are not.
type recorder struct {
	target string
	l      net.Listener
	wg     sync.WaitGroup

	mu   sync.Mutex
	file *os.File
}

const maxSegment = 32 << 10 // fits an IP packet

// record starts a recorder that writes to a file, in the format of pcap-savefile(5) with
// link type LINKTYPE_RAW, until the end of the test.
func record(t *testing.T, target netip.AddrPort, path string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{target: target.String(), l: l, file: file}
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = append(head, 2, 0, 4, 0) // version 2.4
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 65535) // snapshot length
	head = binary.LittleEndian.AppendUint32(head, 101)   // LINKTYPE_RAW
	if _, err := file.Write(head); err != nil {
		t.Fatal(err)
	}
	r.wg.Go(r.serve)
	return r
}

func (r *recorder) addr() netip.AddrPort { return r.l.Addr().(*net.TCPAddr).AddrPort() }

// close ends the record; the connections have ended before.
func (r *recorder) close(t *testing.T) {
	t.Helper()
	r.l.Close()
	r.wg.Wait()
	if err := r.file.Close(); err != nil {
		t.Error(err)
	}
}

func (r *recorder) serve() {
	for {
		host, err := r.l.Accept()
		if err != nil {
			return
		}
		target, err := net.Dial("tcp", r.target)
		if err != nil {
			host.Close()
			return
		}
		s := &stream{recorder: r, host: uint16(host.RemoteAddr().(*net.TCPAddr).Port), target: r.addr().Port()}
		s.packet(0, flagSYN, nil)
		s.packet(1, flagSYN|flagACK, nil)
		r.wg.Go(func() { s.copy(target, host, 0) })
		r.wg.Go(func() { s.copy(host, target, 1) })
	}
}

const flagSYN, flagACK, flagPSH = 2, 16, 8

// stream is one connection.
type stream struct {
	*recorder
	host, target uint16    // ports
	sent         [2]uint32 // by the host and by the target, guarded by recorder.mu
}

func (s *stream) copy(to, from net.Conn, who int) {
	defer to.Close()
	buf := make([]byte, maxSegment)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			s.packet(who, flagPSH|flagACK, buf[:n])
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}

// packet writes what the host (0) or the target (1) sends.
func (s *stream) packet(who int, flags byte, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports, big := [2]uint16{s.host, s.target}, binary.BigEndian
	length := 40 + len(data)
	now := time.Now()
	b := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(now.Nanosecond()/1000))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	// IPv4; nobody looks at the checksums.
	b = append(b, 0x45, 0)
	b = big.AppendUint16(b, uint16(length))
	b = append(b, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, byte(1+who), 10, 0, 0, byte(2-who))
	b = big.AppendUint16(b, ports[who])
	b = big.AppendUint16(b, ports[1-who])
	b = big.AppendUint32(b, s.sent[who])
	b = big.AppendUint32(b, s.sent[1-who])
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, data...)
	s.sent[who] += uint32(len(data))
	if flags&flagSYN != 0 {
		s.sent[who]++
	}
	_, _ = s.file.Write(b) // tshark finds what is missing
}
