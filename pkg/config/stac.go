package config

import (
	"fmt"
	"math"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// DefaultStac is what holds without any file.
func DefaultStac() *Stac {
	s := &Stac{DisconnectTransports: []nvme.Transport{nvme.TCP}, HonorFabricZoning: true}
	s.Families = Families{V4: true, V6: true}
	return s
}

const ioSection = "I/O controller connection management"

// stacSettings is every key of stacd.conf.
func stacSettings(s *Stac, scope *Scope, old *oldStac) []setting {
	list := append(s.globalSettings("the kernel's default"), s.controllerSettings(tid.IO, scope)...)
	for _, key := range []string{"nr-io-queues", "nr-write-queues", "nr-poll-queues"} {
		p := paramNamed(key)
		list = append(list, setting{section: "Global", key: key, allowed: p.allowed(), usual: "the kernel's default",
			set: func(v string) error { return p.set(&s.Defaults, v) }})
	}
	scopes := []DisconnectScope{DisconnectOwn, DisconnectMatching, DisconnectNone}
	return append(list,
		setting{section: ioSection, key: "disconnect-scope", usual: "the default only-stas-connections",
			allowed: "are only-stas-connections, all-connections-matching-disconnect-trtypes, no-disconnect",
			set:     func(v string) error { return store(&old.scope)(some(oneOf(v, scopeNames[:], scopes))) }},
		setting{section: ioSection, key: "disconnect-trtypes", allowed: "are tcp, rdma, fc, joined by \"+\"", usual: "the default tcp",
			set: func(v string) error {
				list, _, err := parseTransports(v)
				return store(&s.DisconnectTransports)(list, err)
			},
			check: func(v string) []odd {
				var texts []odd
				good, unknown, _ := parseTransports(v)
				for _, word := range unknown {
					texts = append(texts, odd{fmt.Sprintf("%q is not a transport that can be chosen; it is left out", word), joined(good)})
				}
				return texts
			}},
		setting{section: ioSection, key: "connect-attempts-on-ncc", usual: "the default 0",
			allowed: "are 0 (no limit) and numbers from 2",
			set: func(v string) error {
				n, err := parseInt(v, 0, math.MaxInt32)
				return store(&s.ConnectAttemptsOnNCC)(atLeastTwo(int(n)), err)
			},
			check: func(v string) []odd {
				if n, err := parseInt(v, 1, 1); err == nil && n == 1 {
					return []odd{{"one failure proves nothing; allowed are 0 (no limit) and numbers from 2; using 2", "2"}}
				}
				return nil
			}},
		setting{section: ioSection, key: "honor-fabric-zoning", allowed: "are yes and no", usual: "the default yes",
			set: func(v string) error { return store(&old.zoning)(asFlag(parseWord(v, "yes", "no"))) }},
		setting{section: ioSection, key: "nbft-reconnect", allowed: "are yes and no", usual: "the default no",
			set: func(v string) error { return store(&s.NBFTReconnect)(parseWord(v, "yes", "no")) }},
		setting{section: "Global", key: "udev-rule", allowed: "are enabled and disabled", usual: "nothing",
			deprecated: "it has no effect, udev rules are left alone", set: func(string) error { return nil }},
		setting{section: "Global", key: "sticky-connections", allowed: "are enabled and disabled", usual: "the default only-stas-connections",
			deprecated: "write disconnect-scope=no-disconnect for enabled, disconnect-scope=only-stas-connections for disabled",
			renew: moveTo(ioSection, func(v string) string {
				if old.scope != nil {
					return "" // it wins
				}
				if v == "enabled" {
					return "disconnect-scope=no-disconnect"
				}
				return "disconnect-scope=only-stas-connections"
			}),
			set: func(v string) error { return store(&old.sticky)(asFlag(parseWord(v, "enabled", "disabled"))) }},
	)
}

// oldStac holds keys that another key may override, whatever their order.
type oldStac struct {
	scope          *DisconnectScope
	sticky, zoning tid.Flag
}

// settle decides between old and new spellings. Where two keys disagree the one that
// disconnects less counts.
func (o *oldStac) settle(s *Stac) {
	switch {
	case o.scope != nil:
		s.DisconnectScope = *o.scope
	case o.sticky == tid.On:
		s.DisconnectScope = DisconnectNone
	}
	s.HonorFabricZoning = o.zoning != tid.Off && s.DisconnectScope != DisconnectNone
}

func joined(list []nvme.Transport) string {
	words := make([]string, len(list))
	for i, t := range list {
		words[i] = string(t)
	}
	return strings.Join(words, "+")
}

func atLeastTwo(n int) int {
	if n == 1 {
		return 2
	}
	return n
}
