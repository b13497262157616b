package bus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// maxUnasked bounds calls and signals that come in, in bytes. Ours are far smaller;
// any local user may send 32 MiB, which the library would turn into many times that.
const maxUnasked = 64 << 10

// Message types and sizes (D-Bus specification, "Message Format").
const (
	frameHeader   = 16
	typeCall      = 1
	typeSignal    = 4
	maxFrameBytes = 1 << 27
)

var errFrame = errors.New("what comes from the bus is no D-Bus message")

// frames is a reader that leaves out calls and signals larger than [maxUnasked]. What
// it reads is authentication text until begin is called, messages from then on.
type frames struct {
	from   io.Reader
	begun  bool
	header [frameHeader]byte
	buffer bytes.Reader // of header, what was not handed out yet
	rest   int64        // of the present message, behind its header
}

// begin must not run beside Read. The library reads in small pieces, hence the buffer.
func (f *frames) begin() { f.begun, f.from = true, bufio.NewReader(f.from) }

func (f *frames) Read(p []byte) (int, error) {
	if !f.begun {
		return f.from.Read(p)
	}
	for f.buffer.Len() == 0 && f.rest == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if f.buffer.Len() > 0 {
		return f.buffer.Read(p)
	}
	n, err := f.from.Read(p[:min(int64(len(p)), f.rest)])
	f.rest -= int64(n)
	return n, err
}

// next reads the header of a message, and all of it when it is not wanted.
func (f *frames) next() error {
	if _, err := io.ReadFull(f.from, f.header[:]); err != nil {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch f.header[0] {
	case 'l':
	case 'B':
		order = binary.BigEndian
	default:
		return errFrame
	}
	body, fields := int64(order.Uint32(f.header[4:])), int64(order.Uint32(f.header[12:]))
	rest := (fields+7)/8*8 + body
	if rest > maxFrameBytes {
		return errFrame
	}
	if t := f.header[1]; (t == typeCall || t == typeSignal) && rest > maxUnasked {
		_, err := io.CopyN(io.Discard, f.from, rest)
		return err
	}
	f.buffer.Reset(f.header[:])
	f.rest = rest
	return nil
}
