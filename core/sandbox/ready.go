package sandbox

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	readyLife = 30 * time.Second // of a sandbox that nobody takes
	maxReady  = 64
)

// ready has sandboxes made ahead: after an instance of a function has got one, the next of its like is made off the request's
// path. One of a kind is enough, for it is made anew in less time than a fork takes.
type ready struct {
	mu        sync.Mutex
	closed    bool
	filling   sync.WaitGroup
	sandboxes map[string]*Sandbox // by kind
}

// kind tells sandboxes apart that can take each other's place.
func kind(config core.SandboxConfig) string {
	return strings.Join([]string{config.Function, string(config.Runtime.ID), config.Code, config.Packages.Key(),
		strconv.FormatInt(config.Limits.Memory, 10), strconv.FormatBool(config.Network)}, "\x00")
}

// take returns a sandbox for an instance, nil when none is ready.
func (r *ready) take(config core.SandboxConfig) *Sandbox {
	if config.Role != core.RoleInstance || len(config.Mounts) > 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := kind(config)
	s := r.sandboxes[k]
	delete(r.sandboxes, k)
	return s
}

// fill makes the next sandbox of the kind. When it fails, the next Create will say why.
func (r *ready) fill(h *Host, config core.SandboxConfig) {
	k := kind(config)
	r.mu.Lock()
	full := r.closed || len(r.sandboxes) >= maxReady || r.sandboxes[k] != nil
	if !full {
		r.filling.Add(1)
	}
	r.mu.Unlock()
	if full {
		return
	}
	defer r.filling.Done()
	s, err := h.newSandbox(config)
	if err != nil {
		return
	}
	r.mu.Lock()
	kept := !r.closed && r.sandboxes[k] == nil
	if kept {
		r.sandboxes[k] = s
	}
	r.mu.Unlock()
	if !kept {
		_ = s.discard()
		return
	}
	time.AfterFunc(readyLife, func() {
		if r.drop(k, s) {
			_ = s.discard()
		}
	})
}

func (r *ready) drop(k string, s *Sandbox) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sandboxes[k] != s {
		return false
	}
	delete(r.sandboxes, k)
	return true
}

// close discards all, and waits for those that are being made.
func (r *ready) close() error {
	r.mu.Lock()
	r.closed = true
	all := r.sandboxes
	r.sandboxes = nil
	r.mu.Unlock()
	r.filling.Wait()
	var err error
	for _, s := range all {
		err = errors.Join(err, s.discard())
	}
	return err
}
