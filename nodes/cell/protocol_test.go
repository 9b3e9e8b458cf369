package cell

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/placement"
)

func valid() Registration {
	return Registration{Name: "live-1", Role: RoleLive, Zone: "us-east-a", Addr: "10.0.0.1:8080", Incarnation: 1}
}

func TestRegistrationCheck(t *testing.T) {
	require.NoError(t, valid().Check())
	long := strings.Repeat("x", 64)
	for want, change := range map[string]func(*Registration){
		"is not a name of a node":        func(r *Registration) { r.Name = "" },
		"xxx...\" is not a name":         func(r *Registration) { r.Name = long },
		`"live 1" is not a name`:         func(r *Registration) { r.Name = "live 1" },
		"is not a name of a process":     func(r *Registration) { r.Proc = long },
		`"a\nb" is not a name of a proc`: func(r *Registration) { r.Proc = "a\nb" },
		"is not a role":                  func(r *Registration) { r.Role = "" },
		"is not a zone":                  func(r *Registration) { r.Zone = "a/b" },
		"the version is longer":          func(r *Registration) { r.Version = long },
		"an incarnation is above zero":   func(r *Registration) { r.Incarnation = 0 },
		`"10.0.0.1" is not host:port`:    func(r *Registration) { r.Addr = "10.0.0.1" },
		`":8080" is not host:port`:       func(r *Registration) { r.Addr = ":8080" },
		`"nowhere" is not an address`:    func(r *Registration) { r.Role, r.Addr = RoleProxy, "nowhere" },
	} {
		r := valid()
		change(&r)
		require.ErrorContains(t, r.Check(), want)
	}
	watcher := Registration{Name: "proxy-1", Proc: "proxy/proxy/2", Role: RoleProxy, Addr: "10.0.0.9", Incarnation: 1}
	require.NoError(t, watcher.Check())
	require.Equal(t, "proxy-1/proxy/proxy/2", watcher.ID())
}

func TestReportCheck(t *testing.T) {
	n := valid().Node()
	require.NoError(t, Report{Table: placement.Table{Nodes: []placement.Node{n}}}.Check())
	require.ErrorContains(t, Report{Table: placement.Table{Nodes: []placement.Node{n, n}}}.Check(), "live-1 is in the table twice")
	require.ErrorContains(t, Report{Table: placement.Table{Nodes: []placement.Node{{Name: "live-1"}}}}.Check(), "an incarnation is above zero")
	require.ErrorContains(t, Report{Age: -1}.Check(), "from the future")
	require.ErrorContains(t, Report{Age: maxAge + 1}.Check(), "older than any process")
	require.ErrorContains(t, Report{Table: placement.Table{Nodes: make([]placement.Node, MaxTable+1)}}.Check(), "of at most 200")
}

// The largest table that can be is one frame, as a snapshot and as a change.
func TestTableFitsAFrame(t *testing.T) {
	name := strings.Repeat("x", MaxName-3)
	table := placement.Table{Epoch: 1<<64 - 1, Revision: 1<<64 - 1}
	for i := range MaxTable {
		table.Nodes = append(table.Nodes, placement.Node{Name: fmt.Sprintf("%s%03d", name, i), Zone: name + "xxx", Addr: name[:MaxName-6] + ":65535", Incarnation: 1<<64 - 1})
	}
	reason := strings.Repeat("r", 1000)
	require.NoError(t, Report{Table: table}.Check())
	for _, body := range []any{
		Report{Table: table, Age: 1 << 62, Reason: reason},
		placement.Change{Epoch: table.Epoch, Revision: table.Revision, Set: table.Nodes, Reason: reason},
	} {
		f, err := meta.NewFrame(TypeSnapshot, table.Epoch, table.Revision, body)
		require.NoError(t, err)
		_, err = meta.AppendFrame(nil, f)
		require.NoError(t, err)
	}
}

func TestParseSeeds(t *testing.T) {
	seeds, err := ParseSeeds("seed-1=10.0.0.1:9090,seed-2=[::1]:1")
	require.NoError(t, err)
	require.Equal(t, []Seed{{"seed-1", "10.0.0.1:9090"}, {"seed-2", "[::1]:1"}}, seeds)
	for in, want := range map[string]string{
		"":                             `cell: entry 1, "": want name=host:port`,
		"10.0.0.1:9090":                "want name=host:port",
		"a=10.0.0.1:9090,":             `entry 2, "": want name`,
		"A=10.0.0.1:9090":              "want name=host:port", // which no certificate has
		"a=10.0.0.1":                   `"10.0.0.1" is not host:port`,
		"a=:9090":                      `":9090" is not host:port`,
		"a=h:0":                        `"h:0" is not host:port`,
		"a=h:65536":                    `"h:65536" is not host:port`,
		"a=10.0.0.1:9090,a=10.0.0.2:9": `entry 2, "a=10.0.0.2:9": name "a" is there twice`,
	} {
		_, err := ParseSeeds(in)
		require.ErrorContains(t, err, want, in)
	}
}

// Whatever a peer sends is either refused or can be acted on.
func FuzzFrames(f *testing.F) {
	f.Add(`{"type":"register","body":{"name":"live-1","role":"live","addr":"10.0.0.1:80","incarnation":1,"held":{"epoch":1}}}`)
	f.Add(`{"type":"report","body":{"table":{"epoch":1,"revision":2,"nodes":[{"name":"a","addr":"h:1","incarnation":1}]},"age":1}}`)
	f.Add(`{"type":"change","epoch":1,"revision":2,"body":{"epoch":1,"revision":1,"set":[{"name":"a"}],"removed":["b"]}}`)
	f.Fuzz(func(t *testing.T, line string) {
		frame, err := meta.ParseFrame([]byte(line))
		if err != nil {
			return
		}
		var registration Registration
		if frame.Decode(&registration) == nil && registration.Check() == nil {
			require.NoError(t, Report{Table: placement.Table{Nodes: tableOf(registration)}}.Check())
		}
		var report Report
		if frame.Decode(&report) == nil && report.Check() == nil {
			_, err := json.Marshal(report)
			require.NoError(t, err)
		}
		var change placement.Change
		if frame.Decode(&change) == nil {
			table := placement.Table{Epoch: change.Epoch, Revision: change.Revision - 1, Nodes: []placement.Node{{Name: "a"}, {Name: "b"}}}
			_, err := table.Apply(change)
			require.NoError(t, err)
		}
	})
}

// tableOf gives the nodes of a table that a registration would make.
func tableOf(r Registration) []placement.Node {
	if r.Role != RoleLive || r.Proc != "" {
		return nil
	}
	return []placement.Node{r.Node()}
}
