package meta_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/meta/metatest"
)

func TestMain(m *testing.M) {
	if code, ok := nodes.ChildMain(metatest.Roles()); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// desk is a world of machines on loopback.
type desk struct{}

func (desk) Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host:  nodes.Host{Name: name, Region: "us-east", Zone: "us-east-a", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "main"},
		Root:  t.TempDir(),
		Roles: roles,
		Log:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func TestConformance(t *testing.T) {
	for _, test := range metatest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			test.Run(t, desk{})
		})
	}
}

func TestManyStreams(t *testing.T) {
	const streams = 1000
	w := desk{}
	server := (&metatest.Cell{T: t, W: w}).NewMachine("server")
	c := metatest.NewCell(t, w, "us-east", server.Now())
	address := c.Serve(server, meta.Options{
		Identity: c.Identity("seed", "seed-1"),
		Routes:   []meta.Route{{Pattern: "GET /stream", Stream: metatest.Echo}},
	})
	client := c.Client(c.NewMachine("client"), c.Identity("live", "live-1"), address, ca.Want{})
	all := make([]*meta.Stream, streams)
	var wg sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range all {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			var err error
			if all[i], err = client.Open(t.Context(), "/stream"); err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
	wg.Wait()
	for i, s := range all {
		wg.Go(func() {
			if s == nil {
				return
			}
			kind := fmt.Sprint("frame-", i)
			if err := s.Send(meta.Frame{Type: kind}); err != nil {
				t.Errorf("send: %v", err)
			}
			if f, err := s.Receive(); err != nil || f.Type != kind {
				t.Errorf("receive: %q, %v", f.Type, err)
			}
			s.Close("done")
		})
	}
	wg.Wait()
}

// Names that Prometheus would not take, or that are there twice, are noticed at
// the start.
func TestMetricNames(t *testing.T) {
	w := desk{}
	m := (&metatest.Cell{T: t, W: w}).NewMachine("node")
	id := metatest.NewCell(t, w, "us-east", m.Now()).Identity("live", "live-1")
	one := meta.Gauge{Help: "One.", Read: func() float64 { return 1 }}
	for _, o := range []meta.Options{
		{Gauges: map[string]meta.Gauge{"": one}},
		{Gauges: map[string]meta.Gauge{"protoplex_uptime_seconds": one}},
		{Collectors: []prometheus.Collector{counter("x_total"), counter("x_total")}},
	} {
		o.Identity, o.Listen = id, "127.0.0.1:0"
		require.ErrorContains(t, meta.Serve(t.Context(), m, o), "meta: metrics: ")
	}
}

func counter(name string) prometheus.Collector {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name})
}
