package conform

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	caseTime = time.Minute      // for one case
	patience = 10 * time.Second // for what has to happen soon, also on a machine that does much else
)

// Case is one question to a driver.
type Case struct {
	Name       string   // "fork/unknown-parent"
	Clauses    []string // of PROTOCOL.md that it checks
	Capability string   // without which it is skipped; empty for all drivers
	Since      int      // version of the protocol; 0 for all

	run func(t *trial)
}

// Status says how a case ended.
type Status string

// The statuses.
const (
	Passed  Status = "ok"
	Failed  Status = "fail"
	Skipped Status = "skip"
)

// Outcome is what became of a case.
type Outcome struct {
	Case   Case
	Status Status
	Seen   []string // what was seen instead of what the clauses ask for, why it was skipped, or what else there is to say
	Took   time.Duration
}

// Cases are all cases, in the order in which they are best run: what fails first explains what fails later.
func Cases() []Case {
	return slices.Concat(startCases, describeCases, functionCases, preloadCases, forkCases, gateCases, siblingCases, placeCases, importCases, watchCases,
		handlerCases, eventCases, answerCases, causeCases, frameCases, invokeCases, streamCases, concurrencyCases, goneCases, installerCases, deathCases, leakCases, lastCases)
}

// Run runs one case. Cases of one Kit are run one after the other.
func (k *Kit) Run(ctx context.Context, c Case) Outcome {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	t := &trial{Kit: k, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.clean()
		defer func() {
			if p := recover(); p != nil {
				t.errorf("the kit itself panicked: %v", p)
			}
		}()
		t.admit(c)
		c.run(t)
	}()
	select {
	case <-done:
	case <-time.After(caseTime + 2*patience):
		t.errorf("the case did not end")
	}
	return t.outcome(c, time.Since(began))
}

// trial is one run of a case.
type trial struct {
	*Kit
	ctx      context.Context
	cleanups []func()

	mu      sync.Mutex
	seen    []string
	said    []string
	skipped string
	lacking bool // what skipped it is missing on the machine
}

// admit skips a case that is not for this driver.
func (t *trial) admit(c Case) {
	if c.Capability == "" && c.Since == 0 {
		return
	}
	d := t.described()
	if c.Capability != "" && !d.Can(c.Capability) {
		t.skip("not claimed: the driver has no capability %q", c.Capability)
	}
	if c.Since > t.version() {
		t.skip("the driver speaks version %d of the protocol, and this is of version %d", t.version(), c.Since)
	}
}

func (t *trial) outcome(c Case, took time.Duration) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(t.seen) > 0:
		return Outcome{c, Failed, slices.Concat(t.seen, t.said), took}
	case t.skipped != "" && t.lacking && os.Getenv("CI") != "":
		return Outcome{c, Failed, []string{t.skipped + "; and CI must have it"}, took}
	case t.skipped != "":
		return Outcome{c, Skipped, []string{t.skipped}, took}
	}
	return Outcome{c, Passed, t.said, took}
}

// errorf notes what should not be. The case goes on.
func (t *trial) errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, fmt.Sprintf(format, args...))
}

// fatalf notes what should not be and ends the case.
func (t *trial) fatalf(format string, args ...any) {
	t.errorf(format, args...)
	runtime.Goexit()
}

// say notes something that is reported with the outcome, whatever it is.
func (t *trial) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, fmt.Sprintf(format, args...))
}

// skip ends the case without a verdict.
func (t *trial) skip(format string, args ...any) {
	t.mu.Lock()
	t.skipped = fmt.Sprintf(format, args...)
	t.mu.Unlock()
	runtime.Goexit()
}

// must ends the case when something failed that should not have.
func (t *trial) must(err error, doing string, args ...any) {
	if err != nil {
		t.fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}

// atEnd does something when the case is over, the last first.
func (t *trial) atEnd(do func()) { t.cleanups = append(t.cleanups, do) }

func (t *trial) clean() {
	for _, do := range slices.Backward(t.cleanups) {
		do()
	}
}

// soon waits until something is so, and reports whether it came to be.
func (t *trial) soon(is func() bool) bool {
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// within returns a context for one call.
func (t *trial) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	t.atEnd(cancel)
	return ctx
}
