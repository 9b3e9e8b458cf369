// Package record keeps what a vantage has seen: each result as a line in a log
// on disk, and a series of each target in memory, which survives restarts.
//
// The log is for people with grep. A line is the time, the target, the outcome,
// how long it took, each phase, and what is to be told:
//
//	2026-11-25T15:04:05.123Z us-east-proxy ok 45.2ms connect=11ms tls=21.1ms first-byte=13.1ms
//	2026-11-25T15:04:15.120Z us-east-proxy FAIL 4s connect=4s error="connect: context deadline exceeded"
//
// FAIL counts against the target, "unknown" neither way: the vantage could not
// see its controls or got no sight of what it judges. A line with "-" for a
// target is about the log itself: it says how many results are missing, and why.
//
// A series has one point a minute for a day and one an hour for 90 days. Points
// of minutes come from the log of results when a vantage starts; hours have a
// log of their own, one line when an hour is over.
//
// It promises: adding a result never waits for the disk, and nothing that a
// disk does stops it; what is kept is bounded, in memory and on disk (below);
// after a power failure only whole lines count, and a torn end is cut off.
// Lines reach the operating system at each Flush and the disk once a minute and
// at Close, so that a lost process costs one round and a lost machine a minute.
//
// Times are the wall clock's, which may be wrong. A step of it never removes
// what is there: points are kept in the order in which they came, a stretch of
// time that is lived through twice counts twice, and what lies in the future is
// not shown until then.
//
// Bounds, of 500 targets that are looked at every 10 s: 16 bytes a point make
// 66 KB a target and 33 MB in memory; 100 bytes a line make 430 MB of results a
// day, of which 512 MiB are kept; hours take 80 MB in 90 days, of which 96 MiB
// are kept. Of fewer targets more time is kept, for the bounds are bytes.
//
// What may fail: the disk, at any call. Then the results wait in memory, up to
// 8 MiB, and are written when it works again; beyond that they are missing, and
// the log says so.
//
// Start at Recorder.
package record
