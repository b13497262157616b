package nvme

import (
	"encoding/binary"
	"fmt"
)

// ConnectDataSize is the size of the data of a Connect command in bytes.
const ConnectDataSize = 1024

// ConnectData is the data of a Connect command (Base 2.1, section 6.3).
type ConnectData struct {
	HostID  HostID
	CntlID  uint16 // [CntlIDDynamic] on the admin queue, the assigned one on I/O queues
	SubNQN  string
	HostNQN string
}

// Encode gives the 1024 bytes; NQNs longer than [MaxNQN] are an error.
func (c *ConnectData) Encode() ([]byte, error) {
	if len(c.SubNQN) > MaxNQN || len(c.HostNQN) > MaxNQN {
		return nil, fmt.Errorf("cannot encode Connect: an NQN is longer than %d bytes", MaxNQN)
	}
	b := make([]byte, ConnectDataSize)
	copy(b, c.HostID[:])
	binary.LittleEndian.PutUint16(b[16:], c.CntlID)
	copy(b[256:512], c.SubNQN)
	copy(b[512:768], c.HostNQN)
	return b, nil
}

// DecodeConnectData is the target's side; NQNs that are no usable text are an error.
func DecodeConnectData(b []byte) (*ConnectData, error) {
	if len(b) < ConnectDataSize {
		return nil, fmt.Errorf("cannot decode Connect: %d bytes are fewer than %d", len(b), ConnectDataSize)
	}
	sub, host := fieldText(b[256:512]), fieldText(b[512:768])
	for _, nqn := range [...][]byte{sub, host} {
		if len(nqn) > MaxNQN {
			return nil, fmt.Errorf("cannot decode Connect: NQN of %d bytes is longer than %d", len(nqn), MaxNQN)
		}
		if err := checkText(nqn); err != nil {
			return nil, fmt.Errorf("cannot decode Connect: NQN %w", err)
		}
	}
	return &ConnectData{
		HostID: HostID(b[:16]), CntlID: binary.LittleEndian.Uint16(b[16:]),
		SubNQN: string(sub), HostNQN: string(host),
	}, nil
}
