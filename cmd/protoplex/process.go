package main

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// How a process is kept running.
const (
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 10 * time.Second
	stableAfter = time.Minute      // and earlier ends are forgotten
	leaveLimit  = 20 * time.Second // for one that was told to leave
)

// process keeps a role running on a machine, in a process of its own: one that
// ends is started again, after waits that grow, until it is stopped.
type process struct {
	name     string
	machine  *nodes.OS
	role     string
	args     []string
	console  io.Closer
	terminal *terminal

	stop, kill func()
	stopping   chan struct{}
	killing    chan struct{}
	keeping    sync.WaitGroup
	wasKilled  bool // by us; to be read after wait
}

func newProcess(name string, machine *nodes.OS, role string, args []string, console io.Closer, terminal *terminal) *process {
	p := &process{name: name, machine: machine, role: role, args: args, console: console, terminal: terminal,
		stopping: make(chan struct{}), killing: make(chan struct{})}
	p.stop = sync.OnceFunc(func() { close(p.stopping) })
	p.kill = sync.OnceFunc(func() { close(p.killing) })
	return p
}

// run begins to keep it.
func (p *process) run() { p.keeping.Go(p.keep) }

// wait returns when it has ended for good.
func (p *process) wait() { p.keeping.Wait() }

// close kills it, if it still runs, and gives up what it had.
func (p *process) close() error {
	p.stop()
	p.kill()
	p.wait()
	return errors.Join(p.machine.Close(), p.console.Close())
}

func (p *process) keep() {
	backoff := minBackoff
	for {
		began := time.Now()
		err := p.once()
		select {
		case <-p.stopping:
			return
		default:
		}
		if time.Since(began) >= stableAfter {
			backoff = minBackoff
		}
		if err == nil {
			err = errors.New("by itself")
		}
		p.terminal.say("%-10s  ended: %v; again in %v", p.name, err, backoff)
		select {
		case <-p.stopping:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// once runs the process to its end.
func (p *process) once() error {
	child, err := p.machine.Start(p.role, p.args, nil)
	if err != nil {
		return err
	}
	if c, ok := child.(interface{ PID() int }); ok {
		p.terminal.say("%-10s  pid %d", p.name, c.PID())
	}
	defer child.Control().Close() // it says that it is ready, and nothing else
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-p.stopping:
	}
	// If it cannot be signalled it has ended.
	_ = child.Signal(nodes.Terminate)
	select {
	case err := <-ended:
		return err
	case <-p.killing:
	case <-time.After(leaveLimit):
	}
	p.wasKilled = true
	_ = child.Signal(nodes.Kill)
	return <-ended
}
