package nvme

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrGenerationMoving says that a discovery log page changed during each of several
// attempts to read it. What was known before still stands.
var ErrGenerationMoving = errors.New("the page changed during each attempt to read it")

// ReadOptions says how [ReadDiscoveryLog] reads. The zero value is right for most.
type ReadOptions struct {
	// ChunkSize is the most bytes per command, rounded down to entries of 1024 bytes;
	// 0 means 4096, which every controller serves. Mind the controller's MDTS.
	ChunkSize int
	// LSP holds bits such as [LSPPortLocal].
	LSP uint8
	// NoOffset is for controllers that know no log page offset ([LPAExtendedData] not
	// set): the page is then read by one command.
	NoOffset bool
	// MaxTries is how often the page is read before it counts as moving; 0 means 8.
	MaxTries int
	// Admit is asked before the entries are read, at each attempt, with their number; its error ends
	// the read. nil admits every page.
	Admit func(records int) error
}

// maxOneGo bounds the buffer of a page that must be read by one command.
const maxOneGo = 4 << 20

const (
	defaultChunk = 4096
	defaultTries = 8
)

// GetLogFunc performs one Get Log Page of len(buf) bytes, a multiple of 4, at offset. rae is
// the Retain Asynchronous Event bit. A status other than success comes back as a [Status],
// possibly wrapped.
type GetLogFunc = func(lid uint8, lsp uint8, offset uint64, buf []byte, rae bool) error

// ReadDiscoveryLog reads log page 0x70 through get: header, entries in chunks, header
// again, and all over when the generation counter or the number of records moved or the
// controller asks to restart (Base 2.1, section 5.1.12.3.1).
//
// The discovery event stays retained until the last chunk, so that a change during the
// read is either seen by the second header or raises another event. When the controller
// refuses something midway, or the page makes no sense, one more header is read to arm the
// event again; not after an error that is no [Status], as there is then nobody to arm
// it, and the next connection starts with it armed.
func ReadDiscoveryLog(get GetLogFunc, opt ReadOptions) (*DiscoveryLog, error) {
	r := pageReader{get: get, opt: opt, chunk: DiscoveryEntrySize}
	if r.opt.ChunkSize == 0 {
		r.opt.ChunkSize = defaultChunk
	}
	r.chunk = max(DiscoveryEntrySize, r.opt.ChunkSize/DiscoveryEntrySize*DiscoveryEntrySize)
	tries := opt.MaxTries
	if tries <= 0 {
		tries = defaultTries
	}
	err := ErrGenerationMoving
	for range tries {
		var log *DiscoveryLog
		log, err = r.attempt()
		if err == nil {
			return log, nil
		}
		if errors.Is(err, StatusDiscoverRestart) || errors.Is(err, ErrGenerationMoving) {
			continue
		}
		break
	}
	if r.answered {
		// Its result does not matter: the error to report is the one that led here.
		_ = r.read(0, r.header[:], false)
	}
	return nil, fmt.Errorf("cannot read discovery log page: %w", err)
}

type pageReader struct {
	get      GetLogFunc
	opt      ReadOptions
	chunk    int
	buf      []byte
	header   [DiscoveryHeaderSize]byte
	answered bool // the last command was answered, be it by an error status
}

func (r *pageReader) read(offset uint64, buf []byte, rae bool) error {
	err := r.get(LogDiscovery, r.opt.LSP, offset, buf, rae)
	r.answered = err == nil || isStatus(err)
	if err != nil {
		return fmt.Errorf("%d bytes at offset %d: %w", len(buf), offset, err)
	}
	return nil
}

func isStatus(err error) bool {
	_, ok := errors.AsType[Status](err)
	return ok
}

func (r *pageReader) readHeader(rae bool) (DiscoveryHeader, error) {
	if err := r.read(0, r.header[:], rae); err != nil {
		return DiscoveryHeader{}, err
	}
	return DecodeDiscoveryHeader(r.header[:])
}

func (r *pageReader) attempt() (*DiscoveryLog, error) {
	h, err := r.readHeader(true)
	if err != nil {
		return nil, err
	}
	if r.opt.Admit != nil {
		if err := r.opt.Admit(int(h.NumRec)); err != nil {
			return nil, err
		}
	}
	if r.opt.NoOffset {
		return r.oneGo(h)
	}
	d := newPageDecoder(h)
	if d.extended {
		err = r.extended(d, h)
	} else {
		err = r.basic(d)
	}
	// An entry that makes no sense may be one that changed under the read: the second
	// header tells which of the two it was.
	if err != nil && !errors.Is(err, errMalformed) {
		return nil, err
	}
	again, headerErr := r.readHeader(false)
	if headerErr != nil {
		return nil, headerErr
	}
	if again != h {
		return nil, ErrGenerationMoving
	}
	if err != nil {
		return nil, err
	}
	return d.log, nil
}

// basic reads entries of 1024 bytes: every command but the last retains the event.
func (r *pageReader) basic(d *pageDecoder) error {
	total := int(d.log.NumRec) * DiscoveryEntrySize
	for at := 0; at < total; {
		b := r.buffer(min(r.chunk, total-at))
		if err := r.read(uint64(DiscoveryHeaderSize+at), b, at+len(b) < total); err != nil {
			return err
		}
		at += len(b)
		if _, err := d.feed(b); err != nil {
			return err
		}
	}
	return nil
}

// extended reads entries of variable length. Where the header tells the page's length
// no byte behind it is asked for.
func (r *pageReader) extended(d *pageDecoder, h DiscoveryHeader) error {
	at, carry := uint64(DiscoveryHeaderSize), []byte(nil)
	for !d.done() {
		end := uint64(h.Length) &^ 3
		if end == 0 {
			// Without a length: what must be there at least. That of the entry which
			// carry begins with is known once its first 1032 bytes are.
			first, err := d.entrySize(carry)
			if err != nil || first == 0 {
				first = discoveryExtAttrBase
			}
			left := int(h.NumRec) - d.index - 1
			end = at + uint64(first-len(carry)+left*discoveryExtAttrBase)
		}
		if end <= at {
			return fmt.Errorf("%w: %d bytes end in entry %d of %d", errMalformed, h.Length, d.index, h.NumRec)
		}
		b := r.buffer(int(min(uint64(r.chunk), end-at)))
		if err := r.read(at, b, at+uint64(len(b)) < end); err != nil {
			return err
		}
		at += uint64(len(b))
		carry = append(carry, b...)
		used, err := d.feed(carry)
		if err != nil {
			return err
		}
		carry = append(carry[:0], carry[used:]...)
	}
	return nil
}

func (r *pageReader) oneGo(h DiscoveryHeader) (*DiscoveryLog, error) {
	size := (h.NumRec + 1) * DiscoveryEntrySize
	if h.Flags&PageExtended != 0 {
		size = uint64(h.Length) &^ 3
	}
	if size < DiscoveryHeaderSize || size > maxOneGo {
		return nil, fmt.Errorf("%w: %d bytes cannot be read by one command, which the controller needs", errMalformed, size)
	}
	b := make([]byte, size)
	if err := r.read(0, b, false); err != nil {
		return nil, err
	}
	// One command is one moment, so only a page that grew since the header is a
	// reason to read again.
	if !bytes.Equal(b[:discoveryHeaderUsed], r.header[:discoveryHeaderUsed]) {
		return nil, ErrGenerationMoving
	}
	return DecodeDiscoveryLog(b)
}

func (r *pageReader) buffer(n int) []byte {
	if r.buf == nil {
		r.buf = make([]byte, r.chunk)
	}
	return r.buf[:n]
}
