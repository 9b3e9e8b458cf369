package proxy

import (
	"context"
	"fmt"
	"sync"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// A proxy that belongs to a cell hears the table from its Seed. The node is its
// parent, which is ordered about and has the meta port; each child keeps a link
// of its own, only to watch.

// identity reads the node's certificate.
func (o options) identity(m nodes.Machine) (*ca.Identity, *nodes.Credential, error) {
	id, credential, err := o.cell.Identity(m)
	if err != nil {
		return nil, nil, fmt.Errorf("proxy: %w", err)
	}
	if id.Name().Role != cell.RoleProxy {
		return nil, nil, fmt.Errorf("proxy: the certificate is that of %s", id.Name())
	}
	return id, credential, nil
}

// gauges are those of the link, and the end of the public certificate if there
// is one.
func gauges(link *cell.Link, cert *nodes.Certificate) map[string]meta.Gauge {
	all := link.Gauges()
	if cert != nil {
		all["protoplex_proxy_certificate_not_after_seconds"] = meta.Gauge{Help: "When the public certificate ends, in Unix time.",
			Read: func() float64 { return float64(cert.NotAfter().Unix()) }}
	}
	return all
}

// runParent runs the node, as a member of its cell.
func runParent(ctx context.Context, m nodes.Machine, o options, parent nodes.ParentOptions) error {
	id, credential, err := o.identity(m)
	if err != nil {
		return err
	}
	cert, err := o.certificate(m)
	if err != nil {
		return err
	}
	drain := make(chan struct{})
	begin := sync.OnceFunc(func() { close(drain) })
	parent.Drain = drain
	retired := make(chan struct{})
	retire := sync.OnceFunc(func() { close(retired) })
	parent.Status = func(s nodes.ParentStatus) {
		if s.Phase == nodes.Retiring {
			retire()
		}
	}
	fence := meta.NewFence()
	link, err := cell.NewLink(m, cell.Options{Identity: id, Seeds: o.cell.Seeds, Orders: fence, Do: func(_ context.Context, order cell.Order) error {
		if order.Do == cell.Drain {
			begin()
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	var keeping sync.WaitGroup
	defer keeping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keeping.Go(func() { credential.Keep(ctx) })
	if cert != nil { // which the children show, and we watch
		keeping.Go(func() { cert.Keep(ctx) })
	}
	return keep(ctx, link, retired, func() error {
		return meta.Parent(ctx, m, parent, meta.Options{
			Identity: id, Listen: o.cell.Meta, Listener: o.metaListener(m), Orders: fence, Facts: link.Facts(), Gauges: gauges(link, cert),
		})
	})
}

// keep keeps a link while f runs, or until another process has become the node.
func keep(ctx context.Context, link *cell.Link, retired <-chan struct{}, f func() error) error {
	linked, cut := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { _ = link.Run(linked) }) // it ends with its context, or when we leave
	keeping.Go(func() { cutOn(linked, cut, retired) })
	err := f()
	link.Leave(ctx, "it has drained")
	cut()
	keeping.Wait()
	return err
}

func cutOn(ctx context.Context, cut func(), retired <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-retired:
		cut()
	}
}

// join begins to hear the table, if this proxy belongs to a cell. What it gives
// ends that.
func (s *server) join() (leave func(), err error) {
	if !s.o.cell.Joined() {
		return func() {}, nil
	}
	id, credential, err := s.o.identity(s.m)
	if err != nil {
		return nil, err
	}
	o := cell.Options{Identity: id, Seeds: s.o.cell.Seeds, Orders: meta.NewFence()}
	if s.o.child {
		o.Registration.Proc = s.m.Host().Proc
	} else {
		o.Do = func(_ context.Context, order cell.Order) error {
			if order.Do == cell.Drain {
				s.drain.Begin(s.ctx)
			}
			return nil
		}
	}
	link, err := cell.NewLink(s.m, o)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s.table = link.Table()
	var keeping sync.WaitGroup
	ctx, cut := context.WithCancel(s.ctx)
	linked, unlink := context.WithCancel(ctx)
	keeping.Go(func() { _ = link.Run(linked) }) // it ends with its context, or when we leave
	keeping.Go(func() { credential.Keep(ctx) })
	if !s.o.child {
		keeping.Go(func() { cutOn(linked, unlink, s.drain.Retired()) })
		keeping.Go(func() {
			err := meta.Serve(ctx, s.m, meta.Options{
				Identity: id, Listen: s.o.cell.Meta, Listener: s.o.metaListener(s.m), Orders: o.Orders, Facts: link.Facts(), Gauges: gauges(link, s.cert),
				Drain:   func() error { s.drain.Begin(s.ctx); return nil },
				Retired: s.drain.Retired(),
			})
			if ctx.Err() == nil {
				s.m.Log().Error("meta port lost", "error", err) // its traffic goes on
			}
		})
	}
	return func() {
		link.Leave(s.ctx, "it has drained")
		unlink()
		cut()
		keeping.Wait()
	}, nil
}
