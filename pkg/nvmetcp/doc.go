// Package nvmetcp speaks NVMe/TCP in user space: its PDUs, a probe that tells
// whether an address answers, a host that reads discovery controllers without
// root or kernel module, and a target that the Linux host connects to.
//
// Everything that waits has a deadline, and everything that the peer sizes is
// bounded before it is allocated. TLS is not spoken (crypto/tls has no external
// pre-shared keys); a [Probe] of a TLS address ends after the TCP connect.
//
// Sources: NVM Express NVMe/TCP Transport Specification 1.1 ("TCP" below), NVM
// Express Base Specification 2.1 ("Base"), and what Linux accepts
// (drivers/nvme/host/tcp.c, include/linux/nvme-tcp.h), which is stricter.
package nvmetcp
