// Package aws is the control plane of a cloud: the parts of Elastic Load
// Balancing (version 2, network load balancers) and of EC2 Auto Scaling that the
// platform uses, as servers of Amazon's AWS Query protocol. It is held to the
// AWS SDK and to the command line client aws.
//
// It promises Amazon's states, reasons, error codes and paging for the actions
// that it serves, and refuses all others with InvalidAction; a parameter that it
// does not serve is refused with NotImplemented, so nothing is ignored in
// silence. Signatures (version 4) are checked. Requests beyond a rate get
// Throttling. Descriptions are eventually consistent: they show the state as it
// was up to a second ago. State is in memory: what starts again has what its
// account file says. Balancers, listeners, target groups and scaling groups are
// those of that file, as there are no actions to make any; all targets of a group
// have its port; and zones are balanced by what is launched and ended, never by
// ending what is well.
//
// The data plane is apart and goes on without it: the nodes of package lb fetch
// their targets from the internal interface (see [Server.Internal]) and tell in
// return what they think of each. What boots and ends instances is a [Compute]
// of the world around. It fails on purpose never, except that a Compute may be
// out of capacity: faults belong to the world, and to fakes/faulty.
//
// Start reading at Server, then step in scaling.go, which moves groups; Run is
// the program and Account its file.
package aws
