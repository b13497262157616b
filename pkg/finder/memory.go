package finder

import (
	"runtime/debug"
	"time"
)

// bigPage is how many records make a page a big one. A record has a kilobyte on the wire (NVM Express Base
// Specification, Discovery Log Page), and reading it leaves several times that behind.
const bigPage = 2048

// tidyAfter is how long no big page is read before memory goes back to the system.
const tidyAfter = 5 * time.Second

// tidy gives memory back some time after the last big page was read. Where nothing happens after that the
// garbage collector has no reason to run, and the process would stay as large as it ever was.
func (f *Finder) tidy(records int) {
	if records < bigPage {
		return
	}
	stop(&f.tidying)
	f.tidying = f.loop.After(tidyAfter, func() { go debug.FreeOSMemory() })
}
