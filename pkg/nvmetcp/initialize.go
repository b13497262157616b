package nvmetcp

import (
	"context"
	"fmt"
	"net"
)

// minH2CData is the least MAXH2CDATA that a controller may answer (TCP 3.6.2.3).
const minH2CData = 4096

// initialize exchanges ICReq and ICResp as the host. The whole exchange has to
// end with ctx.
func initialize(ctx context.Context, c net.Conn, headerDigest, dataDigest bool) (resp *ICResp, err error) {
	err = whileContext(ctx, c, func() error {
		w := NewWriter(c)
		if err := w.Write(&ICReq{HeaderDigest: headerDigest, DataDigest: dataDigest}); err != nil {
			return err
		}
		// Exactly one PDU is read: a Reader does not read ahead.
		p, err := NewReader(c, HostSide, maxTermReq).Next()
		if err != nil {
			return err
		}
		switch p := p.(type) {
		case *ICResp:
			resp = p
			return checkICResp(p, headerDigest, dataDigest)
		case *TermReq:
			return &TerminatedError{p.FES, p.FEI}
		}
		return sequenceErr("%s in place of ICResp", p.pduType())
	})
	return resp, classify(err, ErrSilent)
}

// checkICResp applies the rules of the Linux host (nvme_tcp_init_connection).
func checkICResp(r *ICResp, headerDigest, dataDigest bool) error {
	switch {
	case r.PFV != 0:
		return headerErr(8, "ICResp with PDU format version %d", r.PFV)
	case r.CPDA != 0:
		return headerErr(10, "ICResp wants data alignment %d", r.CPDA)
	case r.HeaderDigest != headerDigest, r.DataDigest != dataDigest:
		return headerErr(11, "ICResp with digests %s, asked were %s",
			digestNames(r.HeaderDigest, r.DataDigest), digestNames(headerDigest, dataDigest))
	case r.MaxH2CData < minH2CData, r.MaxH2CData%4 != 0:
		return headerErr(12, "ICResp with MAXH2CDATA %d", r.MaxH2CData)
	}
	return nil
}

func digestNames(header, data bool) string { return fmt.Sprintf("header %t, data %t", header, data) }
