// Package daemon puts the parts of stafd and stacd together: what both do to start, reload,
// stop, and to tell systemd about it.
//
// A daemon starts and stays up whatever is missing: D-Bus, Avahi, /dev/nvme-fabrics, a host identity, a
// good configuration. It says what is missing, works with what is there, and takes up the rest when it appears.
package daemon
