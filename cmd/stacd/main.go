// Command stacd is the NVMe-oF daemon that connects I/O controllers. See stacd(8).
package main

import (
	"os"

	"github.com/stas-go/stas/pkg/daemon"
	"github.com/stas-go/stas/pkg/kernel"
)

func main() {
	kernel.RunWorkerIfAsked()
	os.Exit(daemon.Stacd())
}
