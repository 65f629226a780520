package store

// Hold keeps code and packages from Collect, from the moment they are found or committed until a function
// that is Put refers to them. Its holder alone uses it.
type Hold struct {
	store   *Store
	digests []string
}

// Hold returns a Hold of nothing. The caller releases it.
func (s *Store) Hold() *Hold { return &Hold{store: s} }

// add is called with writes held.
func (h *Hold) add(digest string) {
	h.store.held[digest]++
	h.digests = append(h.digests, digest)
}

// Keep holds something that is in the store already.
func (h *Hold) Keep(digest string) {
	h.store.writes.Lock()
	defer h.store.writes.Unlock()
	h.add(digest)
}

// KeepCode holds code, when it is in the store and nothing is known to be wrong with it.
func (h *Hold) KeepCode(digest string) bool {
	h.store.writes.Lock()
	defer h.store.writes.Unlock()
	tree := Tree{Code, digest}
	if _, err := h.store.path(tree); err != nil || h.store.isDamaged(tree) {
		return false
	}
	h.add(digest)
	return true
}

// Release ends the hold on everything. It may be called more than once.
func (h *Hold) Release() {
	h.store.writes.Lock()
	defer h.store.writes.Unlock()
	for _, digest := range h.digests {
		if h.store.held[digest]--; h.store.held[digest] == 0 {
			delete(h.store.held, digest)
		}
	}
	h.digests = nil
}
