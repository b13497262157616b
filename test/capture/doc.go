// Package capture has tshark, whose dissector shares nothing with this project, look at what
// goes over the wire: its tests fail where it finds a PDU malformed or a digest wrong. "make
// capture" installs tshark, records the Linux host in the VM, and runs them.
package capture
