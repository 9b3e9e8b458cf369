package aws

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/lb"
)

// clock is a machine whose time passes when a test says so.
type clock struct {
	*desk.Desk
	at time.Duration
}

func (c *clock) Elapsed() time.Duration { return c.at }
func (c *clock) Now() time.Time {
	return time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC).Add(c.at)
}

// world is a Compute in the hands of a test: instances boot when it says so.
type world struct {
	room   map[string]int // instances, by zone
	zone   map[string]string
	broken map[string]bool // fail their status checks
	ended  []string
	n      int
}

func (w *world) Launch(id, _, zone string) (Host, error) {
	if w.room[zone] == 0 {
		return Host{}, ErrCapacity
	}
	w.room[zone]--
	w.zone[id] = zone
	w.n++
	return Host{"new-" + strconv.Itoa(w.n), netip.AddrFrom4([4]byte{10, 0, 0, byte(w.n)})}, nil
}

func (w *world) Terminate(id string) {
	w.room[w.zone[id]]++
	w.ended = append(w.ended, id)
}

func (w *world) Running(id string) bool { return !w.broken[id] }

// bench is a server with both.
type bench struct {
	t     *testing.T
	s     *Server
	clock *clock
	world *world
}

func newBench(t *testing.T, account Account) *bench {
	b := &bench{t: t, clock: &clock{Desk: desk.New(t, "127.0.0.1"), at: time.Hour}}
	b.world = &world{room: map[string]int{"a": 9, "b": 9}, zone: map[string]string{}, broken: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // steps are taken by pass
	var err error
	b.s, err = New(ctx, b.clock, Options{Region: "us-east-1", Keys: map[string]string{"k": "s"}, Rate: 1000, Account: account, Compute: b.world})
	require.NoError(t, err)
	return b
}

// small is an account with one of each.
func small() Account {
	return Account{
		Zones:         []string{"a", "b"},
		TargetGroups:  []TargetGroup{{Name: "web", Port: 8443, Check: Check{Port: 8080, Interval: 10}}, {Name: "idle", Port: 25, Type: "ip"}},
		LoadBalancers: []LoadBalancer{{Name: "front", Listeners: map[string]string{"443": "web"}}},
		ScalingGroups: []ScalingGroup{{Name: "g", Min: 1, Max: 6, Desired: 2, Check: "ELB", Grace: 60, TargetGroups: []string{"web"}}},
		Instances: []AccountInstance{
			{ID: "i-1", Name: "one", Zone: "a", Addr: "10.1.0.1", Group: "g"},
			{ID: "i-2", Name: "two", Zone: "b", Addr: "10.1.0.2", Group: "g"},
			{ID: "i-3", Name: "three", Zone: "b", Addr: "10.1.0.3"},
		},
	}
}

// pass lets time pass, second by second.
func (b *bench) pass(d time.Duration) {
	for end := b.clock.at + d; b.clock.at < end; {
		b.clock.at += time.Second
		b.s.step()
	}
	b.s.seen = b.s.cloud.clone()
}

// ask carries out an action with parameters as pairs.
func (b *bench) ask(action string, pairs ...string) (any, *apiError) {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	query, e := parseQuery(form.Encode())
	require.Nil(b.t, e)
	for _, a := range b.s.apis {
		if a.actions[action] != nil {
			return b.s.do(a, action, a.version, query)
		}
	}
	b.t.Fatal("there is no action " + action)
	return nil, nil
}

func (b *bench) must(action string, pairs ...string) any {
	b.t.Helper()
	out, e := b.ask(action, pairs...)
	require.Nil(b.t, e, action)
	return out
}

func (b *bench) refused(want, action string, pairs ...string) {
	b.t.Helper()
	_, e := b.ask(action, pairs...)
	require.NotNil(b.t, e, "%s %v", action, pairs)
	require.Contains(b.t, e.Error(), want)
}

func (b *bench) arn(name string) string {
	i := slices.IndexFunc(b.s.cloud.targetGroups, func(g *targetGroup) bool { return g.name == name })
	return b.s.cloud.targetGroups[i].arn
}

// health is what is described of a target group: "i-1 healthy; i-2 draining Why".
func (b *bench) health(group string, pairs ...string) string {
	b.t.Helper()
	out := b.must("DescribeTargetHealth", append([]string{"TargetGroupArn", b.arn(group)}, pairs...)...).(targetHealthOut)
	var all []string
	for _, d := range out.TargetHealthDescriptions {
		all = append(all, strings.TrimSpace(d.Target.Id+" "+d.TargetHealth.State+" "+d.TargetHealth.Reason))
	}
	return strings.Join(all, "; ")
}

// report has a node say what it thinks of targets by the names of their hosts,
// and gives the names that it gets.
func (b *bench) report(node string, states ...lb.Status) string {
	b.t.Helper()
	plan, ok := b.s.sync(lb.Report{Group: "web", Node: node, Targets: states})
	require.True(b.t, ok)
	var names []string
	for _, t := range plan.Targets {
		names = append(names, t.Name)
	}
	b.s.seen = b.s.cloud.clone()
	return strings.Join(names, " ")
}

// group is what is described of the group's instances, sorted: "a InService".
func (b *bench) group() string {
	b.t.Helper()
	out := b.must("DescribeAutoScalingGroups", "AutoScalingGroupNames.member.1", "g").(describeGroupsOut)
	var all []string
	for _, i := range out.AutoScalingGroups[0].Instances {
		all = append(all, i.AvailabilityZone+" "+i.LifecycleState)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// in gives the ids of instances in a state, oldest first.
func (b *bench) in(state string) []string {
	var ids []string
	for _, i := range b.s.cloud.group("g").instances {
		if i.state == state {
			ids = append(ids, i.id)
		}
	}
	return ids
}

func (b *bench) activities(pairs ...string) []activityXML {
	b.t.Helper()
	return b.must("DescribeScalingActivities", append([]string{"AutoScalingGroupName", "g"}, pairs...)...).(describeActivitiesOut).Activities
}
