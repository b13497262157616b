package nvme

// Transport names an NVMe-oF transport the way Linux spells it in the
// "transport=" option of /dev/nvme-fabrics and in sysfs (drivers/nvme/host/fabrics.c).
type Transport string

// The transports that stas manages. PCIe appears in sysfs and is never touched.
const (
	TCP  Transport = "tcp"
	RDMA Transport = "rdma"
	FC   Transport = "fc"
	Loop Transport = "loop"
	PCIe Transport = "pcie"
)

// Fabric says whether t is a transport that stas may open, list or disconnect.
func (t Transport) Fabric() bool {
	switch t {
	case TCP, RDMA, FC, Loop:
		return true
	}
	return false
}

// IP says whether addresses of t are IP addresses.
func (t Transport) IP() bool { return t == TCP || t == RDMA }

// IANA-registered ports: 4420 for I/O controllers and for everything over RDMA,
// 8009 for discovery controllers over TCP (NVMe/TCP transport specification, section 3.1.1).
const (
	PortIO        = "4420"
	PortDiscovery = "8009"
)

// DefaultPort is the transport service that is meant where none is given;
// empty for transports that have none.
func (t Transport) DefaultPort(discovery bool) string {
	switch {
	case t == TCP && discovery:
		return PortDiscovery
	case t == TCP, t == RDMA:
		return PortIO
	}
	return ""
}
