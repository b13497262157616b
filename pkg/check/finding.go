// Package check looks for what keeps stas from doing what was asked of it: in the
// configuration files, and in the host that it runs on. It only reads.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/exclusion"
)

// Finding is one thing that is wrong, or may be.
type Finding struct {
	ID       string `json:"id"` // names the kind; does not change between versions
	Severity string `json:"severity"`
	Where    string `json:"where"`            // file:line, or the object
	What     string `json:"what"`             // in words, without secrets
	Remedy   string `json:"remedy,omitempty"` // a shell command after which the finding is gone; empty: What says what to do
}

// The severities. An error is something that was asked for and does not happen.
const (
	Error   = "error"
	Warning = "warning"
)

// Files are the paths of all configuration files.
type Files struct {
	Root                         string // below which "file://" values of sys.conf are looked up
	Staf, Stac, Sys, Fabrics     string // an empty Sys is none
	NVMe                         string // directory of hostnqn, hostid and hostkey
	Exclusions, ExclusionDropIns string
}

// Configuration is what the files say where they are usable.
type Configuration struct {
	Files    Files
	Staf     *config.Staf
	Stac     *config.Stac
	Identity config.Identity
}

// Configured checks the files.
func Configured(f Files) (Configuration, []Finding) {
	c := Configuration{Files: f}
	var list []Finding
	staf := config.StafSource{Files: config.Files{Own: f.Staf, Fabrics: f.Fabrics}}
	stac := config.StacSource{Files: config.Files{Own: f.Stac, Fabrics: f.Fabrics}}
	var problems, more []config.Problem
	c.Staf, problems = staf.Load()
	c.Stac, more = stac.Load()
	problems = append(problems, more...)
	c.Identity, more = config.LoadIdentityBelow(f.Root, f.Sys, f.NVMe)
	problems = append(problems, more...)
	for _, p := range problems {
		list = append(list, ofProblem(p))
	}
	if c.Identity.Missing != "" {
		list = append(list, Finding{ID: "no-identity", Severity: Error, Where: cmp.Or(f.Sys, f.NVMe), What: c.Identity.Missing, Remedy: c.Identity.Remedy})
	}
	_, excluded := exclusion.Load(f.Exclusions, f.ExclusionDropIns)
	for _, p := range excluded {
		list = append(list, ofExclusion(p))
	}
	return c, Sorted(list)
}

func ofProblem(p config.Problem) Finding {
	f := Finding{ID: string(p.ID), Severity: p.Severity.String(), Where: p.File, Remedy: p.Remedy}
	if p.Line > 0 {
		f.Where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	p.File, p.Line = "", 0
	f.What = p.String()[len(": "):]
	return f
}

func ofExclusion(p exclusion.Problem) Finding {
	f := Finding{ID: "exclusion-" + exclusionKinds[p.Kind], Severity: Warning, Where: p.File, What: p.Text}
	if p.Line > 0 {
		f.Where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	f.Remedy = exclusionRemedy(p)
	if p.Kind == exclusion.BadEntry || p.Kind == exclusion.Unreadable {
		f.Severity = Error
	}
	return f
}

// exclusionRemedy is the command after which p is gone. It puts no entry out of force, nor one into force.
func exclusionRemedy(p exclusion.Problem) string {
	if p.Line == 0 {
		f, err := os.OpenFile(p.File, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrPermission) {
			return "sudo stasadm check" // the daemons can read it
		}
		if err == nil {
			info, err := f.Stat()
			_ = f.Close()
			if err == nil && info.Mode().IsRegular() {
				return "" // it is too long: what is read of it counts
			}
		}
		return fmt.Sprintf("mv %s %s", quote(p.File), quote(p.File+".rejected"))
	}
	text, _ := read(p.File)
	lines, which := strings.Split(string(text), "\n"), strconv.Itoa(p.Line)
	header := func(n int) bool { return strings.HasPrefix(strings.TrimSpace(lines[n-1]), "[") }
	if p.Line <= len(lines) && header(p.Line) {
		// Without it the lines below would belong to the section above.
		last := p.Line
		for last < len(lines) && !header(last+1) {
			last++
		}
		which = fmt.Sprintf("%d,%d", p.Line, last)
	}
	return fmt.Sprintf("sed -i '%ss/^/#/' %s", which, quote(p.File))
}

var exclusionKinds = map[exclusion.Kind]string{
	exclusion.Unreadable: "unreadable", exclusion.BadHeader: "bad-header", exclusion.StrayEntry: "stray-entry",
	exclusion.BadEntry: "bad-entry", exclusion.Suspicious: "suspicious",
}

// Sorted gives findings once each, errors first, otherwise in their order.
func Sorted(list []Finding) []Finding {
	var once []Finding
	seen := make(map[Finding]bool, len(list))
	for _, f := range list {
		if !seen[f] {
			seen[f] = true
			once = append(once, f)
		}
	}
	slices.SortStableFunc(once, func(a, b Finding) int { return cmp.Compare(a.Severity, b.Severity) })
	return once
}
