package uevent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Event is one device event. It is a plain value that may be kept.
type Event struct {
	Action    string // add, remove, change, move, bind, unbind, online, offline
	DevPath   string // below /sys, e.g. /devices/virtual/nvme-fabrics/ctl/nvme3
	Subsystem string
	DevName   string // below /dev, e.g. nvme3; "" for devices without a node
	Seqnum    uint64 // the kernel's running number; 0 where the message has none

	vars string // KEY=value, NUL after each
}

// Get gives the value of a key such as NVME_TRTYPE, "" where there is none.
func (e Event) Get(key string) string {
	v, _ := e.Lookup(key)
	return v
}

// Lookup gives the value of a key and whether there is one. The first counts.
func (e Event) Lookup(key string) (string, bool) {
	for rest := e.vars; rest != ""; {
		var entry string
		entry, rest, _ = strings.Cut(rest, "\x00")
		if len(entry) > len(key) && entry[len(key)] == '=' && entry[:len(key)] == key {
			return entry[len(key)+1:], true
		}
	}
	return "", false
}

// The header of messages in group 2 (systemd, src/libsystemd/sd-device/device-monitor.c,
// monitor_netlink_header): "libudev\0", magic in network byte order, then in host byte
// order the header's size, the offset and the length of the properties, and hashes for filters.
const (
	udevPrefix     = "libudev\x00"
	udevMagic      = 0xfeedcafe
	udevHeaderSize = 40
)

var errMalformed = errors.New("malformed uevent")

// Parse reads one netlink message of either group. Properties that are not KEY=value
// are skipped. The event holds a copy of msg.
func Parse(msg []byte) (Event, error) {
	vars, err := properties(msg)
	if err != nil {
		return Event{}, err
	}
	if n := len(vars); n > 0 && vars[n-1] != 0 {
		// A value that was cut off must not be taken for a whole one.
		vars = vars[:bytes.LastIndexByte(vars, 0)+1]
	}
	e := Event{vars: string(vars)}
	for rest := e.vars; rest != ""; {
		var entry string
		entry, rest, _ = strings.Cut(rest, "\x00")
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		switch key {
		case "ACTION":
			first(&e.Action, value)
		case "DEVPATH":
			first(&e.DevPath, value)
		case "SUBSYSTEM":
			first(&e.Subsystem, value)
		case "DEVNAME":
			// udev sends the whole path, the kernel what is below /dev.
			first(&e.DevName, strings.TrimPrefix(value, "/dev/"))
		case "SEQNUM":
			if e.Seqnum == 0 {
				e.Seqnum, _ = strconv.ParseUint(value, 10, 64)
			}
		}
	}
	if e.Action == "" || e.DevPath == "" {
		return Event{}, fmt.Errorf("%w: it names no action or no device", errMalformed)
	}
	return e, nil
}

func first(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// properties gives the part of a message that holds KEY=value pairs.
func properties(msg []byte) ([]byte, error) {
	if !bytes.HasPrefix(msg, []byte(udevPrefix)) {
		// action@devpath comes first and says nothing that the pairs do not.
		head, vars, ok := bytes.Cut(msg, []byte{0})
		if !ok || bytes.IndexByte(head, '@') < 1 {
			return nil, fmt.Errorf("%w: it starts neither with action@devpath nor with the header of udev", errMalformed)
		}
		return vars, nil
	}
	if len(msg) < udevHeaderSize {
		return nil, fmt.Errorf("%w: %d bytes cannot hold the header of udev", errMalformed, len(msg))
	}
	if magic := binary.BigEndian.Uint32(msg[8:]); magic != udevMagic {
		return nil, fmt.Errorf("%w: magic 0x%08x of udev's header is unknown", errMalformed, magic)
	}
	offset, length := binary.NativeEndian.Uint32(msg[16:]), binary.NativeEndian.Uint32(msg[20:])
	if offset < udevHeaderSize || uint64(offset)+uint64(length) > uint64(len(msg)) {
		return nil, fmt.Errorf("%w: properties at %d+%d are outside of %d bytes", errMalformed, offset, length, len(msg))
	}
	return msg[offset : offset+length], nil
}

// concerns says whether msg, unparsed, is of one of the subsystems; all are wanted where
// none is named. It saves the copy for the events of a host that have nothing to do with us.
func concerns(msg []byte, wanted [][]byte) bool {
	if len(wanted) == 0 {
		return true
	}
	for _, w := range wanted {
		if bytes.Contains(msg, w) {
			return true
		}
	}
	return false
}
