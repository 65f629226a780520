package supply

import (
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// claims keeps names for one deploy or removal at a time, and packages for one installation.
type claims struct {
	mu        sync.Mutex
	deploying map[string]struct{}      // names with a deploy or a removal under way
	packaging map[string]chan struct{} // packages that are being installed; closed when they are no more
}

func newClaims() *claims {
	return &claims{deploying: map[string]struct{}{}, packaging: map[string]chan struct{}{}}
}

// name keeps a name for one deploy or removal at a time.
func (c *claims) name(name string) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, busy := c.deploying[name]; busy {
		return nil, core.Errorf(core.KindConflict, core.FaultCaller,
			"another deploy or removal of %q is under way; try again when it has ended", name).Again()
	}
	c.deploying[name] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.deploying, name)
	}, nil
}

// deploys reports whether any name is kept.
func (c *claims) deploys() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.deploying) > 0
}

// packages claims all of the packages, or returns what is closed when one of them that is claimed is free
// again.
func (c *claims) packages(runtime core.RuntimeID, wanted []core.Locked) (done func(), busy <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := func(p core.Locked) string { return string(runtime) + " " + p.String() }
	for _, p := range wanted {
		if claimed := c.packaging[key(p)]; claimed != nil {
			return nil, claimed
		}
	}
	mine := make(chan struct{})
	for _, p := range wanted {
		c.packaging[key(p)] = mine
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range wanted {
			delete(c.packaging, key(p))
		}
		close(mine)
	}, nil
}
