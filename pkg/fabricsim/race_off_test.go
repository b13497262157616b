//go:build !race

package fabricsim

// patience multiplies the bounds of tests that measure time: the machine may be busy.
const patience = 3
