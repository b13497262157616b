package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pageServer serves log page 0x70 and records how it was asked.
type pageServer struct {
	t     *testing.T
	page  []byte
	calls []string
	// before runs before each command and may change the page or refuse.
	before func(call int) error
	// zeros serves zeros behind the end, like a target that reads over its buffer.
	zeros bool
	// armed is the state of the event: true once a command without RAE was served.
	armed bool
	lsp   uint8
}

func (s *pageServer) get(lid uint8, lsp uint8, offset uint64, buf []byte, rae bool) error {
	s.t.Helper()
	if lid != 0x70 || lsp != s.lsp || len(buf)%4 != 0 || len(buf) == 0 || offset%4 != 0 {
		s.t.Errorf("asked for page %#x, LSP %d, %d bytes at %d", lid, lsp, len(buf), offset)
	}
	letter := ""
	if rae {
		letter = "r"
	}
	s.calls = append(s.calls, fmt.Sprintf("%d+%d%s", offset, len(buf), letter))
	if s.before != nil {
		if err := s.before(len(s.calls)); err != nil {
			return err
		}
	}
	s.armed = s.armed || !rae
	clear(buf)
	if offset+uint64(len(buf)) > uint64(len(s.page)) {
		if !s.zeros {
			return StatusInvalidField | StatusDNR
		}
		if offset > uint64(len(s.page)) {
			return nil
		}
	}
	copy(buf, s.page[offset:])
	return nil
}

func pageOf(genctr uint64, n int) []byte {
	log := DiscoveryLog{GenCtr: genctr}
	for i := range n {
		log.Entries = append(log.Entries, DiscoveryEntry{Transport: TransportTypeTCP, AddrFamily: AddrFamilyIPv4, Subtype: SubtypeNVMe,
			Trsvcid: "4420", SubNQN: "nqn.2026-01.test:a", Traddr: fmt.Sprintf("192.0.2.%d", i)})
	}
	return log.Encode(0)
}

func extendedPageOf(n int, length bool) []byte {
	h := DiscoveryHeader{GenCtr: 1, NumRec: uint64(n), Flags: PageExtended}
	b := h.AppendTo(nil)
	for i := range n {
		e := DiscoveryEntry{Transport: TransportTypeTCP, Subtype: SubtypeNVMe, Traddr: fmt.Sprintf("192.0.2.%d", i)}
		b = e.AppendExtended(b, ' ', ExtendedAttribute{AttributeSymbolicName, []byte(strings.Repeat("x", i*13%250+4))})
	}
	if length {
		binary.LittleEndian.PutUint32(b[20:], uint32(len(b)))
	}
	return b
}

func TestReadDiscoveryLogCommands(t *testing.T) {
	for _, tt := range []struct {
		name    string
		page    []byte
		opt     ReadOptions
		want    string
		entries int
	}{
		{"empty page", pageOf(1, 0), ReadOptions{}, "0+1024r 0+1024", 0},
		{"one chunk", pageOf(1, 4), ReadOptions{}, "0+1024r 1024+4096 0+1024", 4},
		{"two chunks", pageOf(1, 5), ReadOptions{}, "0+1024r 1024+4096r 5120+1024 0+1024", 5},
		{"large chunk", pageOf(1, 5), ReadOptions{ChunkSize: 1 << 20}, "0+1024r 1024+5120 0+1024", 5},
		{"odd chunk", pageOf(1, 3), ReadOptions{ChunkSize: 3000}, "0+1024r 1024+2048r 3072+1024 0+1024", 3},
		{"tiny chunk", pageOf(1, 2), ReadOptions{ChunkSize: 1}, "0+1024r 1024+1024r 2048+1024 0+1024", 2},
		{"no offsets", pageOf(1, 5), ReadOptions{NoOffset: true}, "0+1024r 0+6144", 5},
		{"port local", pageOf(1, 1), ReadOptions{LSP: LSPPortLocal}, "0+1024r 1024+1024 0+1024", 1},
		{"extended with length", extendedPageOf(2, true), ReadOptions{LSP: LSPExtended}, "0+1024r 1024+2096 0+1024", 2},
		{"extended, no offsets", extendedPageOf(2, true), ReadOptions{LSP: LSPExtended, NoOffset: true}, "0+1024r 0+3120", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &pageServer{t: t, page: tt.page, lsp: tt.opt.LSP}
			log, err := ReadDiscoveryLog(s.get, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.calls, " "); got != tt.want {
				t.Errorf("commands are %s\nwant %s", got, tt.want)
			}
			if len(log.Entries) != tt.entries || !s.armed {
				t.Errorf("%d entries, event armed: %t", len(log.Entries), s.armed)
			}
		})
	}
}

func TestReadDiscoveryLogExtended(t *testing.T) {
	for _, length := range []bool{false, true} {
		for _, chunk := range []int{1024, 4096, 1 << 20} {
			s := &pageServer{t: t, page: extendedPageOf(50, length)}
			log, err := ReadDiscoveryLog(s.get, ReadOptions{ChunkSize: chunk})
			if err != nil {
				t.Fatalf("chunk %d: %v after %v", chunk, err, s.calls)
			}
			want, err := DecodeDiscoveryLog(s.page)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, log); d != "" || len(log.Entries) != 50 {
				t.Errorf("chunk %d: %s", chunk, d)
			}
		}
	}
}

func TestReadDiscoveryLogMovingOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   int // the page changes before this command
		n    int // entries afterwards
	}{
		{"before the entries", 2, 9}, {"between chunks", 3, 9}, {"before the second header", 4, 9},
		{"shrunk", 2, 1}, {"emptied", 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &pageServer{t: t, page: pageOf(1, 6), zeros: true}
			s.before = func(call int) error {
				if call == tt.at {
					s.page = pageOf(2, tt.n)
				}
				return nil
			}
			log, err := ReadDiscoveryLog(s.get, ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if log.GenCtr != 2 || len(log.Entries) != tt.n {
				t.Errorf("generation %d with %d entries", log.GenCtr, len(log.Entries))
			}
		})
	}
}

func TestReadDiscoveryLogOneGoMoving(t *testing.T) {
	s := &pageServer{t: t, page: pageOf(1, 2)}
	s.before = func(call int) error {
		if call == 2 {
			s.page = pageOf(2, 5)
		}
		return nil
	}
	log, err := ReadDiscoveryLog(s.get, ReadOptions{NoOffset: true})
	if err != nil || log.GenCtr != 2 || len(log.Entries) != 5 || len(s.calls) != 4 {
		t.Errorf("%+v, %v after %v", log, err, s.calls)
	}
}

func TestReadDiscoveryLogMovingForEver(t *testing.T) {
	s := &pageServer{t: t}
	gen := uint64(0)
	s.before = func(int) error { gen++; s.page = pageOf(gen, 1); return nil }
	_, err := ReadDiscoveryLog(s.get, ReadOptions{})
	if !errors.Is(err, ErrGenerationMoving) {
		t.Fatalf("error is %v", err)
	}
	if len(s.calls) != 8*3+1 || !s.armed {
		t.Errorf("%d commands: %v", len(s.calls), s.calls)
	}
}

func TestReadDiscoveryLogRestartStatus(t *testing.T) {
	s := &pageServer{t: t, page: pageOf(1, 1)}
	s.before = func(call int) error {
		if call == 2 {
			return fmt.Errorf("get log page: %w", StatusDiscoverRestart|StatusDNR)
		}
		return nil
	}
	if log, err := ReadDiscoveryLog(s.get, ReadOptions{}); err != nil || len(log.Entries) != 1 {
		t.Fatalf("%v, %v", log, err)
	}
	s = &pageServer{t: t, before: func(int) error { return StatusDiscoverRestart }}
	if _, err := ReadDiscoveryLog(s.get, ReadOptions{MaxTries: 3}); !errors.Is(err, StatusDiscoverRestart) || len(s.calls) != 4 {
		t.Fatalf("%v after %v", err, s.calls)
	}
}

func TestReadDiscoveryLogFailures(t *testing.T) {
	refuse := func(at int, err error) func(int) error {
		return func(call int) error {
			if call == at {
				return err
			}
			return nil
		}
	}
	lying := pageOf(1, 2)
	binary.LittleEndian.PutUint64(lying[8:], 60000)
	garbage := pageOf(1, 2)
	garbage[16] = 1
	longEntry := extendedPageOf(2, false)
	binary.LittleEndian.PutUint32(longEntry[2048:], 1<<20)
	shortLength := extendedPageOf(2, true)
	binary.LittleEndian.PutUint32(shortLength[20:], 1500)
	noLength := extendedPageOf(2, false)
	for _, tt := range []struct {
		name   string
		server pageServer
		opt    ReadOptions
		is     error
		text   string
		calls  int
		armed  bool
	}{
		{"refused midway arms the event", pageServer{page: pageOf(1, 9), before: refuse(3, StatusInternalError)}, ReadOptions{}, StatusInternalError, "4096 bytes at offset 5120", 4, true},
		{"lost midway does not try", pageServer{page: pageOf(1, 9), before: refuse(3, io.ErrUnexpectedEOF)}, ReadOptions{}, io.ErrUnexpectedEOF, "", 3, false},
		{"more records than served", pageServer{page: lying}, ReadOptions{}, StatusInvalidField, "", 3, true},
		{"more records than fit one command", pageServer{page: lying}, ReadOptions{NoOffset: true}, nil, "cannot be read by one command", 2, true},
		{"record format", pageServer{page: garbage}, ReadOptions{}, nil, "record format is 1", 2, true},
		{"extended entry too long", pageServer{page: longEntry}, ReadOptions{}, nil, "entry 0: total entry length", 4, true},
		{"page length too short", pageServer{page: shortLength}, ReadOptions{}, nil, "1500 bytes end in entry 0 of 2", 4, true},
		{"no length for one command", pageServer{page: noLength}, ReadOptions{NoOffset: true}, nil, "cannot be read by one command", 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &tt.server
			s.t = t
			log, err := ReadDiscoveryLog(s.get, tt.opt)
			if err == nil || log != nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("log %v, error %v", log, err)
			}
			if len(s.calls) != tt.calls || s.armed != tt.armed {
				t.Errorf("armed %t after %v", s.armed, s.calls)
			}
		})
	}
}

// Records that are counted and not served come as zeros from some targets: they must
// not pass as a shorter, complete page.
func TestReadDiscoveryLogZeroRecords(t *testing.T) {
	page := pageOf(1, 2)
	binary.LittleEndian.PutUint64(page[8:], 5)
	s := &pageServer{t: t, page: page, zeros: true}
	log, err := ReadDiscoveryLog(s.get, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(log.Entries) != 2 || log.Dropped != 3 || log.Complete() {
		t.Errorf("%d entries, %d dropped", len(log.Entries), log.Dropped)
	}
}

func BenchmarkReadDiscoveryLog10000(b *testing.B) {
	page := manyPage(10000)
	get := func(_, _ uint8, offset uint64, buf []byte, _ bool) error { copy(buf, page[offset:]); return nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadDiscoveryLog(get, ReadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
