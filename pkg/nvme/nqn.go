package nvme

import (
	"errors"
	"fmt"
	"strings"
)

// DiscoveryNQN is the well-known NQN under which every discovery subsystem
// answers (NVM Express Base Specification 2.1, section 4.7).
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// MaxNQN is the longest NQN in bytes, without its terminating NUL (Base 2.1, section 4.7).
const MaxNQN = 223

// CheckName tells why s cannot name a subsystem or a host to the kernel: printable ASCII without
// white space, at most [MaxNQN] bytes, and no comma, as the options of /dev/nvme-fabrics have no
// quoting. The kernel and many targets take names that are no NQN by the specification, and so do we.
func CheckName(s string) error {
	if s == "" {
		return errors.New("NQN is missing")
	}
	if len(s) > MaxNQN {
		return fmt.Errorf("NQN of %d bytes is longer than %d", len(s), MaxNQN)
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return fmt.Errorf("NQN has byte 0x%02x at offset %d, which is not allowed", s[i], i)
		}
	}
	return nil
}

// CheckNQN tells why s cannot be an NQN by the specification: as [CheckName], and of the form
// "nqn.YYYY-MM." with something behind it.
func CheckNQN(s string) error {
	if err := CheckName(s); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(s, "nqn.")
	if !ok {
		return fmt.Errorf("NQN %q does not start with \"nqn.\"", s)
	}
	if len(rest) < 9 || !digits(rest[:4]) || rest[4] != '-' || !digits(rest[5:7]) || rest[7] != '.' {
		return fmt.Errorf("NQN %q has no date of the form YYYY-MM after \"nqn.\"", s)
	}
	if month := rest[5:7]; month < "01" || month > "12" {
		return fmt.Errorf("NQN %q has month %s, allowed are 01 to 12", s, month)
	}
	return nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
