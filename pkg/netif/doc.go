// Package netif knows the network interfaces of the host and their addresses, and tells
// when they change.
//
// It owns a small netlink client for that (rtnetlink(7)): one dump of links and one of
// addresses make a [Table], whatever the number of interfaces, and three multicast groups
// make the notices. What the kernel interrupted is asked for again, errors come back as
// errors, and no call waits longer than its deadline.
package netif
