package workload

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
)

// Client is somebody who uses the platform until ctx ends, and then returns nil.
// An error means that the client was set up wrongly and did nothing.
type Client interface {
	Run(ctx context.Context, m nodes.Machine) error
}

// Role makes a role whose process is all of the clients. It takes no arguments.
func Role(clients ...Client) nodes.Role {
	return func(ctx context.Context, m nodes.Machine, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("workload: unexpected argument %q", args[0])
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s := <-m.Signals():
					if s == nodes.Terminate || s == nodes.Interrupt {
						cancel()
						return
					}
				}
			}
		}()
		errs := make([]error, len(clients))
		indexes := make([]int, len(clients))
		for i := range indexes {
			indexes[i] = i
		}
		nodes.FanOut(ctx, m, "workload", indexes, func(ctx context.Context, i int) {
			if errs[i] = clients[i].Run(ctx, m); errs[i] != nil {
				cancel()
			}
		})
		return errors.Join(errs...)
	}
}

// Pace says how quick and how patient a client is. The zero value stands for
// the values given here; a field that is zero stands for its own.
type Pace struct {
	Period  time.Duration // from page to page 20 s, from message to message 1 s
	Request time.Duration // patience for a page, a tunnel or a publication: 10 s
	Resolve time.Duration // patience with the resolver: 5 s
	Connect time.Duration // patience with one address before the next: 3 s
	Secure  time.Duration // patience with a TLS handshake: 5 s
	Idle    time.Duration // for which an unused connection is kept: 30 s
	Retry   time.Duration // first delay before a tunnel is opened again: 1 s
	Longest time.Duration // delay after many failures: 30 s
	Quiet   time.Duration // silence after which a tunnel is given up: 60 s
}

func (p Pace) orDefault(period time.Duration) Pace {
	return Pace{
		Period:  cmp.Or(p.Period, period),
		Request: cmp.Or(p.Request, 10*time.Second),
		Resolve: cmp.Or(p.Resolve, 5*time.Second),
		Connect: cmp.Or(p.Connect, 3*time.Second),
		Secure:  cmp.Or(p.Secure, 5*time.Second),
		Idle:    cmp.Or(p.Idle, 30*time.Second),
		Retry:   cmp.Or(p.Retry, time.Second),
		Longest: cmp.Or(p.Longest, 30*time.Second),
		Quiet:   cmp.Or(p.Quiet, time.Minute),
	}
}

// part is one activity of one client: what its waits and draws are named after.
type part struct {
	m     nodes.Machine
	name  string // unique on the machine
	pace  Pace
	roots *x509.CertPool
}

// draw gives the n-th random duration of a kind, in [0, below).
func (p part) draw(kind string, n uint64, below time.Duration) time.Duration {
	if below <= 0 {
		return 0
	}
	return time.Duration(p.m.Rand(p.name+"/"+kind, n) % uint64(below))
}

// within is a context that ends after d, named after one of the part's waits.
func (p part) within(ctx context.Context, wait string, d time.Duration) (context.Context, context.CancelFunc) {
	return nodes.Timeout(ctx, p.m, p.name+"/"+wait, d)
}

func (p part) sleep(ctx context.Context, wait string, d time.Duration) error {
	return nodes.Sleep(ctx, p.m, p.name+"/"+wait, d)
}

// validName tells whether s may be a key or a channel.
func validName(s string) bool {
	return len(s) >= 1 && len(s) <= 128 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}
