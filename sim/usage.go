package sim

// Usage is what a machine has taken of the world so far, and what it holds of it.
type Usage struct {
	Arrivals    uint64 // segments, datagrams and handshakes that reached it, since the world began
	Connections int    // ends of streams that its processes have open
	Files       int    // on its disk, directories left out
	Bytes       int64  // in these files
}

// Usage measures the machine as it is now. Called from a function given to
// [World.At] it sees a quiet world, and so gives the same in every run.
func (m *Machine) Usage() Usage {
	m.w.mu.Lock()
	u := Usage{Arrivals: m.arrivals}
	for _, p := range m.processes {
		for e := range p.ends {
			if !e.closed && e.failure == nil {
				u.Connections++
			}
		}
	}
	m.w.mu.Unlock()
	u.Files, u.Bytes = m.disk.usage()
	return u
}

// usage counts the files of a disk, and the bytes in them.
func (d *Disk) usage() (files int, size int64) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	for _, i := range d.fs.names {
		if !i.dir {
			files++
			size += int64(len(i.data))
		}
	}
	return files, size
}
