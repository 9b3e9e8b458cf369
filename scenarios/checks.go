package scenarios

import (
	"sync"

	"github.com/espra/protoplex/fakes/lb"
	"github.com/espra/protoplex/nodes"
)

// lie has the nodes of load balancers among the selected machines take all that
// they check for well, or for unwell. It counts the results that were false.
func (p *platform) lie(s *strike, well bool) {
	l := &lie{well: well, nodes: map[string]bool{}}
	for _, m := range p.selected(s.event.On) {
		l.nodes[m.Name()] = true
	}
	p.lies = append(p.lies, l)
	s.begin = func() { l.tell(true) }
	s.heal = func() { l.tell(false) }
	s.touched = func() uint64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.told
	}
}

// lie is what some nodes of load balancers believe while it is told.
type lie struct {
	well  bool
	nodes map[string]bool

	mu   sync.Mutex
	on   bool
	told uint64
}

func (l *lie) tell(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = on
}

// believe is what a node takes a check's result for.
func (p *platform) believe(node nodes.Host, _ lb.Target, well bool) bool {
	for _, l := range p.lies {
		if !l.nodes[node.Name] {
			continue
		}
		l.mu.Lock()
		if l.on && l.well != well {
			l.told++
			well = l.well
		}
		l.mu.Unlock()
	}
	return well
}
