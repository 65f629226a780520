package gateway

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// answers are the large answers that are being written. Each is in memory until the caller has taken it. When
// together they would have more than the budget, those that have taken longest are cut off.
type answers struct {
	budget  *core.Budget
	mu      sync.Mutex
	written []*answer // the oldest first
}

type answer struct {
	connection *http.ResponseController
	began      time.Time
}

// While there is no room for one more answer, each has patient to be taken. Room is looked for again and again.
const (
	patient   = time.Second
	lookAgain = 10 * time.Millisecond
)

// write has an answer of so many bytes written to a connection, as soon as there is room for it.
func (a *answers) write(bytes int, connection *http.ResponseController, write func() (int, error)) (int, error) {
	size := min(int64(bytes), a.budget.Total())
	for !a.budget.Take(size) {
		a.cutOldest()
		time.Sleep(lookAgain)
	}
	defer a.budget.Give(size)
	one := &answer{connection, time.Now()}
	a.mu.Lock()
	a.written = append(a.written, one)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.written = slices.DeleteFunc(a.written, func(other *answer) bool { return other == one })
	}()
	return write()
}

// cutOldest ends the answer that has taken longest, if that is more than patient.
func (a *answers) cutOldest() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.written) > 0 && time.Since(a.written[0].began) > patient {
		_ = a.written[0].connection.SetWriteDeadline(time.Unix(1, 0)) // its write fails, and it is over
	}
}
