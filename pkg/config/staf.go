package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/stas-go/stas/pkg/tid"
)

// DefaultStaf is what holds without any file.
func DefaultStaf() *Staf {
	s := &Staf{
		PLEO: true, Zeroconf: true, Persistent: PersistHold, PersistentConnections: true,
		DCGiveUp: 72 * time.Hour, EPCSDPollInterval: 15 * time.Minute,
		EmptyPageHoldDown: 30 * time.Second, LogPageRefresh: 15 * time.Minute,
	}
	s.Families = Families{V4: true, V6: true}
	s.Defaults.KeepAliveTmo = tid.SetInt(30)
	return s
}

const dcSection = "Discovery controller connection management"

// stafSettings is every key of stafd.conf. old collects the keys whose meaning depends on
// another one that may come later; see [oldStaf.settle].
func stafSettings(s *Staf, scope *Scope, old *oldStaf) []setting {
	list := append(s.globalSettings("the default 30"), s.controllerSettings(tid.Discovery, scope)...)
	return append(list,
		setting{section: "Global", key: "pleo", allowed: "are enabled and disabled", usual: "the default enabled",
			set: func(v string) error { return store(&s.PLEO)(parseWord(v, "enabled", "disabled")) }},
		setting{section: "Service Discovery", key: "zeroconf", allowed: "are enabled and disabled", usual: "the default enabled",
			set: func(v string) error { return store(&s.Zeroconf)(parseWord(v, "enabled", "disabled")) }},
		setting{section: dcSection, key: "persistent-connections", allowed: "are true and false", usual: "the default true",
			set: func(v string) error { return store(&old.persistent)(asFlag(parseBool(v))) }},
		setting{section: dcSection, key: "persistent", allowed: "are force, auto, no", usual: "the default force",
			set: func(v string) error { return store(&s.Persistent)(parsePersistence(v)) }},
		setting{section: dcSection, key: "dc-giveup-timeout", allowed: "are infinity, 0, seconds, or a time span such as 3days or 2h30m",
			usual: "the default 72hours", check: warnMonth,
			set: func(v string) error { return store(&old.giveUp)(some(parseSpan(v))) }},
		setting{section: dcSection, key: "epcsd-poll-interval-minutes", allowed: bounds(1, maxMinutes), usual: "the default 15",
			set: func(v string) error { return store(&s.EPCSDPollInterval)(minutes(v, 1)) }},
		setting{section: dcSection, key: "fc-kickstart-interval-minutes", allowed: bounds(0, maxMinutes), usual: "the default 0",
			set: func(v string) error { return store(&s.FCKickstartInterval)(minutes(v, 0)) }},
		setting{section: dcSection, key: "empty-page-hold-down", allowed: "are 0, seconds, or a time span such as 30s",
			usual: "the default 30s", check: warnMonth,
			set: func(v string) error { return store(&s.EmptyPageHoldDown)(finiteSpan(v)) }},
		setting{section: dcSection, key: "log-page-refresh", allowed: "are 0 (never), and time spans from 10s, such as 15min",
			usual: "the default 15min", check: warnMonth,
			set: func(v string) error { return store(&s.LogPageRefresh)(refreshSpan(v)) }},
		setting{section: dcSection, key: "nbft", allowed: "are protect, connect, off", usual: "the default protect",
			set: func(v string) error {
				return store(&s.NBFT)(oneOf(v, []string{"protect", "connect", "off"}, []NBFTMode{NBFTProtect, NBFTConnect, NBFTOff}))
			}},
		// Deprecated keys come behind their successors, whose values decide how they are renewed.
		setting{section: "Global", key: "persistent-connections", allowed: "are true and false", usual: "the default false",
			deprecated: "write it in [" + dcSection + "]",
			renew: moveTo(dcSection, func(v string) string {
				if old.persistent == tid.On {
					return "" // true in one place is true
				}
				return "persistent-connections=" + v
			}),
			set: func(v string) error { return store(&old.globalPersistent)(asFlag(parseBool(v))) }},
		setting{section: dcSection, key: "zeroconf-connections-persistence", deprecated: "write dc-giveup-timeout",
			allowed: "are -1 (no end), 0, seconds, or a time span such as \"3 days, 5 hours\"", usual: "the default 72hours",
			set: func(v string) error { return store(&old.persistence)(some(parseOldSpan(v))) }, check: warnMinute, renew: old.renewPersistence},
	)
}

// oldStaf holds keys that another key may override, whatever their order.
type oldStaf struct {
	persistent, globalPersistent tid.Flag
	persistence, giveUp          *time.Duration
}

// settle decides between old and new spellings: where either place of persistent-connections
// is given, true in one of them is true; dc-giveup-timeout wins over zeroconf-connections-persistence.
func (o *oldStaf) settle(s *Staf) {
	if o.persistent != tid.Unset || o.globalPersistent != tid.Unset {
		s.PersistentConnections = o.persistent == tid.On || o.globalPersistent == tid.On
	}
	switch {
	case o.giveUp != nil:
		s.DCGiveUp = *o.giveUp
	case o.persistence != nil:
		s.DCGiveUp = *o.persistence
	}
}

// maxMinutes is a year.
const maxMinutes = 366 * 24 * 60

func minutes(s string, least int64) (time.Duration, error) {
	v, err := parseInt(s, least, maxMinutes)
	return time.Duration(v) * time.Minute, err
}

// refreshSpan keeps a slip such as "15" for 15 minutes from turning into load on the fabric.
func refreshSpan(s string) (time.Duration, error) {
	d, err := finiteSpan(s)
	if err == nil && d > 0 && d < 10*time.Second {
		return 0, errors.New("out of range")
	}
	return d, err
}

// warnMonth tells of the unit M in a new key, where it is a month.
func warnMonth(v string) []odd {
	if bigM.MatchString(v) {
		return []odd{{"M is a month here", bigM.ReplaceAllStringFunc(v, func(s string) string { return strings.Replace(s, "M", "months", 1) })}}
	}
	return nil
}

// warnMinute tells of the unit M in the old key, where it is a minute.
func warnMinute(v string) []odd {
	if bigM.MatchString(v) {
		return []odd{{text: "M is a minute here"}}
	}
	return nil
}

// renewPersistence writes zeroconf-connections-persistence as dc-giveup-timeout.
func (o *oldStaf) renewPersistence(e entry) string {
	d, err := parseOldSpan(e.value)
	switch {
	case err != nil || o.giveUp != nil:
		return commentOut(e.file, e.line, e.line)
	case d == Forever:
		return rewrite(e, "dc-giveup-timeout=infinity")
	}
	return rewrite(e, "dc-giveup-timeout="+strconv.FormatFloat(d.Seconds(), 'f', -1, 64)+"s")
}

// moveTo gives the command that writes a key anew in another section, where line gives
// something to write.
func moveTo(section string, line func(value string) string) func(entry) string {
	return func(e entry) string {
		anew := line(strings.ToLower(e.value))
		if anew == "" {
			return commentOut(e.file, e.line, e.line)
		}
		return rewrite(e, "#"+e.key+"="+e.value, "["+section+"]", anew)
	}
}

func asFlag(v bool, err error) (tid.Flag, error) { return tid.SetFlag(v), err }

func some[T any](v T, err error) (*T, error) { return &v, err }
