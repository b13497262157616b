//go:build !race

package fabricsim

import "time"

// eventLimit is how late an event may be.
const eventLimit = 50 * time.Millisecond
