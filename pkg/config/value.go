package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

var errNotNumber = errors.New("not a number")

// parseInt reads a decimal number within bounds.
func parseInt(s string, least, most int64) (int64, error) {
	v, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("out of range")
	case err != nil:
		return 0, errNotNumber
	case v < least || v > most:
		return 0, errors.New("out of range")
	}
	return v, nil
}

// bounds puts a range into words.
func bounds(least, most int64) string {
	if most == math.MaxInt32 {
		return fmt.Sprintf("are numbers from %d", least)
	}
	return fmt.Sprintf("are %d to %d", least, most)
}

// parseWord accepts exactly two words, in any case, as 2.x does for its switches.
func parseWord(s, yes, no string) (bool, error) {
	switch strings.ToLower(s) {
	case yes:
		return true, nil
	case no:
		return false, nil
	}
	return false, fmt.Errorf("neither %s nor %s", yes, no)
}

func parseBool(s string) (bool, error) { return parseWord(s, "true", "false") }

// parseFamilies reads ip-family.
func parseFamilies(s string) (Families, error) {
	switch s {
	case "ipv4":
		return Families{V4: true}, nil
	case "ipv6":
		return Families{V6: true, Prefer6: true}, nil
	case "ipv4+ipv6":
		return Families{V4: true, V6: true}, nil
	case "ipv6+ipv4":
		return Families{V4: true, V6: true, Prefer6: true}, nil
	}
	return Families{}, errors.New("no such choice")
}

// parseTransports reads disconnect-trtypes: transports joined by "+". Unknown ones count for
// nothing, so that a typo never widens what may be disconnected; none left is an error.
func parseTransports(s string) (list []nvme.Transport, unknown []string, err error) {
	for word := range strings.SplitSeq(s, "+") {
		t := nvme.Transport(strings.TrimSpace(word))
		if t != nvme.TCP && t != nvme.RDMA && t != nvme.FC {
			unknown = append(unknown, shown(word))
		} else if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return nil, unknown, errors.New("no such choice")
	}
	return list, unknown, nil
}

func oneOf[T any](s string, names []string, values []T) (T, error) {
	for i, name := range names {
		if s == name {
			return values[i], nil
		}
	}
	var zero T
	return zero, errors.New("no such choice")
}
