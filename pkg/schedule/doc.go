// Package schedule decides when a wanted controller is tried, and in which order.
//
// The kernel serialises every connect of the machine in one mutex
// (drivers/nvme/host/fabrics.c, nvmf_dev_mutex), and an address that swallows
// packets holds it for seconds. So an address is first probed in user space, many at a
// time and once for all controllers behind it, and only controllers whose address answered
// come into the one lane that leads into the kernel. What fails is tried again
// after a delay that grows by the class of the failure; any sign of change ([Scheduler.Kick])
// ends the wait.
//
//	          probe pool                    connect lane
//	wanted ─▶ (one probe an address) ─▶ ready ─▶ (one at a time) ─▶ up
//	   ▲              │ failed                        │ failed       │ lost
//	   └── waiting ◀──┴───────────────────────────────┴──────────────┘
//
// While one is inside the kernel, the next is handed over already, so that there is no pause between the two. It is
// withdrawn when it is dropped, wanted otherwise or found to be connected, when a better one comes, or when the one before it takes long.
//
// A [Scheduler] has no lock: all its methods are called on the owner's event loop, and
// results come back there through the post function. Probes, connects and disconnects run
// in goroutines that end with the context given to [New].
package schedule
