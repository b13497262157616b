//go:build e2e

package e2e

import (
	"os"
	"testing"
	"time"
)

// long keeps what measures, and takes minutes to do so, out of the usual run.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("STAS_LONG") == "" {
		t.Skip("make e2e LONG=1 runs it")
	}
}

var began = time.Now()

// wide is for what shows more of the same than the tests that have neither this nor long: it is left out once the run has taken
// as long as STAS_BUDGET says. `make test` sets that, so that a machine which emulates slowly ends in time, too.
func wide(t *testing.T) {
	t.Helper()
	budget, err := time.ParseDuration(os.Getenv("STAS_BUDGET"))
	if taken := time.Since(began); err == nil && taken > budget {
		t.Skipf("the run has taken %v already: make e2e runs it", taken.Round(time.Second))
	}
}
