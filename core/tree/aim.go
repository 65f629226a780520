package tree

import (
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// A zygote that requests miss is made at once. Besides, the whole tree is planned again from time to time, in
// the background: the goal. The tree becomes it one zygote after the other. What the goal does without is not
// ended; it is the first to go when memory is short.

// aim makes goals, for as long as nodes are made.
func (t *Tree) aim() {
	for made := 0; ; {
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(plan.NextGoal):
		}
		now := time.Now()
		t.mu.Lock()
		if t.last == made {
			t.mu.Unlock()
			continue
		}
		made = t.last
		demands, zygotes, facts := t.demands.All(now), t.zygotes(), t.facts.Clone()
		t.mu.Unlock()
		goal := plan.Aim(demands, zygotes, facts, plan.Typical(), plan.GoalBytes(t.config.Budget), now, t.breathe())
		t.mu.Lock()
		t.goal, t.following = goal, true
		t.mu.Unlock()
		wake(t.replan)
	}
}

// breathe returns what rests after each piece of work. Nobody waits for that work.
func (t *Tree) breathe() func() {
	began := time.Now()
	return func() {
		worked := time.Since(began)
		if worked < plan.Piece {
			return
		}
		select {
		case <-t.ctx.Done():
		case <-time.After(plan.Rest(worked)):
		}
		began = time.Now()
	}
}

// nextOfGoal returns the next zygote of the goal, and marks those that the goal does without. A goal that has
// no next one has been followed.
func (t *Tree) nextOfGoal(zygotes []plan.Zygote, blocks []plan.Block, now time.Time) (want plan.Candidate, found bool) {
	t.mu.Lock()
	goal, following := t.goal, t.following
	t.following = false
	t.mu.Unlock()
	if !following {
		return want, false
	}
	want, found, spare := goal.Next(zygotes, blocks, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.following = t.following || found
	for _, z := range zygotes {
		if n := t.nodes[z.ID]; n != nil {
			n.spare = slices.Contains(spare, z.ID)
		}
	}
	return want, found
}
