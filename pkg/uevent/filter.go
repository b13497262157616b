package uevent

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The action comes first in an event of the kernel, then @ and the path of the device: the @ is behind
// the shortest action, add, or the longest (lib/kobject_uevent.c, kobject_actions: unbind and change have six
// letters, offline seven).
const shortestAction, longestAction = 3, 7

// maxPrefix bounds a path prefix, so that every jump of the filter fits its eight bits.
const maxPrefix = 64

// filter is a classic BPF program that passes the kernel's events about devices below one of the paths, and every message
// that it does not understand: what is passed is looked at once more. It drops what begins with one of needless. It runs in the context
// of the sender, so what it drops takes no room in the receive buffer and wakes nobody.
func filter(paths, needless []string) ([]unix.SockFilter, error) {
	const accept = 1 << 30 // more than any message has
	const at = '@'
	var program []unix.SockFilter
	emit := func(code uint16, jt, jf uint8, k uint32) {
		program = append(program, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	}
	load := map[int]uint16{4: unix.BPF_LD | unix.BPF_W | unix.BPF_IND, 2: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, 1: unix.BPF_LD | unix.BPF_B | unix.BPF_IND}

	// X becomes the offset of the path. A load behind the end of a message would drop it, and with it what is not
	// understood, so the length comes first.
	longest := 0
	for _, p := range slices.Concat(paths, needless) {
		if len(p) == 0 || len(p) > maxPrefix {
			return nil, fmt.Errorf("cannot filter for %q: a path has 1 to %d bytes", p, maxPrefix)
		}
		longest = max(longest, len(p))
	}
	emit(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0, 0, 0)
	emit(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 1, 0, uint32(longestAction+1+longest))
	emit(unix.BPF_RET|unix.BPF_K, 0, 0, accept)
	// match emits what comes to verdict where p is found from the offset in X on, and goes on behind it where not.
	match := func(p string, verdict uint32) {
		type part struct{ offset, size int }
		var parts []part
		for o := 0; o < len(p); {
			size := 1
			for _, s := range []int{4, 2} {
				if len(p)-o >= s {
					size = s
					break
				}
			}
			parts = append(parts, part{o, size})
			o += size
		}
		for i, part := range parts {
			var word [4]byte
			copy(word[4-part.size:], p[part.offset:part.offset+part.size])
			emit(load[part.size], 0, 0, uint32(part.offset))
			// On a difference go on behind the rest of this one and its RET.
			emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, uint8(2*(len(parts)-i-1)+1), binary.BigEndian.Uint32(word[:]))
		}
		emit(unix.BPF_RET|unix.BPF_K, 0, 0, verdict)
	}

	emit(unix.BPF_LDX|unix.BPF_W|unix.BPF_IMM, 0, 0, 0)
	for _, n := range needless {
		match(n, 0)
	}
	for n := shortestAction; n <= longestAction; n++ {
		emit(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, 0, 0, uint32(n))
		emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 2, at)
		emit(unix.BPF_LDX|unix.BPF_W|unix.BPF_IMM, 0, 0, uint32(n+1))
		emit(unix.BPF_JMP|unix.BPF_JA, 0, 0, uint32(4*(longestAction-n)+1)) // behind the last of these and its RET
	}
	emit(unix.BPF_RET|unix.BPF_K, 0, 0, accept) // it begins with no action

	for _, p := range paths {
		match(p, accept)
	}
	emit(unix.BPF_RET|unix.BPF_K, 0, 0, 0)
	return program, nil
}

// attach has the kernel deliver only what program passes.
func attach(fd int, program []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog)
}
