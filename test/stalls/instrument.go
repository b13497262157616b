package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"strings"
)

// stall is the file that each package gets.
const stall = `

import (
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var (
	zzStalls = os.Getenv("STAS_STALL") != ""
	zzNext   atomic.Int64 // not before, by the clock of the machine
)

func zzStall() {
	if !zzStalls || rand.IntN(20) != 0 {
		return
	}
	var now syscall.Timespec // time.Now is that of a bubble
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	if zzNext.Load() > now.Nano() {
		return
	}
	d := time.Duration(rand.IntN(3000)) * time.Microsecond
	switch n := rand.IntN(100); {
	case n < 2:
		d = time.Duration(rand.IntN(300)) * time.Millisecond
	case n < 12:
		d = time.Duration(rand.IntN(30)) * time.Millisecond
	}
	zzNext.Store(now.Nano() + 5*int64(d))
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
`

// instrument puts a call of zzStall in front of the statements of a file, and gives the name of its package. An external test
// package stays as it is: it would need a function of its own.
func instrument(name string, text []byte) ([]byte, string, error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments)
	if err != nil {
		return nil, "", err
	}
	if strings.HasSuffix(f.Name.Name, "_test") {
		return text, f.Name.Name, nil
	}
	// A comment that stood between statements could end up in the middle of one.
	var kept []*ast.CommentGroup
	for _, g := range f.Comments {
		for _, c := range g.List {
			if g.Pos() < f.Package || strings.HasPrefix(c.Text, "//go:") {
				kept = append(kept, &ast.CommentGroup{List: []*ast.Comment{c}})
			}
		}
	}
	f.Comments = kept
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			n.List = held(n.List)
		case *ast.CaseClause:
			n.Body = held(n.Body)
		case *ast.CommClause:
			n.Body = held(n.Body)
		}
		return true
	})
	var b bytes.Buffer
	err = printer.Fprint(&b, files, f)
	return b.Bytes(), f.Name.Name, err
}

func held(list []ast.Stmt) []ast.Stmt {
	var out []ast.Stmt
	for _, s := range list {
		switch s.(type) {
		case *ast.CaseClause, *ast.CommClause:
			return list // the body of a switch or select
		case *ast.ExprStmt, *ast.AssignStmt, *ast.GoStmt, *ast.SendStmt, *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.IncDecStmt, *ast.SelectStmt, *ast.SwitchStmt:
			out = append(out, &ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent("zzStall")}})
		}
		out = append(out, s)
	}
	return out
}
