//go:build race

package fabricsim

import "time"

// eventLimit is how late an event may be; the race detector makes everything slower.
const eventLimit = 500 * time.Millisecond
