// Package fabricsim plays a fabric on one machine: discovery controllers (direct and
// centralized, with zoning and registration), NVM subsystems with namespaces in memory,
// and what goes wrong with them. Real hosts, the Linux kernel among them, connect to it
// over NVMe/TCP.
//
// A [Config] says what there is, a [Fabric] serves it and can be changed while it does,
// by its methods or through the control socket.
package fabricsim
