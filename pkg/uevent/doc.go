// Package uevent reads device events of the kernel from netlink, without libudev.
//
// It owns the socket and the two message formats: the kernel's own (multicast group 1,
// lib/kobject_uevent.c, kobject_uevent_net_broadcast) and the one that systemd-udevd
// sends on after its rules ran (group 2, libudev's monitor header). It promises that a
// lost event never goes unnoticed: when the receive buffer overflowed, or a message did
// not fit, Receive says [ErrOverflow], and the reader has to look at the world itself.
package uevent
