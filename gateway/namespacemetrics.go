package gateway

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// namespaceCollector collects what namespaces have, and what they were refused. The service bounds their
// number.
type namespaceCollector struct {
	namespaces           core.Namespaces
	used, quota, refused *prometheus.Desc
}

func newNamespaceCollector(namespaces core.Namespaces) *namespaceCollector {
	return &namespaceCollector{
		namespaces: namespaces,
		used:       prometheus.NewDesc("pipsqueak_namespace_used", "What a namespace has, by quota.", []string{"namespace", "quota"}, nil),
		quota:      prometheus.NewDesc("pipsqueak_namespace_quota", "The quotas of a namespace that are bounds.", []string{"namespace", "quota"}, nil),
		refused:    prometheus.NewDesc("pipsqueak_namespace_refused_total", "What was refused because of a quota of a namespace.", []string{"namespace", "quota"}, nil),
	}
}

// Collect implements prometheus.Collector.
func (c *namespaceCollector) Collect(out chan<- prometheus.Metric) {
	all, err := c.namespaces.Namespaces(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.used, err)
		return
	}
	for _, n := range all {
		gauge := func(desc *prometheus.Desc, quota string, value int64) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), n.Name, quota)
		}
		bounds := n.Quotas.ByName()
		for quota, used := range n.Used.ByName() {
			if quota != core.QuotaEvents {
				gauge(c.used, quota, used)
			}
			if bounds[quota] > 0 {
				gauge(c.quota, quota, bounds[quota])
			}
			out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(n.Refused[quota]), n.Name, quota)
		}
	}
}

// Describe implements prometheus.Collector.
func (c *namespaceCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.used, c.quota, c.refused} {
		out <- desc
	}
}
