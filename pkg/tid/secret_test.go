package tid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
)

const key = "DHHC-1:00:c3VwZXIgc2VjcmV0IGtleSB0aGF0IG5vYm9keSBzZWVz:"

// TestSecretShowsNothing formats, marshals and logs a secret in every way there is, alone and
// inside of what usually carries it.
func TestSecretShowsNothing(t *testing.T) {
	s := NewSecret(key)
	p := Params{DHCHAPSecret: s, DHCHAPCtrl: s, TLSKey: s}
	carriers := map[string]any{
		"secret": s, "pointer": &s, "params": p, "pointer to params": &p, "slice": []Secret{s}, "map": map[string]Secret{"k": s},
		"map key": map[Secret]int{s: 1}, "interface": []any{s, &p}, "nested": struct{ P *Params }{&p}, "array": [1]Secret{s},
	}
	var shown []string
	for name, v := range carriers {
		for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
			for _, flags := range []string{"", "+", "#", "-20", "020", " ", ".3"} {
				shown = append(shown, name+": "+fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
		shown = append(shown, fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("cannot use %v: %w", v, errors.ErrUnsupported).Error())
		if b, err := json.Marshal(v); err == nil {
			shown = append(shown, string(b))
		} else {
			shown = append(shown, err.Error())
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v, slog.Any("group", slog.GroupValue(slog.Any("v", v))))
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
		shown = append(shown, text.String(), js.String())
	}
	hex := fmt.Sprintf("%x", key[10:20])
	for _, text := range shown {
		if strings.Contains(text, key[10:20]) || strings.Contains(strings.ToLower(text), hex) || strings.Contains(text, "c3VwZX") {
			t.Errorf("shows the secret: %s", text)
		}
	}
	if got := fmt.Sprintf("%v %s %q %#v %+v", s, s, s, s, &s); got != strings.TrimSpace(strings.Repeat(redacted+" ", 5)) {
		t.Errorf("formatted as %s", got)
	}
	if s.Reveal() != key || s != NewSecret(key) || s.IsZero() || !(Secret{}).IsZero() {
		t.Error("a secret is not what it was made of")
	}
	if got := fmt.Sprint(Secret{}); got != "" {
		t.Errorf("no secret is shown as %q", got)
	}
}

func TestOptionsHoldNoSecret(t *testing.T) {
	p := Params{QueueSize: SetInt(128), CtrlLossTmo: SetInt(-1), TOS: SetInt(0), TLS: On, HdrDigest: Off, DHCHAPSecret: NewSecret(key), TLSKey: NewSecret(key),
		DHCHAPCtrl: NewSecret(key)}
	got := maps.Collect(p.Options())
	want := map[string]string{"queue_size": "128", "ctrl_loss_tmo": "-1", "tos": "0", "tls": ""}
	if !maps.Equal(got, want) {
		t.Errorf("options %v, want %v", got, want)
	}
	for range p.Options() {
		break // an early end is not held against the caller
	}
	if slices.Contains(slices.Collect(maps.Values(got)), key) {
		t.Error("an option holds the secret")
	}
}

// TestParamsOver sets every single field on either side.
func TestParamsOver(t *testing.T) {
	fields := []struct {
		name string
		set  func(*Params, int)
	}{}
	var probe Params
	for i, n := range intNames {
		fields = append(fields, struct {
			name string
			set  func(*Params, int)
		}{n, func(p *Params, v int) { *p.ints()[i] = SetInt(int32(v)) }})
	}
	for i, n := range flagNames {
		fields = append(fields, struct {
			name string
			set  func(*Params, int)
		}{n, func(p *Params, v int) { *p.flags()[i] = Flag(v) }})
	}
	for i := range probe.texts() {
		fields = append(fields, struct {
			name string
			set  func(*Params, int)
		}{fmt.Sprint("text ", i), func(p *Params, v int) { *p.texts()[i] = fmt.Sprint(v) }})
	}
	for i := range probe.secrets() {
		fields = append(fields, struct {
			name string
			set  func(*Params, int)
		}{fmt.Sprint("secret ", i), func(p *Params, v int) { *p.secrets()[i] = NewSecret(fmt.Sprint(v)) }})
	}
	if len(fields) != 20 {
		t.Fatalf("%d fields; Params has 20", len(fields))
	}
	for _, f := range fields {
		one, two := with(Params{}, func(p *Params) { f.set(p, 1) }), with(Params{}, func(p *Params) { f.set(p, 2) })
		if one == two || one == (Params{}) {
			t.Fatalf("%s: the field is not set", f.name)
		}
		for _, tt := range []struct{ p, base, want Params }{
			{one, two, one}, {Params{}, two, two}, {one, Params{}, one}, {Params{}, Params{}, Params{}},
		} {
			p, base := tt.p, tt.base
			if got := p.Over(base); got != tt.want {
				t.Errorf("%s: %+v over %+v is %+v", f.name, tt.p, tt.base, got)
			}
			if p != tt.p || base != tt.base {
				t.Errorf("%s: Over changes what it is given", f.name)
			}
		}
	}
}

func TestHideSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"no secret in it":                                      "no secret in it",
		`"DHHC-1:00:abcd==:" is no NQN`:                        `"[redacted]" is no NQN`,
		"a DHHC-1:<hash>:<key>: of 32 bytes":                   "a DHHC-1:<hash>:<key>: of 32 bytes",
		`NQN "nqn.2014-08.org.a dhchap-secret=hunter2" is bad`: `NQN "nqn.2014-08.org.a dhchap-secret=[redacted]" is bad`,
		"dhchap-ctrl-secret = x;nqn=y":                         "dhchap-ctrl-secret = [redacted];nqn=y",
	} {
		if got := HideSecrets(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
		if again := HideSecrets(want); again != want {
			t.Errorf("%s: %s", want, again)
		}
	}
}
