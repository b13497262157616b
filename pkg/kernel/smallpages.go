package kernel

import "golang.org/x/sys/unix"

// SmallPages has the kernel give this process memory by the page. Where transparent huge pages are on for all, as they
// are on many distributions, a heap of a few MiB takes two or three times as much. Workers inherit it (prctl(2),
// PR_SET_THP_DISABLE).
func SmallPages() {
	// A kernel without huge pages does not know it, and does not need it.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
}
