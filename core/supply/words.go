package supply

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	maxWords  = 4 << 10     // of the output of an installer or a trial that are kept
	wordsWait = time.Second // for the end of its output after its own
)

// lastWords keeps the end of what installers and trials print, to be told when one fails.
type lastWords struct {
	mu   sync.Mutex
	said map[core.NodeID]*words
}

// words is the output of one installer, both streams together.
type words struct {
	text      []byte
	refused   []string          // addresses that it tried to reach
	unreached map[string]string // why registries could not be reached when they were asked last
	open      int               // streams that have not ended
	ended     chan struct{}     // closed when none is open
}

// trialID names the instances of a version of a function that its deploy tries. No node has such a name.
func trialID(name string, version int) core.NodeID {
	return core.NodeID(fmt.Sprintf("%s@%d", name, version))
}

// expects reports whether what that one prints is kept.
func (l *lastWords) expects(id core.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said[id] != nil
}

// expect announces an installer or a trial.
func (l *lastWords) expect(id core.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil {
		l.said = map[core.NodeID]*words{}
	}
	l.said[id] = &words{open: 2, ended: make(chan struct{})}
}

// collect reads one stream of an installer until its end, and keeps it while the installer is expected.
func (l *lastWords) collect(id core.NodeID, output io.Reader) {
	l.mu.Lock()
	w := l.said[id]
	l.mu.Unlock()
	if w == nil { // it has been forgotten before anything of it was read
		_, _ = io.Copy(io.Discard, output)
		return
	}
	buffer := make([]byte, maxWords)
	for {
		n, err := output.Read(buffer)
		l.mu.Lock()
		w.text = append(w.text, buffer[:n]...)
		w.text = w.text[max(0, len(w.text)-maxWords):]
		if err != nil {
			if w.open--; w.open == 0 {
				close(w.ended)
			}
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// forget forgets an installer, and returns what there is of it.
func (l *lastWords) forget(id core.NodeID) *words {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.said[id]
	delete(l.said, id)
	return w
}

// refuse notes an address that an installer tried to reach, and reports whether that is news.
func (l *lastWords) refuse(id core.NodeID, address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.said[id]
	if w == nil || len(w.refused) == maxRefused || slices.Contains(w.refused, address) {
		return false
	}
	w.refused = append(w.refused, address)
	return true
}

// asked notes whether a registry could be reached for an installer.
func (l *lastWords) asked(id core.NodeID, address string, failed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.said[id]
	switch {
	case w == nil:
	case failed == nil:
		delete(w.unreached, address)
	case w.unreached == nil:
		w.unreached = map[string]string{address: failed.Error()}
	default: // of no more registries than there are
		w.unreached[address] = failed.Error()
	}
}

// take returns the words of an installer that has ended, and what it said last, and forgets it. Its output
// may not have been read to its end yet, or not at all.
func (l *lastWords) take(id core.NodeID) (said string, w *words) {
	l.mu.Lock()
	w = l.said[id]
	l.mu.Unlock()
	select {
	case <-w.ended:
	case <-time.After(wordsWait):
	}
	l.forget(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(w.text)), "?"), w
}
