// Package lb is one availability zone's node of a network load balancer: it
// accepts TCP connections on the public ports and passes their bytes, unread, to
// healthy targets.
//
// It promises that a new connection goes to a target that its last health checks
// found well, or, when there is no such target, to any (it fails open); that what
// is open keeps flowing while its target is unwell or, until the drain ends,
// deregistered; and that closing one direction leaves the other open. Choices
// come from Machine.Rand, so they replay. A target that cannot be reached costs
// its client the connection, as a reset.
//
// Targets and the settings of their group are flags, or come from a control plane
// that the node asks every few seconds and tells how the targets are. While that
// does not answer, the node goes on with what it has; its ports are flags always.
//
// Start reading at Balancer; Run is the program.
package lb
