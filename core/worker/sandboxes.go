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

// sandboxes is the sandbox host as the tree wants it. It also knows which code and packages live processes
// have, for the store must keep those, and makes no sandbox with what is quarantined.
type sandboxes struct {
	host  *sandbox.Host
	store *store.Store
	mu    sync.Mutex
	live  map[core.NodeID]living

	network core.Network // at most, of an instance
}

// living is a sandbox that is there, or is being made.
type living struct {
	core.SandboxConfig
	done <-chan struct{} // nil while it is being made
}

func (h *sandboxes) Create(ctx context.Context, config core.SandboxConfig) (tree.Sandbox, error) {
	s, err := h.create(ctx, config)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// supply is Create as supply wants it.
func (h *sandboxes) supply(ctx context.Context, config core.SandboxConfig) (supply.Sandbox, error) {
	s, err := h.create(ctx, config)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (h *sandboxes) create(ctx context.Context, config core.SandboxConfig) (*sandbox.Sandbox, error) {
	if config.Role == core.RoleInstance {
		config.Network = config.Network.Under(h.network)
	}
	// In this order: what is said to be used before it is looked for is not collected in between.
	h.mu.Lock()
	h.live[config.ID] = living{SandboxConfig: withoutSecrets(config)}
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
	h.live[config.ID] = living{withoutSecrets(config), s.Done()}
	h.mu.Unlock()
	go func() {
		<-s.Done()
		h.forget(config.ID)
	}()
	return s, nil
}

func withoutSecrets(config core.SandboxConfig) core.SandboxConfig {
	config.Secrets = nil
	return config
}

func (h *sandboxes) forget(id core.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, id)
}

// uses reports whether a live process has the code or package with that digest.
func (h *sandboxes) uses(digest string) bool {
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
