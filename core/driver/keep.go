package driver

import (
	"path/filepath"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// This file keeps one driver of a fleet alive.

const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 10 * time.Second
	steady        = time.Minute // a life this long makes up for all failures before it
)

// pause returns how long to wait before the next start after so many failures or deaths without a steady life
// between them.
func pause(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	wait := shortestPause
	for range failures - 2 {
		if wait *= 2; wait >= longestPause {
			return longestPause
		}
	}
	return wait
}

// keep starts a driver again and again until the fleet is closed. It calls tried after the first start, and
// may after others.
func (f *Fleet) keep(m *member, tried func()) {
	defer tried()
	for failures := 0; ; {
		began := time.Now()
		life, err := f.start(m)
		tried()
		if err == nil {
			born := time.Now()
			f.log.Info("start", "driver", m.name, "pid", life.PID(), "took", born.Sub(began))
			select {
			case <-f.ctx.Done():
			case <-life.Done():
			}
			if f.ctx.Err() != nil {
				life.Close()
				return
			}
			if time.Since(born) >= steady {
				failures = 0
			}
			f.lose(m, life)
		}
		failures++
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(pause(failures)):
		}
	}
}

// checkName refuses a driver whose file is named for another language than the one it describes itself with.
func checkName(path, language string) error {
	if filepath.Base(path) != Prefix+language {
		return core.Errorf(core.KindInvalid, core.FaultDriver,
			"the driver %s describes itself as one for %q: its file must be named %s%s", path, language, Prefix, language)
	}
	return nil
}

// start opens the driver and makes the outcome known.
func (f *Fleet) start(m *member) (life, error) {
	l, err := f.open(f.ctx, m.path)
	if err == nil {
		if err = checkName(m.path, l.Description().Language); err != nil {
			l.Close()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		// A broken driver is tried for ever; its log is for news.
		if news := !m.failed || m.reason.Error() != err.Error(); news && f.ctx.Err() == nil {
			f.log.Error("start", "driver", m.name, "err", err)
		}
		m.failed, m.reason = true, err
	} else {
		f.generation++
		m.life, m.description, m.generation = l, l.Description(), f.generation
		m.lives++
		m.failed, m.reason = false, nil
	}
	f.announce()
	return l, err
}

// lose makes a death known: first to those who ask for the driver, then to the hook.
func (f *Fleet) lose(m *member, l life) {
	f.mu.Lock()
	m.life, m.reason = nil, l.Err()
	generation := m.generation
	f.announce()
	f.mu.Unlock()

	f.log.Warn("lose", "driver", m.name, "err", l.Err())
	f.onLost(m.language, generation)
	l.Close()
}

// announce wakes everybody who waits for a change. f.mu is held.
func (f *Fleet) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}
