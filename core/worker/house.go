package worker

import (
	"context"
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// house is the sandbox host as the tree wants it. It also knows which code and packages live processes have, for the store must keep
// those, and makes no sandbox with what is quarantined.
type house struct {
	host  *sandbox.Host
	store *store.Store
	mu    sync.Mutex
	live  map[core.NodeID]living
}

// living is a sandbox that is there, or is being made.
type living struct {
	core.SandboxConfig
	done <-chan struct{} // nil while it is being made
}

func (h *house) Create(ctx context.Context, config core.SandboxConfig) (tree.Sandbox, error) {
	s, err := h.create(ctx, config)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// supply is Create as supply wants it.
func (h *house) supply(ctx context.Context, config core.SandboxConfig) (supply.Sandbox, error) {
	s, err := h.create(ctx, config)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (h *house) create(ctx context.Context, config core.SandboxConfig) (*sandbox.Sandbox, error) {
	// In this order: what is said to be used before it is looked for is not collected in between.
	h.mu.Lock()
	h.live[config.ID] = living{SandboxConfig: config}
	h.mu.Unlock()
	if err := h.store.Refused(config.Runtime.ID, config.Code, config.Packages); err != nil {
		h.forget(config.ID)
		return nil, err
	}
	s, err := h.host.Create(ctx, config)
	if err != nil {
		h.forget(config.ID)
		return nil, err
	}
	h.mu.Lock()
	h.live[config.ID] = living{config, s.Done()}
	h.mu.Unlock()
	go func() {
		<-s.Done()
		h.forget(config.ID)
	}()
	return s, nil
}

func (h *house) forget(id core.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, id)
}

// uses tells whether a live process has the code or package with that digest.
func (h *house) uses(digest string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, config := range h.live {
		select {
		case <-config.done:
			continue
		default:
		}
		if config.Code == digest || slices.ContainsFunc(config.Packages, func(p core.Package) bool { return p.Digest == digest }) {
			return true
		}
	}
	return false
}
