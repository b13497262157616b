// Package nvme holds the vocabulary of NVMe over Fabrics as a Linux host needs it:
// names (NQN, Host Identifier, transports), the structures that travel in admin
// commands (Identify Controller, log pages 0x00 and 0x70, Discovery Information
// Management), the firmware's boot table (NBFT), and the text forms of keys.
//
// It does no I/O and keeps no state. Every Decode and Parse function takes bytes
// from outside as hostile: lengths and counts are checked before anything is
// allocated, text that could break an option string, a bus message or a terminal is
// refused, and a broken element costs that element, not its neighbours. Values are
// plain and safe for concurrent reading; no result refers to the bytes it came from.
//
// Section numbers are those of the NVM Express Base Specification 2.1 unless said
// otherwise; numbers on the wire are little endian.
package nvme
