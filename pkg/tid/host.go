package tid

// Host is the identity under which connections are made. The kernel demands
// that NQN and ID come as a 1:1 pair (since 6.5; drivers/nvme/host/fabrics.c, nvmf_host_add).
type Host struct {
	NQN string
	ID  string // UUID text
}
