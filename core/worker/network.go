package worker

import (
	"io"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/egress"
)

// openRouter opens the router of the worker with that name, and returns what connects an instance: nil when functions have no network.
func (w *Worker) openRouter(config Config, name string) (func(core.SandboxConfig, func(func() error) error) (io.Closer, error), error) {
	if !config.Network.Exceeds(core.NetworkNone) {
		if err := egress.Remove(linkName(name)); err != nil {
			w.log.Warn("egress", "err", err, "effect", "packet rules of a worker that was killed are left")
		}
		return nil, nil
	}
	router, err := egress.Open(egress.Config{Name: linkName(name), Opened: config.EgressAllow, AllowHost: config.Network == core.NetworkHost,
		Refused: w.refusedConnection, Log: w.log})
	if err != nil {
		return nil, err
	}
	w.router = router
	return func(config core.SandboxConfig, within func(func() error) error) (io.Closer, error) {
		port, err := router.Attach(config, within)
		if err != nil {
			return nil, err
		}
		return port, nil
	}, nil
}

// linkName is what a worker's interface is called, and its table of packet rules: names of interfaces are short.
func linkName(worker string) string { return "psq-" + worker[len(worker)-8:] }

// refusedConnection writes down what an instance was refused by the router.
func (w *Worker) refusedConnection(config core.SandboxConfig, text string) {
	w.counts.refused(config.Function)
	if log := w.logs.of(config.Function, config.Version); log != nil {
		log.add(core.LogLine{Time: time.Now().UTC(), Function: config.Function, Node: config.ID, Stream: "worker", Text: text})
	}
}
