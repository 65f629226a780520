package worker

import (
	"io"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/egress"
)

// openRouter opens the router of the worker with that name, which the caller closes, and returns what
// connects an instance: nil and nil when functions have no network. Refused is told of each connection that
// the router refuses.
func openRouter(config Config, name string, refused func(core.SandboxConfig, string)) (*egress.Router, func(core.SandboxConfig, func(func() error) error) (io.Closer, error), error) {
	if !config.Network.Exceeds(core.NetworkNone) {
		if err := egress.Remove(linkName(name)); err != nil {
			config.Log.Warn("egress", "err", err, "effect", "packet rules of a worker that was killed are left")
		}
		return nil, nil, nil
	}
	router, err := egress.Open(egress.Config{Name: linkName(name), Opened: config.EgressAllow, AllowHost: config.Network == core.NetworkHost,
		Refused: refused, Log: config.Log})
	if err != nil {
		return nil, nil, err
	}
	return router, func(config core.SandboxConfig, within func(func() error) error) (io.Closer, error) {
		port, err := router.Attach(config, within)
		if err != nil {
			return nil, err
		}
		return port, nil
	}, nil
}

// linkName is what a worker's interface is called, and its table of packet rules: names of interfaces are
// short.
func linkName(worker string) string { return "psq-" + worker[len(worker)-8:] }
