package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The part of maxPids that processes and threads of earlier events may take in an instance.
const (
	maxEnded = 32          // processes that have ended and that nobody has waited for
	maxLeft  = maxPids / 2 // of all, after one was refused
)

// forkTime is how long a process that was just forked may need until it has given up the endpoint: it has to
// run first, and on a busy machine so have a hundred others.
const forkTime = time.Second

// Unfit reports why an instance must not have another event, "" when it may have one. Earlier events may have
// left processes that take nearly all that there may be, or that could take the next event away. The holder
// of the instance calls it while no event runs. It takes some microseconds, and more after an event with more
// processes and threads than the one before.
func (s *Sandbox) Unfit() (why string) {
	all := s.cgroup.processes()
	if all <= min(s.fit, maxEnded) { // mostly
		s.fit = all
		return ""
	}
	if ended := all - s.cgroup.threads(); ended > maxEnded {
		return fmt.Sprintf("its handler has not waited for %s that it has started and that have ended", core.Count(ended, "process", "processes"))
	}
	if s.sharesEndpoint() {
		return "a process that its handler has started without fork(3), or with a copy of the descriptor, has the worker's connection"
	}
	if all > maxLeft && s.cgroup.refusals() > 0 {
		return fmt.Sprintf("its handler leaves %s running, of %d that there may be, and was refused one more", core.Count(all-2, "process or thread", "processes and threads"), maxPids)
	}
	s.fit = all
	return ""
}

// sharesEndpoint reports whether another process has the endpoint too, and keeps it.
func (s *Sandbox) sharesEndpoint() bool {
	for pause := time.Millisecond; s.endpointIsShared(); pause *= 2 {
		if pause > forkTime/2 {
			return true
		}
		time.Sleep(pause)
	}
	return false
}

func (s *Sandbox) endpointIsShared() bool {
	running := members(s.cgroup.pids)
	if len(running) <= 2 {
		return false
	}
	endpoint := fmt.Sprintf("socket:[%d]", s.endpoint)
	for _, pid := range running {
		if pid == s.pid || pid == s.init {
			continue
		}
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, _ := os.ReadDir(dir) // one that has ended has none
		for _, entry := range entries {
			if file, _ := os.Readlink(filepath.Join(dir, entry.Name())); file == endpoint {
				return true
			}
		}
	}
	return false
}

// processes counts the processes and threads of the cgroup, with those that have ended and were not waited
// for.
func (c *cgroup) processes() int {
	var text [16]byte
	size, _ := c.current.ReadAt(text[:], 0) // fails when the sandbox has ended
	n, _ := strconv.Atoi(string(bytes.TrimSpace(text[:size])))
	return n
}

// threads counts those that have not ended.
func (c *cgroup) threads() int {
	text, err := os.ReadFile(filepath.Join(c.pids, "tasks"))
	if errors.Is(err, os.ErrNotExist) {
		text, _ = os.ReadFile(filepath.Join(c.pids, "cgroup.threads")) // v2
	}
	return bytes.Count(text, []byte("\n"))
}

// refusals counts the processes and threads that there were too many for.
func (c *cgroup) refusals() int {
	text, _ := readShort(filepath.Join(c.pids, "pids.events")) // "max 0"
	_, number, _ := bytes.Cut(bytes.TrimSpace(text), []byte(" "))
	n, _ := strconv.Atoi(string(number))
	return n
}
