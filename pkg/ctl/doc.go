// Package ctl is what stafctl and stacctl do and print: command trees, tables for
// people, JSON for programs.
//
// JSON has the shape and the keys of what the daemons answer on D-Bus, in the order of
// nvme-stas 2.x; the columns of tables may grow but neither move nor change names.
// What comes from a fabric is made harmless for a terminal before it is printed.
package ctl
