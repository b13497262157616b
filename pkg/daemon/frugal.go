package daemon

import (
	"os"
	"runtime"
	rtdebug "runtime/debug"

	"github.com/stas-go/stas/pkg/kernel"
)

// frugal has the Go runtime take little of the host, unless the environment says otherwise. A daemon's work is
// a few milliseconds at a time, decided by one goroutine: a second processor would mostly wake threads that find nothing to
// do, on a large host dozens of them. Its heap is a few MiB: to collect it at half the usual growth costs
// next to nothing and saves memory on a thousand hosts.
func frugal() {
	kernel.SmallPages()
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		rtdebug.SetGCPercent(50)
	}
}
