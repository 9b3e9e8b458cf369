package sim

import (
	"fmt"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// watchdog lives outside the bubble, in real time. A goroutine that parks while
// it holds a mutex stops virtual time for ever, and the runtime does not report
// that; the watchdog does.
type watchdog struct {
	reached atomic.Int64 // by virtual time
	done    chan struct{}
}

const (
	defaultWatchdog = 30 * time.Second
	statusBroken    = 4 // exit status of a run that broke
	// A world in which nothing but timers fires must still be seen to move.
	watchdogPulse = 10 * time.Second
)

// startWatchdog must be called outside any bubble.
func startWatchdog(limit time.Duration) *watchdog {
	d := &watchdog{done: make(chan struct{})}
	if limit == 0 {
		limit = defaultWatchdog
	}
	if limit > 0 {
		go d.watch(limit)
	}
	return d
}

func (d *watchdog) watch(limit time.Duration) {
	tick := time.NewTicker(limit)
	defer tick.Stop()
	last := int64(-1)
	for {
		select {
		case <-d.done:
			return
		case <-tick.C:
		}
		now := d.reached.Load()
		if now == last {
			fmt.Fprintf(os.Stderr, "sim: virtual time has stood still for %s of real time; all goroutines:\n\n", limit)
			if err := pprof.Lookup("goroutine").WriteTo(os.Stderr, 2); err != nil {
				fmt.Fprintln(os.Stderr, "sim: dump goroutines:", err)
			}
			os.Exit(statusBroken)
		}
		last = now
	}
}

func (d *watchdog) stop() { close(d.done) }
