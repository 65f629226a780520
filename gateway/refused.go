package gateway

import (
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Whoever is refused does not work for the answer, and may ask again at once. So that a flood of refusals
// leaves the processors to others, a namespace may be refused freeRefusals events a second; the answers to
// further ones wait for their turn.
const freeRefusals = 100

// slowAnswer is the longest time that an answer waits for its turn. A flood leaves no debt.
const slowAnswer = time.Second

// newRefused returns the limiters of refusals, by namespace.
func newRefused() *lru.Cache[string, *rate.Limiter] {
	refused, _ := lru.New[string, *rate.Limiter](core.MaxNamespaces) // fails for a size that is not positive alone
	return refused
}

// isRefusal says whether an event was not run, because somebody has sent or keeps too much.
func isRefusal(result core.Result, kind core.Kind) bool {
	return kind == core.KindExhausted && result.Start == core.StartNone
}

// awaitRefusal waits until one more event of a function may be refused.
func (g *Gateway) awaitRefusal(r *http.Request, function string) {
	g.await(r, limiter(g.refused, core.Namespace(function), freeRefusals, freeRefusals))
}

// await waits for the turn of an answer.
func (g *Gateway) await(r *http.Request, turns *rate.Limiter) {
	reservation := turns.Reserve()
	wait := reservation.Delay()
	if wait > slowAnswer {
		reservation.Cancel()
		wait = slowAnswer
	}
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-g.closing:
	}
}
