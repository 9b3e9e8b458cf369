// Package search finds runs that go wrong, makes the stories of those that do
// small, and proves that runs replay.
//
// It plays a story many times, each in a process of its own, which whoever uses it
// says how to start: a crash, a leak or a world that stands still is a finding then,
// and not the end of the search. It promises that of equal seeds and equal programs it
// finds the same. What may fail is that no run can be started, or read.
//
// Start reading at [Explorer]; [Shrinker] takes what that finds, and [Verifier]
// compares the whole traces of one seed.
package search
