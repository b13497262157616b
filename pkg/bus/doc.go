// Package bus is stafd and stacd on D-Bus: the servers of their interfaces and the
// clients that stacd, stafctl and stacctl use.
//
// The interfaces org.nvmexpress.staf and .stac with their .debug companions are those
// of nvme-stas 2.x: members, signatures, dictionary keys and the spelling of values.
// org.nvmexpress.staf.pages1 is for stacd: it tells an empty log page from one that was
// never read. Below the object of each daemon stands one for each of its controllers, with
// org.nvmexpress.staf.controller or .stac.controller, under an ObjectManager. The files in
// dbus-interfaces describe all of them.
//
// What this package promises:
//
//   - A server outlives the bus: when the bus dies or is not there yet, it tries again by
//     itself, exports everything again and takes its name again.
//   - Nothing that happens on the bus blocks the daemon. Signals are queued, equal ones
//     once; calls are answered on goroutines of their own, so what a server is given
//     ([Finder], [Pages], [Connector], [Debug]) is called from many at a time.
//   - Calls of one user, however many, keep neither root nor other users from being answered.
//   - A stalled bus daemon costs the connection to it, nothing else: each write has a
//     deadline.
//   - No reply is shorter than it should be: over [MaxReply] bytes, or when the daemon's
//     state cannot be had in time, the caller gets an error.
//   - A client that applies the signals about objects to the answer of GetManagedObjects has
//     the state; objects are made from it when somebody looks, and only digests are kept.
//   - No reply holds a secret, and only root changes anything.
//   - Strings leave as valid UTF-8 without NUL, wherever they came from.
package bus
