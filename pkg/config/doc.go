// Package config reads what the administrator wrote: stafd.conf, stacd.conf and
// sys.conf in the grammar of nvme-stas 2.x, each with a drop-in directory beside it, and
// nvme-stas.conf in the grammar of 3.x. It turns them into validated values and says of
// everything that it could not take as written where it stands, what is allowed there and
// what was done instead.
//
// Two rules keep a typo from costing a disk. A file whose structure cannot be trusted
// (unreadable, not text, a broken section header) is an error as a whole, and the last
// good version stays in force ([StafSource], [StacSource]). And where a line that may name
// a controller was not understood, the result is marked [Common.Incomplete]: nobody can tell
// which controllers are wanted, so nothing may be removed for not being named.
//
// All functions read files only when they are called. Values that were returned never
// change. Nothing here logs, watches in the background unless asked to, or ends the process.
package config
