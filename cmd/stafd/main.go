// Command stafd is the NVMe-oF daemon that finds discovery controllers. See stafd(8).
package main

import (
	"os"

	"github.com/stas-go/stas/pkg/daemon"
	"github.com/stas-go/stas/pkg/kernel"
)

func main() {
	kernel.RunWorkerIfAsked()
	os.Exit(daemon.Stafd())
}
