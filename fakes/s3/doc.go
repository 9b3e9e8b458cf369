// Package s3 is an object store that speaks Amazon S3's REST protocol: gofakes3
// routes requests and writes answers, behind a guard that mends where it departs
// from S3, and over a store of our own. It is held to the AWS SDK.
//
// The guard checks signatures (version 4, in headers) and clock skew, decodes
// aws-chunked bodies and verifies their chunk signatures, trailers, checksums
// and lengths, evaluates conditions, and refuses with NotImplemented every
// sub-resource, query parameter and x-amz- header that is not served here, so
// that nothing is ignored in silence. There are no versions, no access lists but
// "private", no presigned links, no lifecycle and no part copies.
//
// The store keeps objects in files of a [nodes.Disk], or of a small one in
// memory. What a client was told is stored survives a power failure; puts of one
// key are atomic and have one order; a reader keeps what it opened. Everything
// that clients can make grow is bounded: see Options. It fails on purpose never:
// faults belong to the world around, and to fakes/faulty.
//
// Start reading at Server and Run.
package s3
