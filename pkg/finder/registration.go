package finder

import (
	"cmp"
	"os"
	"strings"
	"sync"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// registration is the data with which this host makes itself known to a discovery
// controller. An empty source address has the controller take that of the connection.
func registration(host tid.Host, symname, source string) ([]byte, error) {
	id, err := nvme.ParseHostID(host.ID)
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	family := nvme.AddrFamilyIPv4
	if strings.Contains(source, ":") {
		family = nvme.AddrFamilyIPv6
	}
	dim := &nvme.DIM{EntityType: nvme.DIMHost, NQN: host.NQN, Name: name, Version: systemVersion(),
		Entries: []nvme.DIMEntry{{
			DiscoveryEntry: nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: family, SubNQN: host.NQN, Traddr: source},
			HostID:         id, SymbolicName: symname,
		}}}
	return dim.Encode()
}

// symName is the symbolic name under which the host nqn is registered: that of the file that gave the NQN, else the
// system's.
func (f *Finder) symName(nqn string) string { return cmp.Or(f.symNames[nqn], f.identity.SymName) }

// symNamesOf are the symbolic names that files give their hosts, by NQN. Of several the first counts.
func symNamesOf(cfg *config.Staf, system string) map[string]string {
	names := make(map[string]string)
	for _, c := range cfg.Controllers {
		if nqn := cmp.Or(c.Scope.Host.NQN, system); c.Scope.SymName != "" && names[nqn] == "" {
			names[nqn] = c.Scope.SymName
		}
	}
	return names
}

// systemVersion names the operating system, as os-release(5) has it, in at most the 64
// bytes that a registration holds.
var systemVersion = sync.OnceValue(func() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			v = strings.Trim(v, `"'`)
			return strings.ToValidUTF8(v[:min(len(v), 64)], "")
		}
	}
	return "Linux"
})
