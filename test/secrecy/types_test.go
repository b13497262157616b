package secrecy

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stas-go/stas"

// holders lists the exported types of the module's packages that hold a secret, as path.Name.
func holders(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", module+"/pkg/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot list packages: %v", err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	gc := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	var list []string
	for path := range exports {
		if !strings.HasPrefix(path, module+"/") || exports[path] == "" { // what does not build is told elsewhere
			continue
		}
		p, err := gc.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range p.Scope().Names() {
			if o, ok := p.Scope().Lookup(name).(*types.TypeName); ok && o.Exported() && holds(o.Type(), map[types.Type]bool{}) {
				list = append(list, path+"."+name)
			}
		}
	}
	slices.Sort(list)
	return list
}

// holds says whether a value of type t can lead to a secret.
func holds(t types.Type, seen map[types.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		if p := t.Obj().Pkg(); p != nil {
			switch p.Path() + "." + t.Obj().Name() {
			case module + "/pkg/tid.Secret", module + "/pkg/nvme.Key":
				return true
			}
		}
		return holds(t.Underlying(), seen)
	case *types.Struct:
		for f := range t.Fields() {
			if holds(f.Type(), seen) {
				return true
			}
		}
	case *types.Pointer:
		return holds(t.Elem(), seen)
	case *types.Slice:
		return holds(t.Elem(), seen)
	case *types.Array:
		return holds(t.Elem(), seen)
	case *types.Map:
		return holds(t.Key(), seen) || holds(t.Elem(), seen)
	}
	return false
}
