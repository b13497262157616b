package nvmetcp

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
)

// command builds a command from its opcode, namespace and dwords 10 and up.
func command(op uint8, nsid uint32, dwords ...uint32) *SQE {
	sqe := &SQE{op}
	sqe.SetDword(1, nsid)
	for i, v := range dwords {
		sqe.SetDword(10+i, v)
	}
	return sqe
}

// What Linux and nvme-cli read about namespaces.
func TestIdentifyNamespaces(t *testing.T) {
	h := dial(t, hostConfig(serve(t, &Target{Resolver: resolver{testSub: newDisk(1 << 20)}}), testSub))
	identify := func(nsid uint32, cns, csi uint32) ([]byte, error) {
		b := make([]byte, 4096)
		_, err := h.exec(t.Context(), h.admin, command(nvme.OpIdentify, nsid, cns, csi<<24), nil, b)
		return b, err
	}
	b, err := identify(0, nvme.CNSActiveNamespaces, 0)
	if err != nil || le.Uint32(b) != 1 || le.Uint32(b[4:]) != 0 {
		t.Errorf("active namespaces % x, %v", b[:8], err)
	}
	if b, err = identify(1, nvme.CNSActiveNamespaces, 0); err != nil || le.Uint32(b) != 0 {
		t.Errorf("active namespaces after 1 are % x, %v", b[:8], err)
	}
	b, err = identify(1, nvme.CNSNamespaceDescriptors, 0)
	want := append([]byte{3, 16, 0, 0, 1}, make([]byte, 15)...) // the UUID, then the command set, then the end
	want = append(want, 4, 1, 0, 0, 0, 0, 0)
	if err != nil || !bytes.HasPrefix(b, want) {
		t.Errorf("descriptors % x, %v", b[:len(want)], err)
	}
	if b, err = identify(0xffffffff, nvme.CNSNamespace, 0); err != nil || b[130] != 9 || le.Uint64(b) != 0 {
		t.Errorf("common namespace data %v", err)
	}
	if _, err = identify(0, nvme.CNSCommandSetController, 0); err != nil {
		t.Errorf("command set specific controller: %v", err)
	}
	for _, bad := range [][3]uint32{{2, nvme.CNSNamespaceDescriptors, 0}, {0xffffffff, nvme.CNSActiveNamespaces, 0}, {0, nvme.CNSCommandSetController, 2}, {0, 0x42, 0}} {
		if _, err := identify(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("identify %v succeeded", bad)
		}
	}
}

func TestFeatures(t *testing.T) {
	h := dial(t, hostConfig(serve(t, &Target{Resolver: resolver{testSub: newDisk(1 << 20)}, IOQueues: 3}), testSub))
	do := func(op uint8, feature, value uint32) (uint64, error) {
		cqe, err := h.exec(t.Context(), h.admin, command(op, 0, feature, value), nil, nil)
		return cqe.Result(), err
	}
	for _, f := range []struct {
		feature, set uint32
		want         uint64
	}{{nvme.FeatureNumberOfQueues, 0x00070007, 0x00020002}, {nvme.FeatureAsyncEvents, 0x100, 0x100}, {nvme.FeatureKeepAlive, 30000, 30000}} {
		if _, err := do(nvme.OpSetFeatures, f.feature, f.set); err != nil {
			t.Errorf("set feature %x: %v", f.feature, err)
		}
		if got, err := do(nvme.OpGetFeatures, f.feature, 0); err != nil || got != f.want {
			t.Errorf("feature %x is %x, %v", f.feature, got, err)
		}
	}
	for _, op := range []uint8{nvme.OpSetFeatures, nvme.OpGetFeatures} {
		if _, err := do(op, 0x7f, 0); !errors.Is(err, nvme.StatusInvalidField) {
			t.Errorf("unknown feature gave %v", err)
		}
	}
	if _, err := do(nvme.OpSetFeatures, nvme.FeatureNumberOfQueues, 0xffff); err == nil {
		t.Error("65536 queues were granted")
	}
	for range aerl + 1 {
		go h.admin.exec(t.Context(), command(nvme.OpAER, 0), nil, nil)
	}
	cqe, err := h.admin.exec(t.Context(), command(opAbort, 0, 7<<16), nil, nil)
	if err != nil || cqe.Result() != 1 {
		t.Errorf("abort gave %x, %v", cqe.Result(), err)
	}
	if _, err := h.exec(t.Context(), h.admin, command(0xc0, 0), nil, nil); !errors.Is(err, nvme.StatusInvalidOpcode) {
		t.Errorf("unknown command gave %v", err)
	}
}

func TestDeallocate(t *testing.T) {
	d := newDisk(1 << 20)
	h := dial(t, hostConfig(serve(t, &Target{Resolver: resolver{testSub: d}}), testSub))
	if _, err := h.OpenQueues(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ones := bytes.Repeat([]byte{1}, 8192)
	if err := h.Write(t.Context(), 1, 0, 512, ones); err != nil {
		t.Fatal(err)
	}
	zero := command(opWriteZeroes, 1, 2, 0, 1) // blocks 2 and 3
	if _, err := h.exec(t.Context(), h.io[0], zero, nil, nil); err != nil {
		t.Fatal(err)
	}
	ranges := make([]byte, 32)
	le.PutUint32(ranges[4:], 1) // block 6
	le.PutUint64(ranges[8:], 6)
	le.PutUint32(ranges[20:], 2) // blocks 8 and 9
	le.PutUint64(ranges[24:], 8)
	if _, err := h.exec(t.Context(), h.io[0], command(opDSM, 1, 1, 1<<2), ranges, nil); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(ones))
	if err := h.Read(t.Context(), 1, 0, 512, got); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		want := byte(1)
		switch i / 512 {
		case 2, 3, 6, 8, 9:
			want = 0
		}
		if b != want {
			t.Fatalf("byte %d of block %d is %d", i%512, i/512, b)
		}
	}
	le.PutUint64(ranges[24:], 1<<60)
	for name, bad := range map[string]struct {
		sqe  *SQE
		data []byte
	}{
		"range behind the end":        {command(opDSM, 1, 1, 1<<2), ranges},
		"fewer ranges than said":      {command(opDSM, 1, 5, 1<<2), ranges},
		"zeroes behind the end":       {command(opWriteZeroes, 1, 2047, 0, 8), nil},
		"zeroes in another namespace": {command(opWriteZeroes, 2, 0, 0, 0), nil},
		"write with a wrong length":   {command(nvme.OpWrite, 1, 0, 0, 7), ranges},
		"unknown command":             {command(0x99, 1), nil},
	} {
		if _, err := h.exec(t.Context(), h.io[0], bad.sqe, bad.data, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := h.exec(t.Context(), h.io[0], command(nvme.OpFlush, 0xffffffff), nil, nil); err != nil {
		t.Errorf("flush of all namespaces: %v", err)
	}
}
