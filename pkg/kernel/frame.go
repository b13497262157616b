package kernel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A frame is one message in either direction of the pipe between daemon and worker: length
// of the head and of the data, 4 bytes each in network order, head (JSON), data (raw).
const (
	frameLengths = 8
	maxHead      = 64 << 10
	maxData      = 8 << 20 // no admin command moves more
)

// appendFrame appends a frame of head and data to b.
func appendFrame(b []byte, head any, data []byte) ([]byte, error) {
	text, err := json.Marshal(head)
	if err != nil {
		return b, fmt.Errorf("cannot encode a message: %w", err)
	}
	if len(text) > maxHead || len(data) > maxData {
		return b, fmt.Errorf("cannot send a message of %d + %d bytes: longer than allowed", len(text), len(data))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, text...), data...), nil
}

// readFrame reads a frame, its head into head. It gives io.EOF where the other side
// ended between two frames.
func readFrame(r io.Reader, head any) (data []byte, err error) {
	var lengths [frameLengths]byte
	if _, err := io.ReadFull(r, lengths[:]); err != nil {
		return nil, err
	}
	text, size := binary.BigEndian.Uint32(lengths[:]), binary.BigEndian.Uint32(lengths[4:])
	if text > maxHead || size > maxData {
		return nil, fmt.Errorf("cannot read a message of %d + %d bytes: longer than allowed", text, size)
	}
	buf := make([]byte, text+size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("cannot read a message: %w", noEOF(err))
	}
	if err := json.Unmarshal(buf[:text], head); err != nil {
		return nil, fmt.Errorf("cannot decode a message: %w", err)
	}
	return buf[text:], nil
}

// noEOF keeps an end in the middle from passing for one between frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
