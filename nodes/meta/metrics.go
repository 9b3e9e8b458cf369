package meta

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// metrics counts what the meta port does, and shows it in the text format of
// Prometheus. Each process has its own.
type metrics struct {
	mu       sync.Mutex
	requests map[requestKind]uint64
	orders   map[string]uint64 // by result
	streams  map[string]int64  // open now, by route
}

type requestKind struct {
	route  string
	status int
}

func newMetrics() *metrics {
	return &metrics{requests: make(map[requestKind]uint64), orders: make(map[string]uint64), streams: make(map[string]int64)}
}

func (x *metrics) request(route string, status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.requests[requestKind{route, status}]++
}

func (x *metrics) order(result string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.orders[result]++
}

func (x *metrics) stream(route string, n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.streams[route] += n
}

func (s *server) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	var t exposition
	name := s.o.Identity.Name()
	t.family("protoplex_build_info", "gauge", "What runs here.")
	t.sample("protoplex_build_info", 1, "cell", name.Cell, "role", name.Role, "version", s.o.Version, "goversion", runtime.Version())
	t.family("protoplex_uptime_seconds", "gauge", "Time since the meta port was made.")
	t.sample("protoplex_uptime_seconds", (s.m.Elapsed() - s.since).Seconds())
	t.family("protoplex_cell_certificate_not_after_seconds", "gauge", "When this node's certificate of the cell ends, in Unix time.")
	t.sample("protoplex_cell_certificate_not_after_seconds", float64(s.o.Identity.Certificate().NotAfter.Unix()))
	s.metrics.show(&t)
	for _, gauge := range slices.Sorted(maps.Keys(s.o.Gauges)) {
		t.family(gauge, "gauge", "")
		t.sample(gauge, s.o.Gauges[gauge]())
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(t.Bytes()) // the peer may be gone
}

func (x *metrics) show(t *exposition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t.family("protoplex_meta_requests_total", "counter", "Requests answered, and streams ended.")
	for _, k := range slices.SortedFunc(maps.Keys(x.requests), func(a, b requestKind) int {
		return cmp.Or(strings.Compare(a.route, b.route), a.status-b.status)
	}) {
		t.sample("protoplex_meta_requests_total", float64(x.requests[k]), "route", k.route, "code", strconv.Itoa(k.status))
	}
	t.family("protoplex_meta_orders_total", "counter", "Orders, by what became of them.")
	for _, result := range slices.Sorted(maps.Keys(x.orders)) {
		t.sample("protoplex_meta_orders_total", float64(x.orders[result]), "result", result)
	}
	t.family("protoplex_meta_streams", "gauge", "Streams open now.")
	for _, route := range slices.Sorted(maps.Keys(x.streams)) {
		t.sample("protoplex_meta_streams", float64(x.streams[route]), "route", route)
	}
}

// exposition is a text in the format of Prometheus.
type exposition struct{ bytes.Buffer }

func (t *exposition) family(name, kind, help string) {
	if help != "" {
		fmt.Fprintf(t, "# HELP %s %s\n", name, help)
	}
	fmt.Fprintf(t, "# TYPE %s %s\n", name, kind)
}

// sample adds a value, with labels as names and values in turn.
func (t *exposition) sample(name string, value float64, labels ...string) {
	t.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[i+1])
		fmt.Fprintf(t, `%s%s="%s"`, separator, labels[i], escaped)
	}
	if len(labels) > 0 {
		t.WriteByte('}')
	}
	fmt.Fprintf(t, " %s\n", strconv.FormatFloat(value, 'g', -1, 64))
}
