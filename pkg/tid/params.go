package tid

import (
	"iter"
	"strconv"
)

// Int is an integer parameter that may be unset. The zero value is unset.
type Int struct {
	value int32
	set   bool
}

// SetInt is an Int that holds v.
func SetInt(v int32) Int { return Int{v, true} }

// Get gives the value and whether there is one.
func (i Int) Get() (int32, bool) { return i.value, i.set }

// Flag is a boolean parameter that may be unset.
type Flag uint8

// The values of a Flag.
const (
	Unset Flag = iota
	Off
	On
)

// SetFlag is the Flag for b.
func SetFlag(b bool) Flag {
	if b {
		return On
	}
	return Off
}

// Params are the connection parameters that the kernel takes beside the
// Transport ID (drivers/nvme/host/fabrics.c, opt_tokens). They are not part of
// a connection's identity. The zero value leaves everything to the kernel.
// Params is comparable: two equal values ask for the same connection.
type Params struct {
	QueueSize      Int // entries
	NrIOQueues     Int
	NrWriteQueues  Int
	NrPollQueues   Int
	KeepAliveTmo   Int // seconds
	ReconnectDelay Int // seconds
	CtrlLossTmo    Int // seconds, -1 = for ever
	FastIOFailTmo  Int // seconds, -1 = off
	TOS            Int // 0 to 255

	DuplicateConnect Flag
	DisableSQFlow    Flag
	HdrDigest        Flag
	DataDigest       Flag
	TLS              Flag
	Concat           Flag

	Keyring        string // name or serial
	TLSKeyIdentity string
	TLSKey         Secret // NVMeTLSkey-1 interchange form, or the serial of a key
	DHCHAPSecret   Secret
	DHCHAPCtrl     Secret // secret that the controller must prove
}

// WantsTLS says whether the connection is to use TLS with a key of its own: where
// that is said, and where it is not but a key is given, which had no use otherwise.
func (p Params) WantsTLS() bool {
	return p.TLS == On || p.TLS == Unset && p.Concat != On && (!p.TLSKey.IsZero() || p.TLSKeyIdentity != "")
}

// Over gives p with what it leaves unset taken from base.
func (p Params) Over(base Params) Params {
	ints, baseInts := p.ints(), base.ints()
	for i, f := range ints {
		if !f.set {
			*f = *baseInts[i]
		}
	}
	flags, baseFlags := p.flags(), base.flags()
	for i, f := range flags {
		if *f == Unset {
			*f = *baseFlags[i]
		}
	}
	texts, baseTexts := p.texts(), base.texts()
	for i, f := range texts {
		if *f == "" {
			*f = *baseTexts[i]
		}
	}
	secrets, baseSecrets := p.secrets(), base.secrets()
	for i, f := range secrets {
		if f.IsZero() {
			*f = *baseSecrets[i]
		}
	}
	return p
}

func (p *Params) ints() []*Int {
	return []*Int{&p.QueueSize, &p.NrIOQueues, &p.NrWriteQueues, &p.NrPollQueues, &p.KeepAliveTmo,
		&p.ReconnectDelay, &p.CtrlLossTmo, &p.FastIOFailTmo, &p.TOS}
}

func (p *Params) flags() []*Flag {
	return []*Flag{&p.DuplicateConnect, &p.DisableSQFlow, &p.HdrDigest, &p.DataDigest, &p.TLS, &p.Concat}
}

func (p *Params) texts() []*string { return []*string{&p.Keyring, &p.TLSKeyIdentity} }

func (p *Params) secrets() []*Secret { return []*Secret{&p.TLSKey, &p.DHCHAPSecret, &p.DHCHAPCtrl} }

// intNames and flagNames are the kernel's option names, in the order of ints and flags.
var (
	intNames = []string{"queue_size", "nr_io_queues", "nr_write_queues", "nr_poll_queues", "keep_alive_tmo",
		"reconnect_delay", "ctrl_loss_tmo", "fast_io_fail_tmo", "tos"}
	flagNames = []string{"duplicate_connect", "disable_sqflow", "hdr_digest", "data_digest", "tls", "concat"}
)

// Options yields every set parameter that is not a secret under the name of its
// /dev/nvme-fabrics option, in a stable order. A flag that is on has the value "", one
// that is off is left out, as the kernel knows flags only by their presence.
func (p Params) Options() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, f := range p.ints() {
			if v, ok := f.Get(); ok && !yield(intNames[i], strconv.Itoa(int(v))) {
				return
			}
		}
		for i, f := range p.flags() {
			if *f == On && !yield(flagNames[i], "") {
				return
			}
		}
	}
}
