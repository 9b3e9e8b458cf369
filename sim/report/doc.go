// Package report shows a run of a simulated world as one HTML page, which needs
// neither network nor server: lanes of machines along a time axis, the faults
// across them, what was told, what travelled between them, and what led to what.
//
// A [Recorder] keeps what a world does while it runs. A [Page] says what the
// caller knows beside that: a title, groups of machines, faults, checks, measures.
// [Write] joins both. The package knows nothing of what runs in the world.
//
// It promises that memory stays bounded: of a long run every event and message is
// counted, but messages are kept one by one only around the moments that matter,
// and the page says where. Nothing that a run says can become markup or code: the
// page's policy allows the one script that it carries, by its hash, and no request.
// What can be read without that script is the whole story in words.
//
// Two runs are compared by a [Trace] of the other, as [sim.Options] has it
// written. What may fail is reading that, and writing the page.
//
// Start reading at Recorder, then encode.go for how a page holds a recording.
package report
