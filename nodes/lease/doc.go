// Package lease keeps leadership in a bucket: it is [nodes.Leases] over
// [nodes.Blobs], with one object for each name.
//
// The object holds an epoch, the holder, a counter of renewals and a nonce that
// is drawn anew for every put. Since an ETag is a hash of the body, the nonce is
// what makes each state of the object a state of its own: no two bodies are
// equal, so a put conditional on an ETag can only follow the very state that
// its sender read. For the same reason the object is never deleted; a release
// writes an empty holder. Nothing is ever listed.
//
// It promises that of all processes that share a bucket at most one believes at
// a time that it holds a name, as long as their clocks run at rates that differ
// from true time by no more than [Options.DriftPPM]. It needs no set clocks.
// Beyond that bound, and for a process stopped between looking and acting, only
// epochs protect: each holder has a greater one, whatever the clocks do.
//
// A put that fails, even with a conflict, may have been applied: a retry finds
// the condition broken by its own first attempt. Every outcome but a clear
// success is therefore unknown, and the object is read back to see whether its
// nonce is one of ours. An object that cannot be read for what it is stays as it
// is, and every call says so with [ErrObject].
//
// Start reading at [Store.Acquire] in store.go; slot.go knows the object, and
// record.go its body.
package lease
