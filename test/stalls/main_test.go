package main

import (
	"strings"
	"testing"
)

func TestInstrument(t *testing.T) {
	text, pkg, err := instrument("x.go", []byte("//go:build linux\n\npackage x\n\nfunc f(n int) {\n\tn++ // says why\n\tswitch n {\n\tcase 1:\n\t\tgo f(0)\n\t}\n}\n"))
	want := "//go:build linux\n\npackage x\n\nfunc f(n int) {\n\tzzStall()\n\tn++\n\tzzStall()\n\n\tswitch n {\n\tcase 1:\n\t\tzzStall()\n\n\t\tgo f(0)\n\t}\n}\n"
	if plain := strings.NewReplacer("\n\n", "\n"); err != nil || pkg != "x" || plain.Replace(string(text)) != plain.Replace(want) {
		t.Errorf("package %s, %v:\n%s", pkg, err, text)
	}
	if text, pkg, err := instrument("x_test.go", []byte("package x_test\n\nfunc f() { f() }\n")); err != nil || pkg != "x_test" || strings.Contains(string(text), "zzStall") {
		t.Errorf("package %s, %v:\n%s", pkg, err, text)
	}
	if _, _, err := instrument("x.go", []byte("package")); err == nil {
		t.Error("no error about what is no Go")
	}
}
