// Package sim is a simulated world for Go servers: machines with processes,
// disks, clocks and names, joined by a network whose every link can be slowed,
// lossy or cut. Ordinary code (net/http, crypto/tls, contexts, goroutines,
// timers) runs in it unchanged, in virtual time, and a run is a pure function
// of the code and a seed: run it again and the same bytes arrive at the same
// nanosecond.
//
// # Start here
//
// Inside a test, [Test] gives you a [World]; in an ordinary program, [Run]
// does. Make machines with [World.NewMachine], start processes on them with
// [Machine.Start] or, to have them started again at every boot, with
// [Machine.OnBoot]. Code reaches the outside through its [Process]: Listen,
// ListenPacket, DialContext, Lookup, Disk, Now, Rand. A web server whose link is
// cut, as a test:
//
//	func TestCutLink(t *testing.T) {
//		sim.Test(t, func(t *testing.T, w *sim.World) {
//			server, client := w.NewMachine("server"), w.NewMachine("client")
//			server.Start("web", func(p *sim.Process) error {
//				l, err := p.Listen("tcp", ":80")
//				if err != nil {
//					return err
//				}
//				return http.Serve(l, http.NotFoundHandler())
//			})
//			web := http.Client{Transport: &http.Transport{DialContext: client.DialContext}, Timeout: 2 * time.Second}
//			_, err := web.Head("http://server/")
//			require.NoError(t, err)
//
//			w.Link(client, server).Cut(30 * time.Second) // heals by itself
//			start := time.Now()
//			_, err = web.Head("http://server/")
//			require.ErrorIs(t, err, context.DeadlineExceeded)
//			require.Equal(t, 2*time.Second, time.Since(start)) // virtual time, so exact
//		})
//	}
//
// The examples below show it whole, and [Run].
//
// Faults are ordinary calls at a chosen instant: [Link.Cut], [World.Impair],
// [World.Reset], [Machine.Pause], [Machine.Hang], [Machine.Exhaust],
// [Machine.PowerOff], [Process.Kill], [Clock.Step]. Those that take a duration heal by
// themselves; [World.At] calls anything later.
// [Conditions] lists what a network does wrong. Disks lose what was not synced when
// the power goes; under [Disk.Impair] and [Disk.Rot] they fill up, fail, hang and lie.
//
// Machines find one another by name. Where real DNS matters, run the resolvers of
// package sim/names on some and name these to others with [WithResolvers].
//
// Nothing needs cleaning up. When the test function returns, the world powers
// every machine off, and only goroutines that survive that are reported, as
// leaks, with their stacks.
//
// # What is promised
//
// Equal code and seed give an equal trace, on any number of cores, with or
// without the race detector. The trace holds every delivery and every event of
// every process; [Result] carries its SHA-256. Choices are keyed by stable names,
// so a machine or a fault more changes nothing where it does not reach, and a run
// that ends early has a prefix of the longer run's trace.
//
// The network keeps the promises of Linux: streams retransmit, handshakes are
// tried again after 1, 3, 7, 15, 31 and 63 s and fail after 127 s, unanswered
// bytes after 924.6 s, an idle connection to a silent host after 150 s; a dead
// process answers with a reset, a dead or paused host with nothing, and for a
// process that hangs its host says that it is there. Streams carry at most 256 KiB that the peer has not read. Loopback addresses and "localhost"
// mean the machine's own address, which others reach too.
//
// One run is one testing/synctest bubble in a process of its own, so that no
// package-level state is shared between runs: [Test] executes the test binary
// again, unless the environment variable SIM_INSIDE=1 asks for this process, as
// one wants under a debugger, or to have go test -cover count what runs in a
// world. A panic in a process ends the whole run, as in any Go program.
//
// # How it is kept
//
// One goroutine, the pump, owns the future. It sleeps to the next instant,
// waits until every goroutine of the world is blocked, delivers one thing,
// waits again, and goes on. What processes do meanwhile (dial, write, send, log)
// is only recorded; when all is quiet the records are sorted by stable names,
// and only then get ordinals, ports, latencies and their places in the trace.
// Every random choice is a hash of the seed, who asks, for what, and how often.
//
// # What can still go wrong
//
// The world can order what crosses machines; it cannot order goroutines of one
// process that race for a variable or a mutex at one nanosecond. Avoid equal
// deadlines within a process (bare tickers, one grid for all), shared random
// streams, map iteration whose order escapes, and selects with several ready
// cases. Dials of one process to one target at one nanosecond get their ports, and
// which process of several at one listener accepts them, in the order of the race.
// The operations of a disk take place at once, in the order of the calls, unless a
// fault delays them. Code must not park while it holds a mutex: virtual
// time would stand still, which the watchdog reports after some real seconds with
// all stacks.
package sim
