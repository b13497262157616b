package daemon

import (
	"os"
	"testing"
)

// lacking skips a test for which this machine lacks something, and fails it where all of them have to run.
func lacking(t *testing.T, what ...any) {
	t.Helper()
	if os.Getenv("STAS_REQUIRE_INTEGRATION") == "1" {
		t.Fatal(what...)
	}
	t.Skip(what...)
}
