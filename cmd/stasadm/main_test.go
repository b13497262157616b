package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stasadm": main})
}

// TestScripts runs the commands as people do. R is the root directory that they work on.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("R", env.WorkDir+"/root")
			return os.MkdirAll(env.WorkDir+"/root/etc", 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// mode RWX FILE: the permissions are these.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := info.Mode().Perm().String(); !strings.HasSuffix(got, args[0]) {
					ts.Fatalf("%s has mode %s, not %s", args[1], got, args[0])
				}
			},
		},
	})
}
