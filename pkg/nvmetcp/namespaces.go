package nvmetcp

import "github.com/stas-go/stas/pkg/nvme"

const identifySize = 4096

// identifyNamespaces answers the Identify commands that concern namespaces, as far
// as Linux and nvme-cli send them (Base 5.1.13.2, NVM Command Set 4.1.5).
func identifyNamespaces(nvm NVMBackend, ana bool, cns uint8, nsid, cdw11 uint32) ([]byte, nvme.Status) {
	const invalid = nvme.StatusInvalidField | nvme.StatusDNR
	b := make([]byte, identifySize)
	csi := uint8(cdw11 >> 24)
	switch cns {
	case nvme.CNSNamespace:
		if nsid == 0xffffffff { // what all have in common: the block formats
			putFormats(b, 9)
			return b, nvme.StatusSuccess
		}
		ns := nvm.Namespace(nsid)
		if ns == nil {
			return b, nvme.StatusSuccess // inactive: all zeros
		}
		putNamespace(b, ns, ana)
		return b, nvme.StatusSuccess
	case nvme.CNSActiveNamespaces:
		if nsid >= 0xfffffffe {
			return nil, nvme.StatusInvalidNamespace | nvme.StatusDNR
		}
		for i, id := range nvm.ActiveNamespaces(nsid, identifySize/4) {
			le.PutUint32(b[4*i:], id)
		}
		return b, nvme.StatusSuccess
	case nvme.CNSNamespaceDescriptors:
		ns := nvm.Namespace(nsid)
		if ns == nil {
			return nil, nvme.StatusInvalidNamespace | nvme.StatusDNR
		}
		putDescriptors(b, ns)
		return b, nvme.StatusSuccess
	case nvme.CNSCommandSetController:
		if csi != 0 {
			return nil, invalid
		}
		return b, nvme.StatusSuccess // no limits of its own
	}
	return nil, invalid
}

// putFormats fills in the one LBA format.
func putFormats(b []byte, shift uint8) { b[130] = shift }

func putNamespace(b []byte, ns *Namespace, ana bool) {
	le.PutUint64(b[0:], ns.Blocks)  // NSZE
	le.PutUint64(b[8:], ns.Blocks)  // NCAP
	le.PutUint64(b[16:], ns.Blocks) // NUSE
	b[30] = 1                       // NMIC: may be shared by controllers
	b[33] = 0x09                    // DLFEAT: deallocated blocks read as zeros, also by Write Zeroes
	copy(b[104:120], ns.NGUID[:])
	if ana {
		le.PutUint32(b[92:], 1) // ANAGRPID
	}
	putFormats(b, ns.BlockShift)
}

// putDescriptors writes the identification descriptors: type, length, 2 reserved, value.
func putDescriptors(b []byte, ns *Namespace) {
	put := func(kind uint8, value []byte) {
		b[0], b[1] = kind, uint8(len(value))
		copy(b[4:], value)
		b = b[4+len(value):]
	}
	if ns.NGUID != [16]byte{} {
		put(2, ns.NGUID[:])
	}
	put(3, ns.UUID[:])
	put(4, []byte{0}) // CSI: NVM command set
}
