// Package scenarios turns a story into a run: it boots the platform's own roles
// and the fakes of everything around them on the machines of a simulated world,
// lets clients use it, breaks it as the timeline says, and judges what the
// clients, the name servers and the admins' phones saw.
//
// Start reading at [Run]. Package story holds the file format, package workload
// the clients, package oracle the judges, and package pki the certificates. Package
// swarm makes stories up, and package search plays many and makes those that fail
// small.
//
// A run is a pure function of the code, the story and the seed. It fails when an
// expectation does not hold, when an expectation judged nothing, when a fault
// touched nothing, and when code outlives its machine.
package scenarios
