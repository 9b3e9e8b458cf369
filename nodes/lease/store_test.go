package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/lease"
	"github.com/espra/protoplex/nodes/leasetest"
)

const (
	term   = 10 * time.Second
	leader = "leader"
	key    = "leases/leader"
)

func TestConformance(t *testing.T) {
	for _, test := range leasetest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				test.Run(t, w)
				w.distinct(t)
			})
		})
	}
}

// acquired is a world in which process a holds the lease, as ana, and b has
// seen so.
func acquired(t *testing.T) (w *world, a, b leasetest.Process, l nodes.Lease) {
	w = newWorld()
	a, b = w.Process(t, "a"), w.Process(t, "b")
	l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
	require.NoError(t, err)
	refused(t, b)
	return w, a, b, l
}

func refused(t *testing.T, p leasetest.Process) {
	t.Helper()
	_, err := p.Leases.Acquire(t.Context(), leader, "bob", term)
	require.ErrorIs(t, err, nodes.ErrLeaseHeld)
}

func errTimeout() error { return errors.New("timed out") }

// What a put comes to that is not answered with a clear success.
func TestPutTrouble(t *testing.T) {
	for _, test := range []struct {
		name    string
		trouble trouble
		fails   bool // the call, leaving everything as it was
	}{
		{"applied, answer lost", trouble{applied: true, err: errTimeout()}, false},
		{"applied, retried, answered 412", trouble{applied: true, err: nodes.ErrBlobConflict}, false},
		{"not applied", trouble{err: errTimeout()}, true},
		{"not applied, yet answered 412", trouble{err: nodes.ErrBlobConflict}, true},
		{"denied", trouble{err: nodes.ErrBlobDenied}, true},
	} {
		t.Run("acquire/"+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				a, b := w.Process(t, "a"), w.Process(t, "b")
				w.next = []trouble{test.trouble}
				sent := a.Elapsed()
				l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
				if test.fails {
					require.ErrorIs(t, err, test.trouble.err)
					require.NotErrorIs(t, err, nodes.ErrLeaseHeld)
					l, err = a.Leases.Acquire(t.Context(), leader, "ana", term)
				}
				require.NoError(t, err)
				require.Equal(t, uint64(1), l.Epoch)
				require.Equal(t, sent+term, l.Until)
				refused(t, b)
				w.distinct(t)
			})
		})
		t.Run("renew/"+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b, l := acquired(t)
				time.Sleep(term / 2)
				w.next = []trouble{test.trouble}
				sent := a.Elapsed()
				next, err := a.Leases.Renew(t.Context(), l)
				if test.fails {
					require.ErrorIs(t, err, test.trouble.err)
					require.NotErrorIs(t, err, nodes.ErrLeaseLost)
					next, err = a.Leases.Renew(t.Context(), l)
				}
				require.NoError(t, err)
				require.Equal(t, sent+term, next.Until)
				time.Sleep(term * 3 / 4)
				refused(t, b)
				w.distinct(t)
			})
		})
		t.Run("release/"+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b, l := acquired(t)
				w.next = []trouble{test.trouble}
				err := a.Leases.Release(t.Context(), l)
				_, lost := a.Leases.Renew(t.Context(), l)
				require.ErrorIs(t, lost, nodes.ErrLeaseLost, "whatever came of it, we hold it no more")
				if test.fails {
					require.ErrorIs(t, err, test.trouble.err)
					refused(t, b)
					time.Sleep(2 * term)
				} else {
					require.NoError(t, err)
				}
				next, err := b.Leases.Acquire(t.Context(), leader, "bob", term)
				require.NoError(t, err)
				require.Equal(t, uint64(2), next.Epoch)
			})
		})
	}
}

// A put that comes through after its sender gave it up, in the middle of the
// next one, whose condition it breaks.
func TestLatePut(t *testing.T) {
	late := trouble{late: true, err: errTimeout()}
	t.Run("renewal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, a, _, l := acquired(t)
			time.Sleep(time.Second)
			w.next = []trouble{late}
			first := a.Elapsed()
			_, err := a.Leases.Renew(t.Context(), l)
			require.ErrorContains(t, err, "timed out")
			time.Sleep(time.Second)
			next, err := a.Leases.Renew(t.Context(), l)
			require.NoError(t, err)
			require.Equal(t, first+term, next.Until, "it counts from the put that was applied, not from the one that was answered")
			_, err = a.Leases.Renew(t.Context(), l)
			require.NoError(t, err)
			w.distinct(t)
		})
	})
	t.Run("renewal before a release", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, a, b, l := acquired(t)
			w.next = []trouble{late}
			_, err := a.Leases.Renew(t.Context(), l)
			require.Error(t, err)
			require.NoError(t, a.Leases.Release(t.Context(), l))
			_, err = b.Leases.Acquire(t.Context(), leader, "bob", term)
			require.NoError(t, err)
		})
	})
	t.Run("acquisition as another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			a := w.Process(t, "a")
			w.next = []trouble{late}
			_, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
			require.Error(t, err)
			_, err = a.Leases.Acquire(t.Context(), leader, "zoe", term)
			require.ErrorContains(t, err, "ask again")
			l, err := a.Leases.Acquire(t.Context(), leader, "zoe", term)
			require.NoError(t, err, "nobody acts on an attempt that was given up")
			require.Equal(t, uint64(2), l.Epoch)
		})
	})
	t.Run("release after coming back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, a, b, l := acquired(t)
			w.next = []trouble{late}
			require.Error(t, a.Leases.Release(t.Context(), l))
			_, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
			require.Error(t, err, "it was the release that came through")
			l, err = a.Leases.Acquire(t.Context(), leader, "ana", term)
			require.NoError(t, err)
			refused(t, b)
			_, err = a.Leases.Renew(t.Context(), l)
			require.NoError(t, err)
		})
	})
}

// Somebody else's put wins although ours was sent; losing is for good.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		other := newWorld()
		o := other.Process(t, "b")
		_, err := o.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
		w.next = []trouble{{then: func() { w.objects[key] = other.objects[key] }}}
		_, err = a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
		gets := w.gets
		_, err = a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
		require.Equal(t, gets, w.gets, "asked the store again")
		refused(t, b)
	})
}

// A store that is away for longer than the lease ends it for its holder, and
// for the others once they have seen that it did not change.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		w.away = errors.New("503")
		for a.Elapsed() < l.Until {
			_, err := a.Leases.Renew(t.Context(), l)
			require.ErrorIs(t, err, w.away)
			require.NotErrorIs(t, err, nodes.ErrLeaseLost)
			_, err = b.Leases.Acquire(t.Context(), leader, "bob", term)
			require.ErrorIs(t, err, w.away)
			require.NotErrorIs(t, err, nodes.ErrLeaseHeld)
			time.Sleep(time.Second)
		}
		_, err := a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
		time.Sleep(term)
		w.away = nil
		next, err := b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
		require.Equal(t, uint64(2), next.Epoch)
	})
}

// An answer that comes after the term is of no use.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, clock := w.process("a")
		w.next = []trouble{{then: func() { clock.begin = clock.begin.Add(-term) }}}
		_, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.ErrorContains(t, err, "longer than the term")
		l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.NoError(t, err)
		w.next = []trouble{{then: func() { clock.begin = clock.begin.Add(-term) }}}
		_, err = a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
	})
}

// A renewal that was sent in time and answered after the end of the lease it
// renews is good: nobody can have come in between.
func TestAnswerAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, clock := w.process("a")
		l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.NoError(t, err)
		time.Sleep(term - time.Second)
		w.next = []trouble{{then: func() { clock.begin = clock.begin.Add(-2 * time.Second) }}}
		next, err := a.Leases.Renew(t.Context(), l)
		require.NoError(t, err)
		require.Equal(t, l.Until+term-time.Second, next.Until)
	})
}

// The holder's clock is slow, the observer's fast, each by as much as is
// allowed: whenever the observer takes over, the holder has stopped believing.
// A little more, and they believe at once: the bound is where it is said to be.
func TestDrift(t *testing.T) {
	for _, test := range []struct {
		name           string
		holder, waiter int64 // parts per million
		safe           bool
	}{
		{"true clocks", 0, 0, true},
		{"slow holder, fast waiter", -1000, 1000, true},
		{"fast holder, slow waiter", 1000, -1000, true},
		{"beyond", -20_000, 20_000, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const long = 30 * time.Minute // of which drift is more than the slack
				w := newWorld()
				a, ca := w.process("a")
				b, cb := w.process("b")
				ca.drift.Store(test.holder)
				cb.drift.Store(test.waiter)
				l, err := a.Leases.Acquire(t.Context(), leader, "ana", long)
				require.NoError(t, err)
				began := b.Elapsed()
				refused(t, b)
				time.Sleep(long - time.Minute)
				for {
					next, err := b.Leases.Acquire(t.Context(), leader, "bob", long)
					if err == nil {
						require.Equal(t, test.safe, a.Elapsed() >= l.Until)
						require.Greater(t, next.Epoch, l.Epoch, "the fence holds whatever clocks do")
						break
					}
					require.ErrorIs(t, err, nodes.ErrLeaseHeld)
					require.Less(t, b.Elapsed()-began, long+time.Minute)
					time.Sleep(50 * time.Millisecond)
				}
			})
		})
	}
}

// A holder that was stopped wakes up: its clock tells it so at once.
func TestPausedHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, clock := w.process("a")
		b := w.Process(t, "b")
		l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.NoError(t, err)
		refused(t, b)
		clock.paused.Store(int64(clock.Elapsed()))
		time.Sleep(2 * term)
		next, err := b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
		require.Less(t, a.Elapsed(), l.Until, "it believes while it sleeps")
		// Even a renewal that it sends while it still believes is refused.
		_, err = a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
		clock.paused.Store(0)
		require.Greater(t, a.Elapsed(), l.Until)
		require.Greater(t, next.Epoch, l.Epoch)
	})
}

// Who is refused is told who holds the lease, and for how long.
func TestHeldBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		time.Sleep(time.Second)
		for _, p := range []leasetest.Process{a, b} {
			_, err := p.Leases.Acquire(t.Context(), leader, "bob", term)
			var held *nodes.LeaseHeldError
			require.ErrorAs(t, err, &held)
			require.Equal(t, "ana", held.Holder)
			require.Equal(t, l.Epoch, held.Epoch)
			require.InDelta(t, term-time.Second, held.Left, float64(200*time.Millisecond))
		}
		// One who is too late at the store is told of the one who was not.
		require.NoError(t, a.Leases.Release(t.Context(), l))
		other := newWorld()
		other.set(key, w.body(key))
		_, err := other.Process(t, "o").Leases.Acquire(t.Context(), leader, "oda", term)
		require.NoError(t, err)
		w.next = []trouble{{then: func() { w.objects[key] = other.objects[key] }}}
		_, err = b.Leases.Acquire(t.Context(), leader, "bob", term)
		var held *nodes.LeaseHeldError
		require.ErrorAs(t, err, &held)
		require.Equal(t, "oda", held.Holder)
		require.Greater(t, held.Left, term)
	})
}

// A process that starts anew while its first put may still come through does
// not take that for its own, though its random numbers repeat.
func TestIncarnations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		old := w.Process(t, "a")
		w.next = []trouble{{err: errTimeout()}}
		_, err := old.Leases.Acquire(t.Context(), leader, "ana", term)
		require.Error(t, err)
		a := w.Process(t, "a")
		l, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.NoError(t, err)
		_, err = old.Leases.Acquire(t.Context(), leader, "ana", term)
		require.ErrorIs(t, err, nodes.ErrLeaseHeld, "what lives on of the old process is another")
		_, err = a.Leases.Renew(t.Context(), l)
		require.NoError(t, err)
		w.distinct(t)
	})
}

// Requests that hang are given up, and the lease goes on.
func TestHangingStore(t *testing.T) {
	for _, test := range []struct {
		name       string
		puts, gets time.Duration
	}{{"puts", time.Hour, 0}, {"gets", 0, time.Hour}, {"all", time.Hour, time.Hour}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b, l := acquired(t)
				w.slowPuts, w.slowGets = test.puts, test.gets
				if test.puts == 0 {
					w.next = []trouble{{err: errTimeout()}} // and so it is read back
				}
				began := a.Elapsed()
				_, err := a.Leases.Renew(t.Context(), l)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, nodes.ErrLeaseLost)
				_, err = b.Leases.Acquire(t.Context(), "other", "bob", term)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Less(t, a.Elapsed()-began, 9*time.Second)
				w.slowPuts, w.slowGets = 0, 0
				_, err = a.Leases.Renew(t.Context(), l)
				require.NoError(t, err)
			})
		})
	}
}

// An answer that ends early says nothing about the object.
func TestCutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		w.cut = true
		w.next = []trouble{{applied: true, err: errTimeout()}}
		_, err := a.Leases.Renew(t.Context(), l)
		require.ErrorContains(t, err, "cut short")
		require.NotErrorIs(t, err, nodes.ErrLeaseLost)
		_, err = b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.ErrorContains(t, err, "cut short")
		require.NotErrorIs(t, err, lease.ErrObject)
		w.cut = false
		_, err = a.Leases.Renew(t.Context(), l)
		require.NoError(t, err)
	})
}

// Who releases holds no more, even if the call comes during another and is
// given no time.
func TestReleaseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, _, l := acquired(t)
		w.slowPuts = time.Second
		renewed := make(chan error, 1)
		go func() {
			_, err := a.Leases.Renew(t.Context(), l)
			renewed <- err
		}()
		synctest.Wait()
		ended, end := context.WithCancel(t.Context())
		end()
		require.ErrorIs(t, a.Leases.Release(ended, l), context.Canceled)
		require.NoError(t, <-renewed)
		_, err := a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
	})
}

// Objects that are no leases of ours are left alone, with a clear error.
func TestForeignObjects(t *testing.T) {
	for _, test := range []struct{ name, body, says string }{
		{"nothing", ``, "not a lease"},
		{"text", `hello`, "not a lease"},
		{"other JSON", `{"a": 1}`, "not a lease: no format"},
		{"list", `[1]`, "not a lease"},
		{"cut", `{"format":1,"epoch":1,"holder":"a","term":10000000000,"renewal":0,"nonce":"x`, "not a lease"},
		{"newer", `{"format":2,"epoch":1,"fence":{}}`, "format 2, newer than 1"},
		{"unknown field", `{"format":1,"epoch":1,"holder":"","term":1,"renewal":0,"nonce":"x","more":1}`, "unknown field"},
		{"no epoch", `{"format":1,"holder":"","term":1,"renewal":0,"nonce":"x"}`, "epoch 0"},
		{"negative epoch", `{"format":1,"epoch":-1,"holder":"","term":1,"renewal":0,"nonce":"x"}`, "not a lease"},
		{"last epoch", `{"format":1,"epoch":18446744073709551615,"holder":"","term":1,"renewal":0,"nonce":"x"}`, "epoch 1844"},
		{"no nonce", `{"format":1,"epoch":1,"holder":"","term":1,"renewal":0}`, "no nonce"},
		{"no term", `{"format":1,"epoch":1,"holder":"","renewal":0,"nonce":"x"}`, "term 0s"},
		{"endless term", `{"format":1,"epoch":1,"holder":"","term":9223372036854775807,"renewal":0,"nonce":"x"}`, "term 2562047h"},
		{"huge", `{"format":1,"epoch":1,"holder":"","term":1,"renewal":0,"nonce":"x"}` + strings.Repeat(" ", 5000), "larger than 4096"},
		{"long holder", `{"format":1,"epoch":1,"holder":"` + strings.Repeat("a", 257) + `","term":1,"renewal":0,"nonce":"x"}`, "overlong holder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b, l := acquired(t)
				w.set(key, test.body)
				_, err := a.Leases.Renew(t.Context(), l)
				require.ErrorIs(t, err, nodes.ErrLeaseLost)
				require.ErrorIs(t, err, lease.ErrObject)
				for _, p := range []leasetest.Process{a, b, w.Process(t, "c")} {
					for range 3 {
						_, err := p.Leases.Acquire(t.Context(), leader, "bob", term)
						require.ErrorIs(t, err, lease.ErrObject)
						require.NotErrorIs(t, err, nodes.ErrLeaseHeld)
						require.ErrorContains(t, err, test.says)
						time.Sleep(2 * term)
					}
				}
				require.Equal(t, test.body, w.body(key), "touched")
			})
		})
	}
}

// An object deleted by hand ends the lease, but lets nobody in early, and epochs
// go on from the greatest that anybody in the race has seen.
func TestDeletedObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		w.remove(key)
		refused(t, b)
		_, err := a.Leases.Renew(t.Context(), l)
		require.ErrorIs(t, err, nodes.ErrLeaseLost)
		time.Sleep(term)
		refused(t, b)
		time.Sleep(time.Second)
		next, err := b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
		require.Equal(t, uint64(2), next.Epoch)
	})
}

// An older object put back by hand does not turn epochs back.
func TestRestoredObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := acquired(t)
		old := w.body(key)
		for range 3 {
			require.NoError(t, a.Leases.Release(t.Context(), l))
			var err error
			l, err = a.Leases.Acquire(t.Context(), leader, "ana", term)
			require.NoError(t, err)
		}
		refused(t, b)
		w.set(key, old)
		refused(t, b)
		time.Sleep(term + time.Second)
		next, err := b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
		require.Greater(t, next.Epoch, l.Epoch)
	})
}

// A release writes: the object stays, and its epoch.
func TestReleaseKeepsTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, _, l := acquired(t)
		require.NoError(t, a.Leases.Release(t.Context(), l)) // a bucket that knows no Delete
		require.Contains(t, w.body(key), `"epoch":1,"holder":""`)
		c := w.Process(t, "c")
		next, err := c.Leases.Acquire(t.Context(), leader, "cem", term)
		require.NoError(t, err)
		require.Equal(t, uint64(2), next.Epoch)
	})
}

// The one who waits goes by the term of the one who holds.
func TestTermOfTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, b, _ := acquired(t)
		_, err := b.Leases.Acquire(t.Context(), leader, "bob", time.Second)
		require.ErrorIs(t, err, nodes.ErrLeaseHeld)
		time.Sleep(term - time.Second)
		_, err = b.Leases.Acquire(t.Context(), leader, "bob", time.Second)
		require.ErrorIs(t, err, nodes.ErrLeaseHeld)
	})
}

// The slack is waited on top of the term and of what clocks may drift in it.
func TestSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.options.Slack, w.options.DriftPPM = 3*time.Second, 1
		a, b := w.Process(t, "a"), w.Process(t, "b")
		_, err := a.Leases.Acquire(t.Context(), leader, "ana", term)
		require.NoError(t, err)
		refused(t, b)
		time.Sleep(term + 3*time.Second)
		refused(t, b)
		time.Sleep(time.Millisecond)
		_, err = b.Leases.Acquire(t.Context(), leader, "bob", term)
		require.NoError(t, err)
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []lease.Options{{DriftPPM: -1}, {DriftPPM: 1_000_000}, {Slack: -1}, {Timeout: -1}, {MaxSize: -1}} {
		require.Panics(t, func() { lease.New(&host{}, nil, o) })
	}
}
