package sim

import "time"

// Clock is the pair of clocks of one machine: a wall clock, which may be wrong,
// drift and step, and a clock of elapsed time, which starts at zero when the
// machine boots and only drifts. Both stand still while the machine is paused or
// hangs, and jump when it goes on.
//
// Package time does not follow it: time.Now and timers keep the world's time, as
// waits of a few seconds hardly feel a drift of parts per million. What a program
// should believe, it asks [Process.Now] and [Process.Elapsed].
type Clock struct {
	w       *World
	since   int64 // world time of the last change of rate
	wall    int64 // wall clock reading at since, relative to the true one
	elapsed int64 // elapsed clock reading at since
	drift   int64 // parts per billion
	frozen  int64 // world time at which readings stand still, or -1
	stopped int64 // world time at which the wall clock alone has stopped, or -1
}

func (c *Clock) worldNow() int64 {
	if c.frozen >= 0 {
		return c.frozen
	}
	return c.w.now()
}

// drifted is how far the clock has gone wrong since the last change of rate.
func (c *Clock) drifted(now int64) int64 {
	d := now - c.since
	return d/1_000_000*c.drift/1_000 + d%1_000_000*c.drift/1_000_000_000
}

func (c *Clock) now() time.Time {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	n := c.worldNow()
	if c.stopped >= 0 {
		return c.w.start.Add(time.Duration(c.stopped + c.wall))
	}
	return c.w.start.Add(time.Duration(n + c.wall + c.drifted(n)))
}

func (c *Clock) sinceBoot() time.Duration {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	n := c.worldNow()
	return time.Duration(c.elapsed + n - c.since + c.drifted(n))
}

func (c *Clock) rebase() {
	n := c.worldNow()
	d := c.drifted(n)
	if c.stopped < 0 {
		c.wall += d
	}
	c.elapsed += n - c.since + d
	c.since = n
}

// boot starts the elapsed clock anew. The wall clock runs on a battery.
func (c *Clock) boot() {
	c.rebase()
	c.elapsed = 0
}

// Step sets the wall clock forward, or back if d is negative.
func (c *Clock) Step(d time.Duration) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.rebase()
	c.wall += int64(d)
}

// Drift lets both clocks run fast, or slow if negative, by parts per billion.
func (c *Clock) Drift(partsPerBillion int64) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.rebase()
	c.drift = partsPerBillion
}

// Stop has the wall clock stand still where it is, and the other one go on.
func (c *Clock) Stop() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.stopped < 0 {
		c.rebase()
		c.stopped = c.since
	}
}

// Start sets a wall clock that was stopped to where it would be, and has it go on.
func (c *Clock) Start() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.stopped >= 0 {
		c.rebase()
		c.stopped = -1
	}
}
