// Package export writes the configured connections as files of nvme-cli. Secrets are left
// out: nvme-cli takes those of the host from /etc/nvme/hostkey.
package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// DiscoveryConf writes the discovery controllers as discovery.conf, one line of options of
// nvme discover for each; system is who connects where a controller names no other host.
func DiscoveryConf(w io.Writer, list []config.Controller, system tid.Host) error {
	for _, c := range list {
		if c.Kind != tid.Discovery {
			continue
		}
		var host tid.Host // without one nvme-cli takes that of the system
		if c.HostNQN != "" || c.Scope.Host.NQN != "" {
			host = identityOf(c, system)
		}
		line := fmt.Sprintf("--transport=%s --traddr=%s", c.Transport, c.Traddr)
		for _, f := range []struct{ option, value string }{
			{"trsvcid", c.Trsvcid}, {"nqn", c.NQN}, {"host-traddr", c.HostTraddr}, {"host-iface", c.HostIface},
			{"hostnqn", host.NQN}, {"hostid", host.ID},
		} {
			if f.value != "" {
				line += " --" + f.option + "=" + f.value
			}
		}
		for option, value := range config.WithoutSecrets(c.Params).Options() {
			line += " --" + strings.ReplaceAll(option, "_", "-")
			if value != "" {
				line += "=" + value
			}
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// The shape of config.json (nvme-cli, libnvme/doc/config-schema.json).
type host struct {
	HostNQN    string       `json:"hostnqn"`
	HostID     string       `json:"hostid,omitempty"`
	Subsystems []*subsystem `json:"subsystems"`
}

type subsystem struct {
	NQN   string           `json:"nqn"`
	Ports []map[string]any `json:"ports"`
}

// ConfigJSON writes all controllers as config.json; system is who connects where a
// controller names no other host.
func ConfigJSON(w io.Writer, list []config.Controller, system tid.Host) error {
	hosts := []*host{}
	for _, c := range list {
		h := hostOf(&hosts, c, system)
		s := h.subsystem(c.NQN)
		port := map[string]any{"transport": string(c.Transport), "traddr": c.Traddr}
		for key, value := range optional(c) {
			port[key] = value
		}
		if c.Kind == tid.Discovery {
			port["discovery"], port["persistent"] = true, c.Persistent != config.PersistNo
		}
		s.Ports = append(s.Ports, port)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(hosts)
}

// identityOf is the pair that c is connected with: where no ID is configured, the one that the daemons make of the NQN.
func identityOf(c config.Controller, system tid.Host) tid.Host {
	nqn := cmp.Or(c.HostNQN, c.Scope.Host.NQN, system.NQN)
	for _, known := range []tid.Host{c.Scope.Host, system} {
		if known.NQN == nqn {
			return known
		}
	}
	return tid.Host{NQN: nqn, ID: nvme.HostIDFor(nqn).String()}
}

func hostOf(hosts *[]*host, c config.Controller, system tid.Host) *host {
	id := identityOf(c, system)
	for _, h := range *hosts {
		if h.HostNQN == id.NQN {
			return h
		}
	}
	h := &host{HostNQN: id.NQN, HostID: id.ID}
	*hosts = append(*hosts, h)
	return h
}

func (h *host) subsystem(nqn string) *subsystem {
	for _, s := range h.Subsystems {
		if s.NQN == nqn {
			return s
		}
	}
	s := &subsystem{NQN: nqn}
	h.Subsystems = append(h.Subsystems, s)
	return s
}

// optional yields what a port may have besides.
func optional(c config.Controller) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, f := range []struct{ key, value string }{{"trsvcid", c.Trsvcid}, {"host_traddr", c.HostTraddr}, {"host_iface", c.HostIface}} {
			if f.value != "" && !yield(f.key, f.value) {
				return
			}
		}
		for key, text := range config.WithoutSecrets(c.Params).Options() {
			var value any = true
			if n, err := strconv.Atoi(text); err == nil {
				value = n
			}
			if !yield(key, value) {
				return
			}
		}
	}
}
