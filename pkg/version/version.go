// Package version holds the version of the programs.
package version

// Version is stamped by the linker:
//
//	go build -ldflags "-X github.com/stas-go/stas/pkg/version.Version=3.0"
var Version = "devel"
