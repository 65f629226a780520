package worker

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/relay"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// maxRefused bounds how many refused addresses of one installer are told of.
const maxRefused = 20

// openRelay lets an installer reach its registries, and remembers what else it tries.
func (w *Worker) openRelay(config core.SandboxConfig, listen func(address string) (net.Listener, error)) (io.Closer, error) {
	addresses, err := relay.Addresses(config.Registries)
	if err != nil {
		return nil, err
	}
	r, err := relay.Open(addresses, listen, func(address string) {
		if w.lastWords.refuse(config.ID, address) {
			w.log.Warn("install", "fn", config.Function, "node", config.ID, "err", "it tried to reach "+address+", which is no registry")
		}
	})
	if err != nil {
		w.log.Error("install", "fn", config.Function, "node", config.ID, "err", err)
		return nil, err
	}
	return r, nil
}

// explainRefused adds to the error of an installer which addresses it was refused.
func explainRefused(err error, refused []string) error {
	if err == nil || len(refused) == 0 {
		return err
	}
	e := core.AsError(err)
	e.Message += fmt.Sprintf("; it tried to reach %s, which is no registry: the operator of the worker allows it with PIPSQUEAK_REGISTRIES", strings.Join(refused, ", "))
	return e
}

// explainEntry adds to the error of an installer why it did not get into its sandbox, when that is so.
func explainEntry(err error, s *sandbox.Sandbox) error {
	_, _, entry := s.Entered()
	if entry == nil {
		return err
	}
	e := core.AsError(err)
	e.Message += "; " + entry.Error()
	return e
}
