package meta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/espra/protoplex/nodes"
)

// Parent runs a node as [nodes.Parent] does, with a meta port: its status and
// metrics tell of the children, its health is 503 unless one of them serves and
// nobody drains, and a drain order begins the way out. The port stays open to
// the end of it, unless the node retires: then it is the later generation's. A
// node whose port cannot be opened does not start.
func Parent(ctx context.Context, m nodes.Machine, po nodes.ParentOptions, o Options) error {
	p := &parentPort{told: po.Status, drain: make(chan struct{})}
	retired := make(chan struct{})
	p.retire, o.Retired = sync.OnceFunc(func() { close(retired) }), retired
	po.Status = p.report
	asked := po.Drain
	po.Drain = p.drain
	ctx, done := context.WithCancel(ctx)
	defer done()
	o.Facts = withDefault(o.Facts, "node", func() any { return p.node() })
	o.Gauges = p.gauges(o.Gauges)
	o.Collectors = append(slices.Clone(o.Collectors), p.ends())
	if health := o.Health; health == nil {
		o.Health = p.health
	} else {
		o.Health = func() error { return errors.Join(p.health(), health()) }
	}
	once := sync.OnceFunc(func() { close(p.drain) })
	if asked != nil {
		go func() {
			select {
			case <-asked:
				once()
			case <-ctx.Done():
			}
		}()
	}
	o.Drain = func() error { once(); return nil }

	s, err := newServer(m, o)
	if err != nil {
		return err
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := s.serve(serving, l)
		if serving.Err() == nil {
			m.Log().Error("meta port lost", "error", err) // its traffic goes on
		}
		ended <- err
	}()
	err = nodes.Parent(ctx, m, po)
	stop()
	if lost := <-ended; !errors.Is(lost, context.Canceled) && ctx.Err() == nil {
		err = errors.Join(err, lost)
	}
	return err
}

// parentPort is what the meta port knows of its node.
type parentPort struct {
	told   func(nodes.ParentStatus)
	drain  chan struct{}
	retire func() // leaves the port to others

	mu     sync.Mutex
	status nodes.ParentStatus
}

func (p *parentPort) report(status nodes.ParentStatus) {
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	if status.Phase == nodes.Retiring {
		p.retire()
	}
	if p.told != nil {
		p.told(status)
	}
}

func (p *parentPort) last() nodes.ParentStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// count gives how many children are in a state.
func (p *parentPort) count(state nodes.ChildState) int {
	n := 0
	for _, c := range p.last().Children {
		if c.State == state {
			n++
		}
	}
	return n
}

func (p *parentPort) health() error {
	switch phase := p.last().Phase; {
	case phase == "":
		return errors.New("starting")
	case phase != nodes.Running:
		return fmt.Errorf("%s", phase)
	case p.count(nodes.ChildReady) == 0:
		return errors.New("no child serves")
	}
	return nil
}

// NodeFact is the fact "node" of a parent's status.
type NodeFact struct {
	Phase    nodes.Phase `json:"phase"`
	Children []ChildFact `json:"children"`
}

// ChildFact is one of its children.
type ChildFact struct {
	Slot         int              `json:"slot"`
	Name         string           `json:"name"`
	State        nodes.ChildState `json:"state"`
	Ends         int              `json:"ends"`
	CrashLooping bool             `json:"crash_looping,omitempty"`
	Backoff      float64          `json:"backoff_seconds,omitempty"`
	Error        string           `json:"error,omitempty"`
}

func (p *parentPort) node() NodeFact {
	status := p.last()
	fact := NodeFact{Phase: status.Phase, Children: []ChildFact{}}
	for _, c := range status.Children {
		fact.Children = append(fact.Children, ChildFact{Slot: c.Slot, Name: c.Name, State: c.State, Ends: c.Ends,
			CrashLooping: c.CrashLooping(), Backoff: c.Backoff.Seconds(), Error: c.Error})
	}
	return fact
}

// ends counts the ends of children.
func (p *parentPort) ends() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "protoplex_node_child_ends_total",
		Help: "Ends of child processes, of those that the node still keeps a place for."}, func() float64 {
		ends := 0
		for _, c := range p.last().Children {
			ends += c.Ends
		}
		return float64(ends)
	})
}

func (p *parentPort) gauges(own map[string]Gauge) map[string]Gauge {
	all := map[string]Gauge{
		"protoplex_node_children":       {"Child processes that the node keeps a place for.", func() float64 { return float64(len(p.last().Children)) }},
		"protoplex_node_children_ready": {"Child processes that serve.", func() float64 { return float64(p.count(nodes.ChildReady)) }},
		"protoplex_node_draining": {"1 once it drains or ends.", func() float64 {
			if slices.Contains([]nodes.Phase{"", nodes.Running}, p.last().Phase) {
				return 0
			}
			return 1
		}},
	}
	maps.Copy(all, own)
	return all
}

func withDefault[V any](own map[string]V, name string, v V) map[string]V {
	all := map[string]V{name: v}
	maps.Copy(all, own)
	return all
}
