package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// A worker that was killed may leave any part of a file.
func FuzzReadIntent(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.json")
	f.Add([]byte(`{"TID":{"Transport":"tcp","Traddr":"192.0.2.1"},"Kind":1,"Host":{"NQN":"nqn.2024-01.org.example:h"}}`))
	f.Add([]byte(`{"TID":{"Transport":"tc`))
	f.Add([]byte(`{"path":"/etc/passwd","Busy":true,"TID":{"Transport":"x"}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := readIntent(path)
		if err == nil && (i.Busy || i.path != path || i.TID == (tid.TID{})) {
			t.Errorf("%q is %+v", content, i)
		}
	})
}

// The kernel's list is one of words, whatever it is.
func FuzzParseOptions(f *testing.F) {
	f.Add("instance=-1,cntlid=-1,transport=%s,traddr=%s,tls\n")
	f.Add(",,=,\n=x,a=b=c")
	f.Fuzz(func(t *testing.T, text string) {
		for _, o := range parseOptions(text) {
			if o == "" || strings.ContainsAny(o, ",=\n") {
				t.Errorf("%q has the option %q", text, o)
			}
		}
	})
}
