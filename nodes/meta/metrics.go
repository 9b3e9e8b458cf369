package meta

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count what the meta port does: the rate of its requests, their errors
// and their durations. Each process has a registry of its own. It has none of
// the library's collectors of the Go runtime and the process: what these read is
// of the operating system, and differs from run to run in a simulated world.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	orders    *prometheus.CounterVec
	streams   *prometheus.GaugeVec
}

// newMetrics registers the port's own metrics and those that its options name.
func (s *server) newMetrics() error {
	name := s.o.Identity.Name()
	x := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "protoplex_meta_requests_total",
			Help: "Requests answered, and streams ended."}, []string{"route", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "protoplex_meta_request_duration_seconds",
			Help: "How long answers took. Streams do not count.", Buckets: prometheus.DefBuckets}, []string{"route"}),
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "protoplex_meta_orders_total",
			Help: "Orders, by what became of them."}, []string{"result"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "protoplex_meta_streams",
			Help: "Streams open now."}, []string{"route"}),
	}
	all := []prometheus.Collector{x.requests, x.durations, x.orders, x.streams,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "protoplex_build_info", Help: "What runs here.",
			ConstLabels: prometheus.Labels{"cell": name.Cell, "role": name.Role, "version": s.o.Version, "goversion": runtime.Version()}},
			func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "protoplex_uptime_seconds", Help: "Time since the meta port was made."},
			func() float64 { return (s.m.Elapsed() - s.since).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "protoplex_cell_certificate_not_after_seconds",
			Help: "When this node's certificate of the cell ends, in Unix time."},
			func() float64 { return float64(s.o.Identity.Certificate().NotAfter.Unix()) }),
	}
	for _, name := range slices.Sorted(maps.Keys(s.o.Gauges)) {
		g := s.o.Gauges[name]
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.Help}, g.Read))
	}
	var errs []error
	for _, c := range append(all, s.o.Collectors...) {
		errs = append(errs, x.registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("meta: metrics: %w", err)
	}
	s.metrics = x
	return nil
}

func (x *metrics) request(route string, status int, took time.Duration) {
	x.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	if status != http.StatusSwitchingProtocols {
		x.durations.WithLabelValues(route).Observe(took.Seconds())
	}
}

func (x *metrics) order(result string) { x.orders.WithLabelValues(result).Inc() }

func (x *metrics) stream(route string, n float64) { x.streams.WithLabelValues(route).Add(n) }

// handler shows the metrics in the formats of Prometheus. Uncompressed, for the
// library's pool of compressors is one for all nodes of a process.
func (x *metrics) handler() http.Handler {
	show := promhttp.HandlerFor(x.registry, promhttp.HandlerOpts{DisableCompression: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		show.ServeHTTP(w, r)
	})
}
