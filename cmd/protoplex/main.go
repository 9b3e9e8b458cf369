// Command protoplex runs the platform, and breaks it on a desk.
//
// It is the one place that joins roles to a world: to the operating system, or
// to a simulated one. Start reading at root, which lists all commands.
//
// The exit status is 0 if all went well, 1 if an expectation did not hold, 2 for
// a wrong command line or an invalid scenario, 3 if a run does not replay, and 4
// if a run broke.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/nodes"
)

// Exit statuses.
const (
	statusFailed   = 1
	statusUsage    = 2
	statusDiverged = 3
	statusBroken   = 4
)

// status is an error that ends the program with a status of its own.
type status struct {
	code int
	err  error // nil if all has been said
}

func (s status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}

func (s status) Unwrap() error { return s.err }

func main() { os.Exit(run()) }

// run is main with a return value, so that tests can start the program.
func run() int {
	if code, child := nodes.ChildMain(deskRoles()); child {
		return code
	}
	out := &checkedOutput{to: os.Stdout}
	c := root()
	c.SetOut(out)
	err := c.ExecuteContext(context.Background())
	if failed := out.failed(); failed != nil {
		err = status{statusBroken, fmt.Errorf("write output: %w", failed)}
	}
	if err == nil {
		return 0
	}
	var s status
	if !errors.As(err, &s) {
		s = status{statusUsage, err} // cobra's own errors are about the command line
	}
	if s.err != nil {
		fmt.Fprintln(os.Stderr, "protoplex:", s.err)
	}
	return s.code
}

// checkedOutput is standard output. It remembers the first failure, so that nobody takes a
// part of what there was to say for all of it.
type checkedOutput struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

func (o *checkedOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.to.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *checkedOutput) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "protoplex",
		Short: "A multi-region web platform, and a deterministic simulator that breaks it",
		Long: `Protoplex is a multi-region web platform and, in the same binary, a simulator that
plays real and invented outages against it, exactly the same each time.`,
		Example: `  protoplex up
  protoplex sim list
  protoplex sim run region-failover
  protoplex sim verify region-failover --seeds 5`,
		Version:           cmp.Or(nodes.Version(), "of an unknown commit") + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	c.AddCommand(nodeCommand()) // whose roles hear of signals themselves
	for _, sub := range []*cobra.Command{simCommand(), cellCommand(), monitorCommand(), upCommand(), dnsCommand(), redirectCommand(), fakeCommand()} {
		c.AddCommand(interruptible(sub))
	}
	return c
}

// interruptible has the context of a command, and of those below it, end with an
// interrupt or SIGTERM.
func interruptible(c *cobra.Command) *cobra.Command {
	then := c.PersistentPreRun
	c.PersistentPreRun = func(c *cobra.Command, args []string) {
		ctx, _ := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		c.SetContext(ctx)
		if then != nil {
			then(c, args)
		}
	}
	return c
}
