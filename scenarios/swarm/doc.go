// Package swarm makes up stories: from a seed alone a small topology, a mix of
// clients, and faults of some families at random times, within what the platform
// declares to survive.
//
// Each story has three phases. In the first faults strike, and only safety is
// asked for: no message twice, no name that points nowhere, no leader that goes
// back, nobody paged without a reason. Then all faults have healed. In the end
// everything has to be as it was. A story is a pure function of its seed and of
// this program, and a valid scenario file that can be printed and played.
//
// Swarm testing leaves most families of faults out of each story, so that what
// would hide behind others has stories of its own.
//
// Start reading at Story. The budget that keeps the faults survivable is in
// budget.go, the faults come from the table story.Faults.
package swarm
