package main

import (
	"errors"
	"fmt"
	"os/exec"
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
	hopeless    = 5                // early ends in a row
)

// process keeps a role running on a machine, in a process of its own: one that
// ends is started again, after waits that grow, until it is stopped.
type process struct {
	name     string
	machine  *nodes.OS
	role     string
	args     []string
	console  *console
	terminal *terminal
	loops    chan<- error // told of the fifth early end in a row, if there is room

	stop, kill func()
	stopping   chan struct{}
	killing    chan struct{}
	keeping    sync.WaitGroup
	wasKilled  bool // by us; to be read after wait
}

func newProcess(name string, machine *nodes.OS, role string, args []string, console *console, terminal *terminal, loops chan<- error) *process {
	p := &process{name: name, machine: machine, role: role, args: args, console: console, terminal: terminal, loops: loops,
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
	backoff, ends := minBackoff, 0
	for {
		began := time.Now()
		err := p.once()
		select {
		case <-p.stopping:
			return
		default:
		}
		if time.Since(began) >= stableAfter {
			backoff, ends = minBackoff, 0
		}
		err = p.explain(err)
		p.terminal.say("%-10s  ended: %v; again in %v", p.name, err, backoff)
		if ends++; ends == hopeless {
			select {
			case p.loops <- fmt.Errorf("%s does not start: %w", p.name, err):
			default:
			}
		}
		select {
		case <-p.stopping:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// explain adds to the end of the process what it said itself.
func (p *process) explain(err error) error {
	why := p.console.takeFailure()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return errors.New("by itself")
	case why != "":
		return fmt.Errorf("%w: %s (%s)", err, why, p.console.file.Name())
	case errors.As(err, &exit) && exit.Exited(): // as after a panic
		return fmt.Errorf("%w (%s)", err, p.console.file.Name())
	default:
		return err
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
