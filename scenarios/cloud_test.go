package scenarios

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	cloud "github.com/espra/protoplex/fakes/aws"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/cloudtest"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// The whole road to a control plane works in a simulated world: the AWS SDK on
// one machine, the server on another, TLS between them.
func TestCloudConformance(t *testing.T) {
	for _, test := range cloudtest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) { test.Run(t, newCloudWorld(t, w)) })
		})
	}
}

type cloudWorld struct {
	w       *sim.World
	roots   *x509.CertPool
	clients int
}

const cloudAccount = `{
	"zones": ["us-east-a", "us-east-b"],
	"target_groups": [{"name": "by-hand", "port": 8080}],
	"scaling_groups": [{"name": "proxies", "min": 1, "max": 4, "desired": 2,
		"hooks": [{"name": "warm-up", "transition": "autoscaling:EC2_INSTANCE_LAUNCHING"}]}],
	"instances": [
		{"id": "i-1", "name": "proxy-1", "zone": "us-east-a", "addr": "10.0.0.1", "group": "proxies"},
		{"id": "i-2", "name": "proxy-2", "zone": "us-east-b", "addr": "10.0.0.2", "group": "proxies"}
	]
}`

// newCloudWorld boots a control plane.
func newCloudWorld(t *testing.T, w *sim.World) *cloudWorld {
	ca, err := pki.New(w.Start().Add(-time.Hour), w.Start().Add(365*24*time.Hour))
	require.NoError(t, err)
	leaf, err := ca.Leaf("aws")
	require.NoError(t, err)
	c := &cloudWorld{w: w, roots: x509.NewCertPool()}
	require.True(t, c.roots.AppendCertsFromPEM(ca.RootsPEM()))
	m := w.NewMachine("aws")
	require.NoError(t, nodes.WriteFile(disk{m.Disk()}, "/cert.pem", leaf))
	require.NoError(t, nodes.WriteFile(disk{m.Disk()}, "/account.json", []byte(cloudAccount)))
	startRole(m, "aws", nodes.Roles{"aws": cloud.Run}, []string{"--cert", "/cert.pem", "--account", "/account.json", "--key", "node:secret"})
	time.Sleep(time.Second)
	return c
}

func (c *cloudWorld) options(t testing.TB, secret string) (nodes.Machine, aws.CloudOptions) {
	c.clients++
	m := (&conformanceWorld{c.w}).Machine(t, fmt.Sprintf("client-%d", c.clients), nil)
	return m, aws.CloudOptions{Endpoint: "https://aws", Region: "us-east-1", Key: "node", Secret: secret, Roots: c.roots}
}

func (c *cloudWorld) balancer(t testing.TB, secret string) nodes.Balancer {
	m, o := c.options(t, secret)
	b, err := aws.NewBalancer(m, o, "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/by-hand/55a2ed069d0917cd")
	require.NoError(t, err)
	return b
}

func (c *cloudWorld) scaler(t testing.TB, secret string) nodes.Scaler {
	m, o := c.options(t, secret)
	s, err := aws.NewScaler(m, o, "proxies")
	require.NoError(t, err)
	return s
}

func (c *cloudWorld) Balancer(t testing.TB) nodes.Balancer { return c.balancer(t, "secret") }
func (c *cloudWorld) Scaler(t testing.TB) nodes.Scaler     { return c.scaler(t, "secret") }
func (c *cloudWorld) Targets() []string                    { return []string{"i-2", "i-1"} }

func (c *cloudWorld) Strangers(t testing.TB) (nodes.Balancer, nodes.Scaler) {
	return c.balancer(t, "guess"), c.scaler(t, "guess")
}

func (c *cloudWorld) Eventually(t testing.TB, f func() bool, what string) {
	t.Helper()
	for end := c.w.Elapsed() + 10*time.Minute; !f(); {
		require.Less(t, c.w.Elapsed(), end, what)
		time.Sleep(500 * time.Millisecond)
	}
}

// scalable is a story whose region scales.
const scalable = `format: 1
title: a region that scales
story: Nothing happens to it by itself.
starts: 2026-03-02T14:00:00Z
lasts: 30m
topology:
  regions:
    us-east: {zones: 2, proxy: 2, live: 1, scaling: {min: 2, max: 4}}
  vps: [fremont]
workload:
  - {id: people, browsers: 1, home: us-1.live, do: [load the apex page every 20s]}
expect:
  throughout: {nobody-paged: true}
`

// operator is somebody with the cloud's own tools, on a machine off-site.
func operator(t *testing.T, p *platform) nodes.Scaler {
	made := make(chan nodes.Machine)
	p.hosts["fremont"].Start("operator", func(proc *sim.Process) error {
		made <- newMachine(proc, nil)
		<-proc.Context().Done()
		return nil
	})
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(p.ca.RootsPEM()))
	key, secret, _ := strings.Cut(awsAccount, ":")
	// Without an endpoint: Amazon's own names lead to the control plane.
	s, err := aws.NewScaler(<-made, aws.CloudOptions{Region: awsRegion("us-east"), Key: key, Secret: secret, Roots: roots}, proxyGroup("us-east"))
	require.NoError(t, err)
	return s
}

// An operator raises a group's size by Amazon's own names; machines boot, register
// and serve, and go again when the size is lowered. One that was replaced does
// not come back when its fault heals.
func TestFleet(t *testing.T) {
	s, err := story.Parse("scalable.yaml", []byte(scalable))
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Seed: 1, Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, err := boot(w, s)
		require.NoError(t, err)
		serving := map[string]string{} // what the load balancer nodes think
		w.Observe(func(e sim.Event) {
			if e.Kind == logEvent+"target healthy" || e.Kind == logEvent+"target unhealthy" || e.Kind == logEvent+"target draining" {
				serving[e.Machine+" "+e.Get("target")] = strings.TrimPrefix(e.Kind, logEvent+"target ")
			}
		})
		state := func(machine string) string {
			return serving["us-east-lb-a us-east-"+machine] + " " + serving["us-east-lb-b us-east-"+machine]
		}
		on := func() string {
			var all []string
			for _, m := range p.inRegion(story.RoleProxy, "us-east") {
				if p.hosts[m.Name].On() {
					all = append(all, strings.TrimPrefix(m.Name, "us-east-"))
				}
			}
			return strings.Join(all, " ")
		}
		scaler := operator(t, p)
		time.Sleep(time.Minute)
		require.Equal(t, "proxy-1 proxy-2", on())

		require.NoError(t, scaler.SetDesired(t.Context(), 4))
		time.Sleep(30 * time.Second)
		require.Equal(t, "proxy-1 proxy-2", on(), "they boot")
		time.Sleep(2 * time.Minute)
		require.Equal(t, "proxy-1 proxy-2 proxy-3 proxy-4", on())
		require.Equal(t, "healthy healthy", state("proxy-4"))
		c, err := scaler.Capacity(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4, c.InService())

		require.NoError(t, scaler.SetDesired(t.Context(), 3))
		time.Sleep(10 * time.Second)
		require.Equal(t, "draining draining", state("proxy-1"))
		require.Equal(t, "proxy-1 proxy-2 proxy-3 proxy-4", on(), "connections drain")
		time.Sleep(5 * time.Minute)
		require.Equal(t, "proxy-2 proxy-3 proxy-4", on())

		lost := strike{event: story.Event{On: &story.Selector{Kind: story.ByMachine, Name: "us-east-proxy-2"}}}
		p.powerLoss(&lost, p.all)
		lost.begin()
		require.Equal(t, "proxy-3 proxy-4", on())
		time.Sleep(8 * time.Minute)
		require.Equal(t, "proxy-1 proxy-3 proxy-4", on(), "another one was launched, where there was room")
		lost.heal()
		time.Sleep(time.Minute)
		require.Equal(t, "proxy-1 proxy-3 proxy-4", on())
		require.Equal(t, uint64(1), lost.touched())
	})
}

// A machine that was replaced while it was off does not come back, however it lost its
// power.
func TestReplacedStaysOff(t *testing.T) {
	for _, fault := range []string{"machine-lost", "lost-after, effects: 1"} {
		t.Run(fault, func(t *testing.T) {
			s := parseEveryAPI(t, "  - {id: gone, at: 1m, for: 10m, on: machine us-east-proxy-1, fault: "+fault+"}\n")
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				p, all := prepared(t, w, s)
				time.Sleep(2 * time.Minute)
				all[0].begin()
				time.Sleep(10 * time.Minute)
				require.EqualValues(t, 1, all[0].touched())
				require.True(t, p.hosts["us-east-proxy-2"].On(), "it has taken the place of the other")
				all[0].heal()
				require.False(t, p.hosts["us-east-proxy-1"].On())
			})
		})
	}
}
