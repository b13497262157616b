package check

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// spellings are the keys that lead to an option of /dev/nvme-fabrics, in both generations of files.
func spellings(option string) []string {
	key := strings.ReplaceAll(option, "_", "-")
	switch key {
	case "keep-alive-tmo":
		return []string{key, "kato"}
	case "dhchap-secret", "dhchap-ctrl-secret":
		return []string{key, "kx" + strings.TrimPrefix(key, "dh")}
	}
	return []string{key}
}

// secures says whether doing without an option would connect less securely than was asked for: that is for the
// administrator to decide, and no command is offered that does it on the side.
func secures(option string) bool {
	return slices.Contains([]string{"tls", "concat", "keyring", "tls_key", "dhchap_secret", "dhchap_ctrl_secret"}, option)
}

// mentions finds where the files set an option: the first place, and the command that takes it out of all of them.
func (f Files) mentions(option string) (where, remedy string) {
	keys := strings.Join(spellings(option), "|")
	whole := regexp.MustCompile(`(?i)^[ \t]*(` + keys + `)[ \t]*=`)
	field := regexp.MustCompile(`(?i)^[ \t]*controller[ \t]*=(.*;)?[ \t]*(` + keys + `)[ \t]*=`)
	var files []string
	for _, main := range []string{f.Staf, f.Stac, f.Fabrics} {
		dropIns, _ := filepath.Glob(main + ".d/*.conf")
		for _, file := range append([]string{main}, dropIns...) {
			text, err := read(file)
			if err != nil {
				continue
			}
			for n, line := range strings.Split(string(text), "\n") {
				if !whole.MatchString(line) && !field.MatchString(line) {
					continue
				}
				if where == "" {
					where = fmt.Sprintf("%s:%d", file, n+1)
				}
				if !slices.Contains(files, quote(file)) {
					files = append(files, quote(file))
				}
			}
		}
	}
	if len(files) == 0 || secures(option) {
		return where, ""
	}
	keys = strings.ReplaceAll(keys, "|", `\|`)
	return where, fmt.Sprintf(`sed -i 's/^[ \t]*\(%[1]s\)[ \t]*=/#&/I; /^[ \t]*controller[ \t]*=/I { s/;[ \t]*\(%[1]s\)[ \t]*=[^;]*//Ig; s/=[ \t]*\(%[1]s\)[ \t]*=[^;]*;/=/I }' %[2]s`,
		keys, strings.Join(files, " "))
}
