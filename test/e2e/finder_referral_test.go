//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestFinderReferrals follows a ring of five discovery controllers that also list themselves: each is connected and read
// once. A referral that is added leads to its controller within seconds.
func TestFinderReferrals(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	var b strings.Builder
	for i := range 6 {
		fmt.Fprintf(&b, "[port p%d]\naddress = 127.0.0.1\nservice = %d\n[dc d%d]\nnqn = %sd%d\nports = p%d\nself = yes\nport-local = no\n", i, 8100+i, i, simPrefix, i, i)
		if i < 5 {
			fmt.Fprintf(&b, "referral = d%d\n", (i+1)%5)
		}
	}
	f := played(t, b.String())
	startStafd(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=8100"))
	for i := range 5 {
		awaitDC(t, 15*time.Second, fmt.Sprintf("127.0.0.1:%d", 8100+i))
		fabric.Eventually(t, 5*time.Second, func() error {
			if pageReads(f.Events(0), fmt.Sprintf("p%d", i)) == 0 {
				return fmt.Errorf("d%d has not been read", i)
			}
			return nil
		})
	}
	fabric.Never(t, 3*time.Second, func() error {
		if n := connects(f.Events(0), ""); n > 5 {
			return fmt.Errorf("%d connects to 5 discovery controllers", n)
		}
		return nil
	})
	for i := range 5 {
		port := fmt.Sprintf("p%d", i)
		if c, r := connects(f.Events(0), port), pageReads(f.Events(0), port); c != 1 || r != 1 {
			t.Errorf("%s was connected %d times and read %d times", port, c, r)
		}
	}
	must(t, f.SetDC("d3", "referral", "d4 d5"))
	added := time.Now()
	awaitDC(t, 5*time.Second, "127.0.0.1:8105")
	t.Logf("referral followed after %v", time.Since(added).Round(time.Millisecond))
	if o := seenDCs(t)["127.0.0.1:8105"]; !strings.HasPrefix(strings.Join(o.Origins, " "), "referral") {
		t.Errorf("origins: %v", o.Origins)
	}
	// Taken back it stays for as long as it can be reached.
	before, events := fabric.Controllers(t), fabric.Record(t)
	must(t, f.SetDC("d3", "referral", "d4"))
	noneRemovedFor(t, 3*time.Second, events)
	nothingLost(t, before, events)
}
