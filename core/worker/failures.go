package worker

import "github.com/pipsqueak-faas/pipsqueak/core"

// failed writes down that an event has failed after its caller had gone away.
func (w *Worker) failed(fn *core.Function, invocation core.Invocation, node core.NodeID, err error) {
	w.log.Debug("invoke", "fn", fn.Name, "node", node, "request", invocation.ID, "err", err)
}
