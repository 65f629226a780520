package worker

import (
	"io"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxWords is how much of an installer's output is kept.
const maxWords = 4 << 10

// lastWords keeps the end of what installers print, to be told when one fails.
type lastWords struct {
	mu   sync.Mutex
	said map[core.NodeID][]byte
}

// collect reads output until its end.
func (l *lastWords) collect(id core.NodeID, output io.Reader) {
	buffer := make([]byte, maxWords)
	for {
		n, err := output.Read(buffer)
		l.mu.Lock()
		if l.said == nil {
			l.said = map[core.NodeID][]byte{}
		}
		said := append(l.said[id], buffer[:n]...)
		l.said[id] = said[max(0, len(said)-maxWords):]
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take returns what is kept of an installer's output, and forgets it.
func (l *lastWords) take(id core.NodeID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := strings.ToValidUTF8(strings.TrimSpace(string(l.said[id])), "?")
	delete(l.said, id)
	return said
}
