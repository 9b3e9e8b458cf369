// Package nodes holds what all roles of the platform are built on: the
// contracts through which they reach the world, the helpers they wait with,
// the Machine that is the operating system, and the runtime that keeps the
// children of a node alive, drains them, and upgrades the node to another program
// without losing a connection.
//
// It promises that a role written against [Machine], waiting only through
// [Every], [Sleep], [Timeout] and [FanOut], behaves the same on an operating
// system and in a simulated world, where it replays exactly.
//
// Whatever touches the world may fail: names, connections, disks and children.
// Those failures are returned as errors of the standard library's kinds; only
// broken invariants panic.
//
// Start reading at machine.go, then timing.go; osmachine.go is production's
// Machine, parent.go the runtime, and keeper.go its upgrades.
package nodes
