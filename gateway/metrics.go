package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
)

// buckets are the upper bounds of the phase histograms in seconds, from a warm event to the usual timeout.
// The promised times (0.25, 4, 6 and 20 ms) are among them, so a histogram shows whether they were kept.
var buckets = []float64{
	50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2e-3, 4e-3, 6e-3, 10e-3, 20e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30,
}

// metrics are the gateway's metrics. No label has a value that a caller could choose, so their number is
// bounded.
type metrics struct {
	phases      *prometheus.HistogramVec
	invocations *prometheus.CounterVec
	handler     http.Handler

	// Finding a series by its labels costs more than counting in it, so each is found once and kept. A new
	// series replaces the whole map, under the mutex.
	known atomic.Pointer[map[seriesKey]*series]
	mu    sync.Mutex
}

type seriesKey struct {
	language string
	start    core.Start
	kind     core.Kind
}

// series counts one sort of invocation.
type series struct {
	count  prometheus.Counter
	phases [len(core.PhaseNames)]prometheus.Observer
}

func newMetrics(service core.Service, readiness func() core.Readiness, log *slog.Logger) *metrics {
	m := &metrics{
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pipsqueak_phase_seconds",
			Help:    "Time of each phase of an invocation that happened, by language and kind of start.",
			Buckets: buckets,
		}, []string{"language", "start", "phase"}),
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipsqueak_invocations_total",
			Help: "Invocations by language, kind of start and kind of error (ok: none).",
		}, []string{"language", "start", "kind"}),
	}
	m.known.Store(&map[seriesKey]*series{})
	registry := prometheus.NewRegistry()
	if service.Counter != nil {
		registry.MustRegister(newFunctionCollector(service.Counter))
	}
	if service.Namespaces != nil {
		registry.MustRegister(newNamespaceCollector(service.Namespaces))
	}
	registry.MustRegister(m.phases, m.invocations, newTreeCollector(service.Tree), readyCollector{readiness},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, // a failed snapshot loses only its own metrics
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
	return m
}

func (m *metrics) serve(w http.ResponseWriter, r *http.Request) error {
	m.handler.ServeHTTP(w, r)
	return nil
}

// observe counts an invocation and the phases of it that happened.
func (m *metrics) observe(result core.Result, kind core.Kind) {
	key := seriesKey{result.Language, result.Start, kind}
	s := (*m.known.Load())[key]
	if s == nil {
		s = m.find(key)
	}
	s.count.Inc()
	for i, took := range result.Phases.Durations() {
		if took > 0 {
			s.phases[i].Observe(took.Seconds())
		}
	}
}

func (m *metrics) find(key seriesKey) *series {
	language := cmp.Or(key.language, "none")
	s := &series{count: m.invocations.WithLabelValues(language, string(key.start), string(key.kind))}
	for i, phase := range core.PhaseNames {
		s.phases[i] = m.phases.WithLabelValues(language, string(key.start), phase)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := maps.Clone(*m.known.Load())
	known[key] = s
	m.known.Store(&known)
	return s
}

// treeCollector collects the tree's metrics from a snapshot.
type treeCollector struct {
	tree                            core.Tree
	nodes, memory, budget, restarts *prometheus.Desc
}

func newTreeCollector(tree core.Tree) *treeCollector {
	return &treeCollector{
		tree:     tree,
		nodes:    prometheus.NewDesc("pipsqueak_nodes", "Nodes of the tree, by role and runtime.", []string{"role", "runtime"}, nil),
		memory:   prometheus.NewDesc("pipsqueak_memory_bytes", "Proportional memory of all nodes, as last measured.", nil, nil),
		budget:   prometheus.NewDesc("pipsqueak_memory_budget_bytes", "Memory that the nodes may use together.", nil, nil),
		restarts: prometheus.NewDesc("pipsqueak_driver_restarts_total", "Restarts of drivers, by language.", []string{"language"}, nil),
	}
}

// Collect implements prometheus.Collector.
func (c *treeCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ctx, end := access.Anyone().Within(ctx) // who may read metrics may read all of them
	defer end()
	snapshot, err := c.tree.Snapshot(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.nodes, err)
		return
	}
	type place struct {
		role    core.Role
		runtime core.RuntimeID
	}
	nodes := map[place]int{}
	for _, n := range snapshot.Nodes {
		nodes[place{n.Role, n.Runtime}]++
	}
	for p, n := range nodes {
		out <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(n), string(p.role), string(p.runtime))
	}
	restarts := map[string]int{}
	for _, d := range snapshot.Drivers {
		restarts[d.Language] += d.Restarts
	}
	for language, n := range restarts {
		out <- prometheus.MustNewConstMetric(c.restarts, prometheus.CounterValue, float64(n), language)
	}
	out <- prometheus.MustNewConstMetric(c.memory, prometheus.GaugeValue, float64(snapshot.Memory))
	out <- prometheus.MustNewConstMetric(c.budget, prometheus.GaugeValue, float64(snapshot.Budget))
}

// Describe implements prometheus.Collector.
func (c *treeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.nodes, c.memory, c.budget, c.restarts} {
		out <- desc
	}
}

var readyDesc = prometheus.NewDesc("pipsqueak_ready", "1 for a part that is no obstacle to starting functions: disk, memory, draining, or a language; 0 for one that is.", []string{"part"}, nil)

// readyCollector collects what /readyz answers.
type readyCollector struct{ readiness func() core.Readiness }

// Collect implements prometheus.Collector.
func (c readyCollector) Collect(out chan<- prometheus.Metric) {
	for part, why := range c.readiness().Parts {
		value := 1.0
		if why != "" {
			value = 0
		}
		out <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, value, part)
	}
}

// Describe implements prometheus.Collector.
func (c readyCollector) Describe(out chan<- *prometheus.Desc) { out <- readyDesc }
