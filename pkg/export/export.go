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

// Notes tells what no file says: secrets, and what nvme-cli cannot do without.
func Notes(list []config.Controller) (notes []string) {
	for _, c := range list {
		for _, s := range []struct {
			key    string
			secret tid.Secret
		}{{"dhchap-secret", c.Params.DHCHAPSecret}, {"dhchap-ctrl-secret", c.Params.DHCHAPCtrl}, {"tls-key", c.Params.TLSKey}} {
			if !s.secret.IsZero() {
				notes = append(notes, fmt.Sprintf("%s: %s is left out", c.Where, s.key))
			}
		}
		if c.Transport == nvme.FC && c.HostTraddr == "" {
			notes = append(notes, c.Where+": there is no host-traddr, and nvme-cli needs one for fc")
		}
	}
	return notes
}

// DiscoveryConf writes the discovery controllers as discovery.conf, one line of options of
// nvme discover for each; system is who connects where a controller names no other host, and is named
// where nvme-cli would take another one. The notes tell what is left out.
func DiscoveryConf(w io.Writer, list []config.Controller, system tid.Host, named bool) (notes []string, err error) {
	others := 0
	for _, c := range list {
		if c.Kind != tid.Discovery {
			others++
			continue
		}
		var host tid.Host // without one nvme-cli takes that of the system
		if named || c.HostNQN != "" || c.Scope.Host.NQN != "" {
			host = identityOf(c, system)
		}
		line, lost := "", ""
		for _, f := range []struct{ option, value string }{
			{"transport", string(c.Transport)}, {"traddr", c.Traddr}, {"trsvcid", c.Trsvcid}, {"nqn", c.NQN},
			{"host-traddr", c.HostTraddr}, {"host-iface", c.HostIface}, {"hostnqn", host.NQN}, {"hostid", host.ID},
			{"keyring", c.Params.Keyring}, {"tls-key-identity", c.Params.TLSKeyIdentity},
		} {
			switch {
			case f.value == "":
			case !strings.ContainsAny(f.value, " ="): // where nvme-cli ends a word (nvme-cli/fabrics.c)
				line += " --" + f.option + "=" + f.value
			case f.option == "tls-key-identity":
				notes = append(notes, c.Where+": tls-key-identity is left out, as no value there can have a space or an equals sign")
			default:
				lost = f.option
			}
		}
		if lost != "" {
			notes = append(notes, fmt.Sprintf("%s: the controller is left out, as no value there, such as its %s, can have a space or an equals sign", c.Where, lost))
			continue
		}
		for option, value := range config.WithoutSecrets(c.Params).Options() {
			if option != "fast_io_fail_tmo" { // nvme-cli spells this one so
				option = strings.ReplaceAll(option, "_", "-")
			}
			line += " --" + option
			if value != "" {
				line += "=" + value
			}
		}
		if c.Persistent != config.PersistDefault {
			notes = append(notes, fmt.Sprintf("%s: persistent=%s is left out", c.Where, c.Persistent))
		}
		if _, err := fmt.Fprintln(w, line[1:]); err != nil {
			return nil, err
		}
	}
	if others > 0 {
		notes = append(notes, fmt.Sprintf("I/O controllers, %d of them, are left out: the file has discovery controllers only", others))
	}
	return notes, nil
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
			port["discovery"] = true
			if c.Persistent != config.PersistNo { // whatever its value, where it is there it means yes (libnvme/src/nvme/json.c)
				port["persistent"] = true
			}
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
		for _, f := range []struct{ key, value string }{{"trsvcid", c.Trsvcid}, {"host_traddr", c.HostTraddr}, {"host_iface", c.HostIface},
			{"keyring", c.Params.Keyring}, {"tls_key_identity", c.Params.TLSKeyIdentity}} {
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
