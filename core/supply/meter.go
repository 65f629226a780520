package supply

import (
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// inStore is the detail of a package that need not be fetched.
const inStore = "in the store"

// meter follows an installation: it passes the driver's steps on, and reports each package once, when it is
// in the store.
type meter struct {
	progress func(core.Progress)
	began    time.Time
	bytes    int64 // fetched, of the packages that are done

	mu   sync.Mutex
	last map[string]time.Duration // when the driver last spoke of an item, since began
}

func newMeter(progress func(core.Progress)) *meter {
	return &meter{progress: progress, began: time.Now(), last: map[string]time.Duration{}}
}

// step hears a step of the driver.
func (m *meter) step(p core.Progress) {
	m.mu.Lock()
	m.last[p.Item] = time.Since(m.began)
	m.mu.Unlock()
	p.Ended = false // core says so, when it is in the store
	m.progress(p)
}

// done reports that a package is in the store. It took as long as the driver was busy with it, as far as the
// driver has reported that.
func (m *meter) done(p core.Installed) {
	m.mu.Lock()
	took, told := m.last[p.String()]
	m.mu.Unlock()
	if !told {
		took = time.Since(m.began)
	}
	m.bytes += p.Receipt.Bytes
	m.progress(core.Progress{Verb: "install", Item: p.String(), Detail: "fetched", Bytes: p.Receipt.Bytes, Ended: true, Took: took})
}
