package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	errSpan     = errors.New("not a time span")
	errSpanLong = errors.New("too long")
	errNegative = errors.New("negative")
)

// spanUnits are the units of systemd.time(7), which are case-sensitive: m is a minute, M a month.
var spanUnits = map[string]float64{
	"": 1, "usec": 1e-6, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "msec": 1e-3, "ms": 1e-3,
	"seconds": 1, "second": 1, "sec": 1, "s": 1,
	"minutes": 60, "minute": 60, "min": 60, "m": 60,
	"hours": 3600, "hour": 3600, "hr": 3600, "h": 3600,
	"days": 86400, "day": 86400, "d": 86400,
	"weeks": 604800, "week": 604800, "w": 604800,
	"months": 2629800, "month": 2629800, "M": 2629800, // 30.4375 days, as systemd has it
	"years": 31557600, "year": 31557600, "y": 31557600, // 365.25 days
}

var spanPart = regexp.MustCompile(`^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)[ \t]*([A-Za-zµμ]*)[ \t]*`)

// parseSpan reads a time span in the grammar of systemd.time(7): numbers with units in any
// number, with or without white space, seconds where there is no unit, "infinity".
func parseSpan(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	switch {
	case rest == "infinity":
		return Forever, nil
	case rest == "":
		return 0, errSpan
	case rest[0] == '-':
		return 0, errNegative
	}
	total := 0.0
	for rest != "" {
		m := spanPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, errSpan
		}
		unit, ok := spanUnits[m[2]]
		if !ok {
			return 0, fmt.Errorf("%w: no unit %q", errSpan, shown(m[2]))
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, errSpan
		}
		total += v * unit
		rest = rest[len(m[0]):]
	}
	return seconds(total)
}

// finiteSpan is parseSpan without "infinity".
func finiteSpan(s string) (time.Duration, error) {
	d, err := parseSpan(s)
	if err == nil && d == Forever {
		return 0, errors.New("without end")
	}
	return d, err
}

func seconds(v float64) (time.Duration, error) {
	if math.IsNaN(v) || v > math.MaxInt64/float64(time.Second)-1 {
		return 0, errSpanLong
	}
	return time.Duration(math.Round(v * float64(time.Second))), nil
}

// The forms of a time span in the 2.x key zeroconf-connections-persistence, in any case:
// "3 days, 5 hours", "1h30m", "1:24" (minutes), "2:03:04" (hours), "1 day 2:03:04", "3:04:05:06", ":22".
var oldSpans = []*regexp.Regexp{
	regexp.MustCompile(`(?i)^(?:(?P<d>[\d.]+)\s*(?:d|dys?|days?)\s*(?:[,/]\s*)?)?\s*` +
		`(?:(?P<h>[\d.]+)\s*(?:h|hrs?|hours?)\s*(?:[,/]\s*)?)?\s*` +
		`(?:(?P<m>[\d.]+)\s*(?:m|mins?|minutes?)\s*(?:[,/]\s*)?)?\s*` +
		`(?:(?P<s>[\d.]+)\s*(?:s|secs?|seconds?))?$`),
	regexp.MustCompile(`(?i)^(?P<m>\d{1,2}):(?P<s>\d{2}(?:\.\d+)?)$`),
	regexp.MustCompile(`(?i)^(?:(?P<d>[\d.]+)\s*(?:d|dys?|days?)\s*(?:[,/]\s*)?)?\s*(?P<h>\d+):(?P<m>\d{2}):(?P<s>\d{2}(?:\.\d+)?)$`),
	regexp.MustCompile(`^(?P<d>\d+):(?P<h>\d{2}):(?P<m>\d{2}):(?P<s>\d{2}(?:\.\d+)?)$`),
	regexp.MustCompile(`^:(?P<s>\d{2}(?:\.\d+)?)$`),
}

var oldUnits = map[string]float64{"d": 86400, "h": 3600, "m": 60, "s": 1}

// parseOldSpan reads the value of zeroconf-connections-persistence as 2.x does; -1 is for ever.
// There "m" and "M" are both minutes.
func parseOldSpan(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case v == -1:
			return Forever, nil
		case v < 0:
			return 0, errNegative
		}
		return seconds(v)
	}
	if s == "" {
		return 0, errSpan
	}
	if s[0] == '-' {
		return 0, errNegative
	}
	s = strings.TrimSpace(strings.TrimPrefix(s, "+"))
	for _, form := range oldSpans {
		m := form.FindStringSubmatch(s)
		if m == nil || s == "" {
			continue
		}
		total := 0.0
		for i, name := range form.SubexpNames() {
			if name == "" || m[i] == "" {
				continue
			}
			v, err := strconv.ParseFloat(m[i], 64)
			if err != nil {
				return 0, errSpan
			}
			total += v * oldUnits[name]
		}
		return seconds(total)
	}
	return 0, errSpan
}

// bigM warns of the one unit that the old and the new key read differently.
var bigM = regexp.MustCompile(`[0-9][ \t]*M(?:[^A-Za-z]|$)`)
