package sim

// A machine stands still while it is paused or hung.

// Pause freezes the machine as a stopped virtual machine: nothing is delivered
// to it, what it does reaches nobody, and its clocks stand still. Its timers
// still fire, so its processes compute, unseen, until they need the world. Its
// kernel answers nothing, so a long pause ends connections as silence does.
func (m *Machine) Pause() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.on && !m.paused {
		m.still()
		m.paused = true
		m.w.rerouted()
	}
}

// Resume lets a paused machine go on: its clocks jump to the present and all
// that waited in either direction is released in order.
func (m *Machine) Resume() {
	m.w.mu.Lock()
	if m.paused {
		m.release(false)
		m.w.rerouted()
	}
	m.w.mu.Unlock()
	m.w.wake()
}

// release ends a pause; with drop, what the machine itself did meanwhile never
// happened.
func (m *Machine) release(drop bool) {
	if !m.paused {
		return
	}
	m.paused = false
	arrivals, sends := m.heldEvents, m.heldSends
	m.heldEvents, m.heldSends = nil, nil
	for i := range arrivals {
		m.w.schedule(m.w.now()+int64(i), arrivals[i])
	}
	if !drop {
		for _, x := range sends {
			x.end.peer.transmit(x)
		}
	}
	m.moving()
}

// Hang has all processes of the machine stand still while its kernel goes on, as
// it does around processes that were stopped or have locked themselves up:
// connections are taken until the backlog is full, what arrives is acknowledged
// until the windows are, and nothing is answered. Their clocks stand still for
// them; see [Machine.Pause] for their timers.
func (m *Machine) Hang() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.on && !m.hung {
		m.still()
		m.hung = true
	}
}

// Unhang lets the processes of the machine go on: what they did meanwhile takes
// effect.
func (m *Machine) Unhang() {
	m.w.mu.Lock()
	if m.hung {
		m.hung = false
		m.moving()
	}
	m.w.mu.Unlock()
	m.w.wake()
}

// stands tells whether the processes of the machine stand still.
func (m *Machine) stands() bool { return m.paused || m.hung }

// still stops the clocks of processes that are about to stand still.
func (m *Machine) still() {
	if !m.stands() {
		m.clock.frozen = m.w.now()
	}
}

// moving lets the clocks and the processes go on, if nothing else keeps them.
func (m *Machine) moving() {
	if m.stands() {
		return
	}
	m.clock.frozen = -1
	m.catchUp()
}

// catchUp gives effect to what the processes did while they stood still: a
// nanosecond apart and in the order in which they did it, for what took turns then
// must not race now. What they do meanwhile waits behind it.
func (m *Machine) catchUp() {
	if len(m.heldRecords) == 0 || m.catchingUp {
		return
	}
	m.catchingUp = true
	m.w.at(m.w.now()+1, func() {
		m.w.mu.Lock()
		defer m.w.mu.Unlock()
		m.catchingUp = false
		if m.stands() || len(m.heldRecords) == 0 {
			return
		}
		m.w.records.join(&m.heldRecords[0])
		m.heldRecords = m.heldRecords[1:]
		m.w.catching = m
		m.catchUp()
	})
}

// holds tells whether what a process of the machine does has to wait.
func (m *Machine) holds() bool {
	return m.stands() || len(m.heldRecords) > 0 && m.w.catching != m
}

// hold gives the held records of the present commit.
func (m *Machine) hold() *records {
	n := m.w.commits
	if last := len(m.heldRecords) - 1; last < 0 || m.heldRecords[last].commit != n {
		m.heldRecords = append(m.heldRecords, records{commit: n})
	}
	return &m.heldRecords[len(m.heldRecords)-1]
}

// Held counts what waits, in both directions, for the end of a pause or a hang.
func (m *Machine) Held() int {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	n := len(m.heldEvents) + len(m.heldSends)
	for i := range m.heldRecords {
		n += m.heldRecords[i].len()
	}
	return n
}
