// Package fabric gives end-to-end tests a fabric: targets made by the kernel's own nvmet, what the host sees of them, and proof
// of what did not happen to its controllers.
//
// It needs root on a machine that is thrown away afterwards (test/vm): Clean stops the daemons, disconnects every
// fabrics controller and removes every target. A test is made of
//
//	fabric.Clean(t)                                  // nothing is there, modules are loaded
//	port := fabric.TCP(t, "127.0.0.1", 8009)         // a port of the target
//	sub := fabric.NewSubsystem(t, "nqn.2014-08.org.nvmexpress:test:a", fabric.Options{})
//	port.Link(t, sub)                                // now discovery lists it
//	fabric.Configure(t, "stafd.conf", "[Controllers]\ncontroller=transport=tcp;traddr=127.0.0.1;trsvcid=8009\n")
//	fabric.Start(t, "stafd", "stacd")
//	fabric.AwaitLive(t, 30*time.Second, sub.NQN)
//	before, events := fabric.Controllers(t), fabric.Record(t)
//	…
//	fabric.Unharmed(t, before); events.NoneRemoved(t)
//
// Every function fails the test when it cannot do its work; none is for use from another goroutine than the test's.
// Tests that use it cannot run in parallel: there is one kernel.
package fabric
