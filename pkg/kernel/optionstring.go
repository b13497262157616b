package kernel

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// discoveryKATO is the keep-alive of a discovery connection in seconds where none is
// asked for. The kernel's own default is none, with which targets hang up after two minutes.
const discoveryKATO = 30

// What the transports take (allowed_opts of drivers/nvme/host/{tcp,rdma,fc}.c and
// drivers/nvme/target/loop.c); generic options go with each (NVMF_ALLOWED_OPTS in fabrics.c).
var (
	genericOptions = []string{"queue_size", "nr_io_queues", "keep_alive_tmo", "hostnqn", "hostid", "duplicate_connect",
		"disable_sqflow", "discovery", "fast_io_fail_tmo", "dhchap_secret", "dhchap_ctrl_secret"}
	transportOptions = map[nvme.Transport][]string{
		nvme.TCP: {"traddr", "trsvcid", "reconnect_delay", "host_traddr", "ctrl_loss_tmo", "hdr_digest", "data_digest",
			"nr_write_queues", "nr_poll_queues", "tos", "host_iface", "tls", "keyring", "tls_key", "concat"},
		nvme.RDMA: {"traddr", "trsvcid", "reconnect_delay", "host_traddr", "ctrl_loss_tmo", "nr_write_queues", "nr_poll_queues", "tos"},
		nvme.FC:   {"traddr", "host_traddr", "reconnect_delay", "ctrl_loss_tmo"},
		nvme.Loop: {"traddr"},
	}
)

// essential options must not be left out: the connection would be less safe than asked
// for, to another target, or another than the one that is found again later.
var essential = []string{"traddr", "trsvcid", "host_traddr", "host_iface", "hostnqn", "hostid",
	"dhchap_secret", "dhchap_ctrl_secret", "tls", "tls_key", "keyring", "concat"}

// moot options mean nothing to a discovery controller: it has no I/O queues, and the kernel
// never looks for duplicates of it.
var moot = []string{"nr_io_queues", "nr_write_queues", "nr_poll_queues", "duplicate_connect"}

// wanted is a ConnectRequest with its parameters spelled out. It goes through the pipe and
// must never be printed.
type wanted struct {
	TID        tid.TID
	Kind       tid.Kind
	Host       tid.Host
	Options    [][2]string // name and value, "" for a flag
	Owner      string
	Attributes map[string]string

	Keyring        string
	TLSKeyIdentity string
	TLSKey         string
	DHCHAPSecret   string
	DHCHAPCtrl     string
}

// Format implements [fmt.Formatter]: in the worker secrets are plain text, and nothing but the pipe and the kernel has them.
func (w wanted) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "connect ", w.TID) }

func newWanted(r ConnectRequest) wanted {
	w := wanted{TID: r.TID, Kind: r.Kind, Host: r.Host, Owner: r.Owner, Attributes: r.Attributes,
		Keyring: r.Params.Keyring, TLSKeyIdentity: r.Params.TLSKeyIdentity, TLSKey: r.Params.TLSKey.Reveal(),
		DHCHAPSecret: r.Params.DHCHAPSecret.Reveal(), DHCHAPCtrl: r.Params.DHCHAPCtrl.Reveal()}
	if r.Params.WantsTLS() {
		// A key without the flag would be ignored, and the connection be in the clear.
		r.Params.TLS = tid.On
	}
	for name, value := range r.Params.Options() {
		w.Options = append(w.Options, [2]string{name, value})
	}
	return w
}

// has says whether an option is among those that are asked for.
func (w *wanted) has(name string) bool {
	return slices.ContainsFunc(w.Options, func(o [2]string) bool { return o[0] == name })
}

// hostNQN is the host NQN that is sent.
func (w *wanted) hostNQN() string { return cmp.Or(w.TID.HostNQN, w.Host.NQN) }

// optionString makes what is written to /dev/nvme-fabrics, and tells which options were left
// out as the transport or the kernel does not know them. keys are the serials of keyring and
// TLS key, "" where there are none. The result holds secrets.
func optionString(w wanted, known Options, keys tlsKeys, pageSize int) (text []byte, leftOut []string, err error) {
	allowed, ok := transportOptions[w.TID.Transport]
	if !ok {
		return nil, nil, refuse(w.TID, "transport %q is none of tcp, rdma, fc, loop", w.TID.Transport)
	}
	if w.hostNQN() == "" || w.Host.ID == "" {
		return nil, nil, refuse(w.TID, "host NQN and host ID are needed, both")
	}
	if w.TID.HostNQN != "" && w.Host.NQN != "" && w.TID.HostNQN != w.Host.NQN {
		return nil, nil, refuse(w.TID, "the host ID belongs to another host NQN than the connection's")
	}
	b := optionBuilder{tid: w.TID, allowed: allowed, known: known}
	// nqn comes before discovery: parsing it sets the kernel's notion of whether this is
	// a discovery controller.
	b.add("nqn", w.TID.NQN)
	b.add("transport", string(w.TID.Transport))
	b.addSet("traddr", w.TID.Traddr)
	b.addSet("trsvcid", w.TID.Trsvcid)
	b.addSet("host_traddr", w.TID.HostTraddr)
	b.addSet("host_iface", w.TID.HostIface)
	b.add("hostnqn", w.hostNQN())
	b.add("hostid", w.Host.ID)
	if w.Kind == tid.Discovery {
		b.discovery(w.TID.NQN)
	}
	b.params(w)
	b.addSet("keyring", keys.keyring)
	b.addSet("tls_key", keys.key)
	b.addSet("dhchap_secret", w.DHCHAPSecret)
	b.addSet("dhchap_ctrl_secret", w.DHCHAPCtrl)
	b.concat(w)
	if b.err == nil && len(b.text) >= pageSize {
		b.err = refuse(w.TID, "the options take %d bytes, the kernel reads fewer than %d", len(b.text), pageSize)
	}
	if b.err != nil {
		clear(b.text)
		return nil, nil, b.err
	}
	return b.text, b.leftOut, nil
}

type optionBuilder struct {
	tid     tid.TID
	allowed []string
	known   Options
	text    []byte
	leftOut []string
	err     error
}

func (b *optionBuilder) addSet(name, value string) {
	if value != "" {
		b.add(name, value)
	}
}

// add appends name=value, or name alone where the value is "".
func (b *optionBuilder) add(name, value string) {
	if b.err != nil || !b.takes(name) {
		return
	}
	// There is no quoting: a comma or line end would begin another option.
	if i := strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }); i >= 0 {
		b.err = refuse(b.tid, "the value of %s has a character at offset %d that no option can hold", name, i)
		return
	}
	if len(b.text) > 0 {
		b.text = append(b.text, ',')
	}
	b.text = append(b.text, name...)
	if value != "" {
		b.text = append(append(b.text, '='), value...)
	}
}

// takes says whether an option can be sent, and notes the reason where it cannot.
func (b *optionBuilder) takes(name string) bool {
	var reason string
	switch {
	case name == "nqn" || name == "transport":
	case !slices.Contains(genericOptions, name) && !slices.Contains(b.allowed, name):
		reason = "transport " + string(b.tid.Transport) + " does not take " + name
	case !b.known.Has(name):
		reason = "this kernel does not know " + name
	}
	if reason == "" {
		return true
	}
	if slices.Contains(essential, name) {
		b.err = refuse(b.tid, "%s", reason)
	} else {
		b.leftOut = append(b.leftOut, reason)
	}
	return false
}

// discovery marks a discovery controller. The well-known NQN does so by itself, on
// kernels too old for the flag.
func (b *optionBuilder) discovery(nqn string) {
	if b.known.Has("discovery") {
		b.add("discovery", "")
		return
	}
	if nqn != nvme.DiscoveryNQN && b.err == nil {
		b.err = refuse(b.tid, "this kernel connects discovery controllers by the well-known NQN only")
	}
}

// concat says of secure concatenation, whose key comes out of the authentication, what the kernel would refuse as an
// invalid option without saying which (drivers/nvme/host/fabrics.c, nvmf_parse_options).
func (b *optionBuilder) concat(w wanted) {
	switch {
	case b.err != nil || !w.has("concat"):
	case w.has("tls"):
		b.err = refuse(b.tid, "tls and concat exclude each other")
	case w.DHCHAPSecret == "":
		b.err = &ConnectError{TID: b.tid, Class: Auth, Detail: "concat takes a DH-HMAC-CHAP secret of this host, and there is none"}
	}
}

func (b *optionBuilder) params(w wanted) {
	kato := false
	for _, o := range w.Options {
		name, value := o[0], o[1]
		if w.Kind == tid.Discovery {
			if slices.Contains(moot, name) {
				continue
			}
			if name == "keep_alive_tmo" {
				kato = true
				if seconds, err := strconv.Atoi(value); err != nil || seconds <= 0 {
					value = strconv.Itoa(discoveryKATO)
				}
			}
		}
		b.add(name, value)
	}
	if w.Kind == tid.Discovery && !kato {
		b.add("keep_alive_tmo", strconv.Itoa(discoveryKATO))
	}
}
