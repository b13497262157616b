//go:build race

package fabricsim

// patience multiplies the bounds of tests that measure time: the race detector makes
// everything slower, and the machine may be busy.
const patience = 20
