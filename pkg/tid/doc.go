// Package tid holds what tells one NVMe-oF connection from another: the
// Transport ID with its canonical spelling, the rules that match it against a
// live controller, the connection parameters that go with it, and secrets.
//
// Everything in it is a plain value: no I/O, no locks, nothing that changes
// after it was made.
package tid
