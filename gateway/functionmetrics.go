package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// functionCollector collects the counts of each function's events. The service bounds the number of
// functions.
type functionCollector struct {
	counter                       core.Counter
	events, starts, took, refused *prometheus.Desc
}

func newFunctionCollector(counter core.Counter) *functionCollector {
	return &functionCollector{
		counter: counter,
		events:  prometheus.NewDesc("pipsqueak_function_events_total", "Events of a function by kind of error (ok: none).", []string{"function", "kind"}, nil),
		starts:  prometheus.NewDesc("pipsqueak_function_starts_total", "Events of a function by the kind of start of their instance.", []string{"function", "start"}, nil),
		took:    prometheus.NewDesc("pipsqueak_function_event_seconds", "Time of the events of a function, from their arrival to their answer.", []string{"function"}, nil),
		refused: prometheus.NewDesc("pipsqueak_function_connections_refused_total", "Connections and look-ups of names that a function was refused.", []string{"function"}, nil),
	}
}

// Collect implements prometheus.Collector.
func (c *functionCollector) Collect(out chan<- prometheus.Metric) {
	for _, f := range c.counter.Counted() {
		for kind, n := range f.Kinds {
			out <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), f.Function, string(kind))
		}
		for start, n := range f.Starts {
			out <- prometheus.MustNewConstMetric(c.starts, prometheus.CounterValue, float64(n), f.Function, string(start))
		}
		if f.Refused > 0 {
			out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(f.Refused), f.Function)
		}
		var all uint64
		buckets := map[float64]uint64{}
		for i, n := range f.Buckets {
			all += n
			if i < len(core.CountBuckets) {
				buckets[core.CountBuckets[i].Seconds()] = all
			}
		}
		out <- prometheus.MustNewConstHistogram(c.took, all, f.Took.Seconds(), buckets, f.Function)
	}
}

// Describe implements prometheus.Collector.
func (c *functionCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.events, c.starts, c.took, c.refused} {
		out <- desc
	}
}
