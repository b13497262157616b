package config

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// param is one connection parameter under the name that the 2.x files use.
type param struct {
	key         string
	other       string // the name in the 3.x files, where it differs
	least, most int64
	integer     func(*tid.Params) *tid.Int
	flag        func(*tid.Params) *tid.Flag
	text        func(*tid.Params) *string
	secret      func(*tid.Params) *tid.Secret
	valid       func(string) error // of text and secret
}

// params is every connection parameter that a file may set. The bounds are those of
// nvme-stas 2.x and nvme-cli; the kernel's own (drivers/nvme/host/fabrics.c) are wider.
var params = []param{
	{key: "hdr-digest", flag: func(p *tid.Params) *tid.Flag { return &p.HdrDigest }},
	{key: "data-digest", flag: func(p *tid.Params) *tid.Flag { return &p.DataDigest }},
	{key: "kato", other: "keep-alive-tmo", least: 0, most: 4294967, integer: func(p *tid.Params) *tid.Int { return &p.KeepAliveTmo }},
	{key: "queue-size", least: 16, most: 1024, integer: func(p *tid.Params) *tid.Int { return &p.QueueSize }},
	{key: "nr-io-queues", least: 1, most: 65535, integer: func(p *tid.Params) *tid.Int { return &p.NrIOQueues }},
	{key: "nr-write-queues", least: 1, most: 65535, integer: func(p *tid.Params) *tid.Int { return &p.NrWriteQueues }},
	{key: "nr-poll-queues", least: 1, most: 65535, integer: func(p *tid.Params) *tid.Int { return &p.NrPollQueues }},
	{key: "reconnect-delay", least: 1, most: math.MaxInt32, integer: func(p *tid.Params) *tid.Int { return &p.ReconnectDelay }},
	{key: "ctrl-loss-tmo", least: -1, most: math.MaxInt32, integer: func(p *tid.Params) *tid.Int { return &p.CtrlLossTmo }},
	{key: "fast-io-fail-tmo", least: -1, most: math.MaxInt32, integer: func(p *tid.Params) *tid.Int { return &p.FastIOFailTmo }},
	{key: "tos", least: 0, most: 255, integer: func(p *tid.Params) *tid.Int { return &p.TOS }},
	{key: "disable-sqflow", flag: func(p *tid.Params) *tid.Flag { return &p.DisableSQFlow }},
	{key: "duplicate-connect", flag: func(p *tid.Params) *tid.Flag { return &p.DuplicateConnect }},
	{key: "tls", flag: func(p *tid.Params) *tid.Flag { return &p.TLS }},
	{key: "concat", flag: func(p *tid.Params) *tid.Flag { return &p.Concat }},
	{key: "keyring", text: func(p *tid.Params) *string { return &p.Keyring }, valid: optionText},
	{key: "tls-key-identity", text: func(p *tid.Params) *string { return &p.TLSKeyIdentity }, valid: identityText},
	{key: "tls-key", secret: func(p *tid.Params) *tid.Secret { return &p.TLSKey }, valid: checkTLSKey},
	{key: "dhchap-secret", other: "kxchap-secret", secret: func(p *tid.Params) *tid.Secret { return &p.DHCHAPSecret }, valid: nvme.CheckDHCHAPSecret},
	{key: "dhchap-ctrl-secret", other: "kxchap-ctrl-secret", secret: func(p *tid.Params) *tid.Secret { return &p.DHCHAPCtrl }, valid: nvme.CheckDHCHAPSecret},
}

// paramNamed finds a parameter under its 2.x or its 3.x name.
func paramNamed(key string) *param {
	for i := range params {
		if params[i].key == key || params[i].other != "" && params[i].other == key {
			return &params[i]
		}
	}
	return nil
}

// allowed puts into words what the parameter may be.
func (p *param) allowed() string {
	switch {
	case p.integer != nil:
		return bounds(p.least, p.most)
	case p.flag != nil:
		return "are true and false"
	case p.key == "tls-key":
		return "is a key of the form NVMeTLSkey-1:<hash>:<base64>: or the serial number of one in a keyring"
	case p.secret != nil:
		return "is a secret of the form DHHC-1:<hash>:<base64>:"
	}
	if p.key == "tls-key-identity" {
		return "is text that prints"
	}
	return "is text without white space and commas"
}

// set reads value in the spelling of the 2.x files into dst.
func (p *param) set(dst *tid.Params, value string) error {
	switch {
	case p.integer != nil:
		v, err := parseInt(value, p.least, p.most)
		if err != nil {
			return err
		}
		*p.integer(dst) = tid.SetInt(int32(v))
	case p.flag != nil:
		v, err := parseBool(value)
		if err != nil {
			return err
		}
		*p.flag(dst) = tid.SetFlag(v)
	default:
		return p.setText(dst, value)
	}
	return nil
}

func (p *param) setText(dst *tid.Params, value string) error {
	if err := p.valid(value); err != nil {
		return err
	}
	if p.text != nil {
		*p.text(dst) = value
	} else {
		*p.secret(dst) = tid.NewSecret(value)
	}
	return nil
}

// Tunables yields what p sets, without secrets, under the names and in the spelling of
// controller= lines of 2.x.
func Tunables(p tid.Params) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range params {
			if value := params[i].shown(&p); value != "" && !yield(params[i].key, value) {
				return
			}
		}
	}
}

// shown spells the value; empty where there is none, or where it is a secret.
func (p *param) shown(from *tid.Params) string {
	switch {
	case p.integer != nil:
		if v, ok := p.integer(from).Get(); ok {
			return strconv.Itoa(int(v))
		}
	case p.flag != nil:
		if f := *p.flag(from); f != tid.Unset {
			return strconv.FormatBool(f == tid.On)
		}
	case p.text != nil:
		return *p.text(from)
	}
	return ""
}

// hasSecret says whether p has anything that nobody else may see.
func hasSecret(p tid.Params) bool {
	return !p.DHCHAPSecret.IsZero() || !p.DHCHAPCtrl.IsZero() || !p.TLSKey.IsZero()
}

// optionText accepts what an option of /dev/nvme-fabrics can carry, which has no quoting.
func optionText(s string) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }); i >= 0 {
		return fmt.Errorf("the character at position %d is not allowed", i+1)
	}
	return nil
}

// identityText accepts a TLS PSK identity, which has spaces of its own and only names a key in a keyring.
func identityText(s string) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }); i >= 0 {
		return fmt.Errorf("the character at position %d is not allowed", i+1)
	}
	return nil
}

// checkTLSKey accepts an interchange-format PSK or the serial number of a key.
func checkTLSKey(s string) error {
	if _, err := parseInt(s, 1, math.MaxInt32); err == nil {
		return nil
	}
	if strings.HasPrefix(s, "0x") && len(s) > 2 && len(s) <= 10 && strings.Trim(s[2:], "0123456789abcdefABCDEF") == "" {
		return nil
	}
	return nvme.CheckTLSKey(s)
}

// WithoutSecrets gives p without what nobody else may see. That a key meant TLS is said where the key was.
func WithoutSecrets(p tid.Params) tid.Params {
	if p.TLS == tid.Unset && p.WantsTLS() {
		p.TLS = tid.On
	}
	p.DHCHAPSecret, p.DHCHAPCtrl, p.TLSKey = tid.Secret{}, tid.Secret{}, tid.Secret{}
	return p
}
