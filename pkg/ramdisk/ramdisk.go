// Package ramdisk keeps the bytes of simulated namespaces in memory: only what has
// been written takes room, so that ten thousand empty disks cost next to nothing.
package ramdisk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// chunkSize is the unit of allocation.
const chunkSize = 64 << 10

// ErrFull says that a write would take more memory than the disk's pool has.
var ErrFull = errors.New("memory for disks is used up")

// ErrClosed says that the disk has been closed.
var ErrClosed = errors.New("disk is closed")

// Pool bounds the memory of all disks made from it.
type Pool struct {
	limit int64
	used  atomic.Int64
}

// NewPool makes a pool of limit bytes.
func NewPool(limit int64) *Pool { return &Pool{limit: limit} }

// Used is how many bytes the disks hold.
func (p *Pool) Used() int64 { return p.used.Load() }

func (p *Pool) take() error {
	if p.used.Add(chunkSize) > p.limit {
		p.used.Add(-chunkSize)
		return fmt.Errorf("%w: %d bytes", ErrFull, p.limit)
	}
	return nil
}

// Disk is a sparse block device in memory. Its methods may be called concurrently;
// each takes effect as a whole within one chunk of 64 KiB.
type Disk struct {
	pool *Pool
	size uint64

	mu     sync.RWMutex
	closed bool
	chunks map[uint64][]byte
}

// New makes a disk of size bytes that reads as zeros.
func (p *Pool) New(size uint64) *Disk { return &Disk{pool: p, size: size} }

func (d *Disk) check(off, n uint64) error {
	if off > d.size || n > d.size-off {
		return fmt.Errorf("%d bytes at %d are outside of a disk of %d", n, off, d.size)
	}
	return nil
}

// ReadAt fills p.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	at := uint64(off)
	if err := d.check(at, uint64(len(p))); err != nil {
		return 0, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for done := 0; done < len(p); {
		index, start := at/chunkSize, at%chunkSize
		n := min(uint64(len(p)-done), chunkSize-start)
		if c := d.chunks[index]; c != nil {
			copy(p[done:], c[start:start+n])
		} else {
			clear(p[done : done+int(n)])
		}
		done += int(n)
		at += n
	}
	return len(p), nil
}

// WriteAt writes p. It fails with ErrFull when there is no room; what was written
// before that stays.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	at := uint64(off)
	if err := d.check(at, uint64(len(p))); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for done := 0; done < len(p); {
		c, err := d.chunk(at / chunkSize)
		if err != nil {
			return done, err
		}
		n := copy(c[at%chunkSize:], p[done:])
		done += n
		at += uint64(n)
	}
	return len(p), nil
}

func (d *Disk) chunk(index uint64) ([]byte, error) {
	if c := d.chunks[index]; c != nil {
		return c, nil
	}
	if d.closed {
		return nil, ErrClosed
	}
	if err := d.pool.take(); err != nil {
		return nil, err
	}
	if d.chunks == nil {
		d.chunks = make(map[uint64][]byte)
	}
	c := make([]byte, chunkSize)
	d.chunks[index] = c
	return c, nil
}

// Discard makes a range read as zeros and frees what it covers.
func (d *Disk) Discard(off, n uint64) error {
	if err := d.check(off, n); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	first, last := off/chunkSize, (off+n+chunkSize-1)/chunkSize // last is exclusive
	if last-first > uint64(len(d.chunks)) {
		for index := range d.chunks {
			if first <= index && index < last {
				d.discard(index, off, off+n)
			}
		}
		return nil
	}
	for index := first; index < last; index++ {
		d.discard(index, off, off+n)
	}
	return nil
}

// discard clears what lies in [off, end) of one chunk, and frees a chunk that is covered.
func (d *Disk) discard(index, off, end uint64) {
	c := d.chunks[index]
	if c == nil {
		return
	}
	start := index * chunkSize
	stop := min(start+chunkSize, d.size)
	if off <= start && stop <= end {
		delete(d.chunks, index)
		d.pool.used.Add(-chunkSize)
		return
	}
	clear(c[max(off, start)-start : min(end, stop)-start])
}

// Close frees all memory; the disk then reads as zeros, and writes fail.
func (d *Disk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.pool.used.Add(-chunkSize * int64(len(d.chunks)))
	d.chunks = nil
}
