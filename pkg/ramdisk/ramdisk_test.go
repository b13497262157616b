package ramdisk

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A disk behaves as an array of bytes, whatever is done to it.
func TestDiskIsAnArray(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 5*chunkSize + 512
		pool := NewPool(1 << 30)
		d, model := pool.New(size), make([]byte, size)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			off := rapid.IntRange(0, size).Draw(t, "offset")
			n := rapid.IntRange(0, size-off).Draw(t, "length")
			if rapid.Bool().Draw(t, "write") {
				p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)
				if _, err := d.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
				copy(model[off:], p)
			} else {
				if err := d.Discard(uint64(off), uint64(n)); err != nil {
					t.Fatal(err)
				}
				clear(model[off : off+n])
			}
		}
		got := make([]byte, size)
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Fatalf("disk differs from the model: %v", err)
		}
		d.Close()
		if pool.Used() != 0 {
			t.Fatalf("%d bytes are used after Close", pool.Used())
		}
		if _, err := d.WriteAt(model[:1], 0); !errors.Is(err, ErrClosed) || pool.Used() != 0 {
			t.Fatalf("write after Close gave %v, %d bytes are used", err, pool.Used())
		}
	})
}

func TestLimits(t *testing.T) {
	pool := NewPool(2 * chunkSize)
	d := pool.New(1 << 40)
	if _, err := d.WriteAt(make([]byte, 3*chunkSize), 1<<30); !errors.Is(err, ErrFull) {
		t.Errorf("write over the limit gave %v", err)
	}
	if pool.Used() != 2*chunkSize {
		t.Errorf("%d bytes used", pool.Used())
	}
	if _, err := d.ReadAt(make([]byte, 1), 1<<40); err == nil {
		t.Error("read behind the end succeeded")
	}
	if err := d.Discard(1<<40-1, 2); err == nil {
		t.Error("discard behind the end succeeded")
	}
}
