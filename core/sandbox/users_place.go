package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// place is where one process begins: a user namespace with the ids that the process needs, and a network. It
// is used again by instances of the same version of a function alone, forked from the same zygote, and only
// if each has left it as it was. Making one and ending it takes a seventh of a start's processor time.
// Instances leave their cgroup with it.
type place struct {
	user, network int     // descriptors
	traces        [2]int  // of files of /proc: what has gone through each interface of the network, and its sockets; -1 before the first use
	was           string  // these files then
	cgroup        *cgroup // nil unless the place is left with it
}

var noPlace = place{user: -1, network: -1, traces: noTraces}

var noTraces = [2]int{-1, -1}

// maxTraces is how many bytes these files have at the most: a network has its loopback, and devices of
// tunnels if the machine has modules for them.
const maxTraces = 8 << 10

func (p place) close() {
	closeFD(p.user)
	closeFD(p.network)
	closeFD(p.traces[0])
	closeFD(p.traces[1])
	if p.cgroup != nil {
		_ = p.cgroup.remove() // what stays is removed with the tree
	}
}

// note notes the network as it is when a process has entered it and runs nothing of a function yet.
func (p *place) note(pid, pidfd int) error {
	if p.traces[0] >= 0 {
		return nil
	}
	traces := noTraces
	var err error
	for i, name := range []string{"dev", "sockstat"} {
		if err == nil {
			traces[i], err = unix.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	}
	if err == nil {
		err = unix.PidfdSendSignal(pidfd, 0, nil, 0) // else the number may be another process's
	}
	if err == nil {
		p.was, err = readTraces(traces)
	}
	if err != nil {
		closeFD(traces[0])
		closeFD(traces[1])
		return err
	}
	p.traces = traces
	return nil
}

// isUntouched reports whether the network is as it was noted: no packet has gone through it, not even through
// its loopback, no interface came or went, and no socket is left. One outlives its process while it is on its
// way to another one, such as to the worker over the endpoint. Settings need a privilege that no instance
// has.
func (p place) isUntouched() bool {
	if p.traces[0] < 0 {
		return false
	}
	is, err := readTraces(p.traces)
	return err == nil && is == p.was
}

// readTraces returns the first file, and of the second one the first line: how many sockets there are. Others
// of it are about the whole machine.
func readTraces(traces [2]int) (string, error) {
	text := make([]byte, maxTraces)
	n, err := unix.Pread(traces[0], text, 0)
	if err == nil && n == len(text) {
		err = unix.EFBIG
	}
	if err != nil {
		return "", err
	}
	line := make([]byte, 64)
	m, err := unix.Pread(traces[1], line, 0)
	sockets, _, _ := strings.Cut(string(line[:max(m, 0)]), "\n")
	return string(text[:n]) + sockets, err
}

// placeKey says which instances may use a place again: those of one version of a function, with one limit of
// memory.
type placeKey struct {
	function string
	version  int
	memory   int64 // bytes
}

// keptPlaces is how many places are kept that instances of one zygote have left.
const keptPlaces = 4

// left are these places, the one that was left last at the end.
type left struct {
	mu     sync.Mutex // a start waits for it, so no place is closed under it: that removes a cgroup
	places []leftPlace
	closed bool
}

type leftPlace struct {
	place
	of placeKey
}

// take returns the place that an instance of that key has left first, noPlace if there is none.
func (l *left) take(key placeKey) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.places {
		if p.of == key {
			l.places = slices.Delete(l.places, i, i+1)
			return p.place
		}
	}
	return noPlace
}

// keep takes a place that is untouched. The one that was left first goes if there are too many.
func (l *left) keep(key placeKey, p place) { l.add(leftPlace{p, key}).close() }

// add adds a place, and returns the one that goes for it, which the caller closes: that itself after close,
// noPlace if none does.
func (l *left) add(p leftPlace) (goes place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return p.place
	}
	l.places = append(l.places, p)
	if len(l.places) <= keptPlaces {
		return noPlace
	}
	goes = l.places[0].place
	l.places = slices.Delete(l.places, 0, 1)
	return goes
}

func (l *left) close() {
	l.mu.Lock()
	places := l.places
	l.places, l.closed = nil, true
	l.mu.Unlock()
	for _, p := range places {
		p.close()
	}
}

// placeKey returns the key of the places that an instance may have.
func (s *Sandbox) placeKey() placeKey {
	return placeKey{s.config.Function, s.config.Version, *s.spec.Linux.Resources.Memory.Limit}
}

// takePlace takes the place that an instance of the same key has left, if there is one, and a cgroup: that of
// the place, or a new one.
func (s *Sandbox) takePlace() (err error) {
	if s.config.Role == core.RoleInstance && s.config.Parent != "" {
		if from, err := s.host.users.of(s.config.Parent); err == nil { // else its fork fails
			s.place = from.left.take(s.placeKey())
		}
	}
	kept := s.place.cgroup
	s.place.cgroup = nil
	if kept != nil && kept.isEmpty() {
		s.cgroup = kept
		return nil
	}
	if kept != nil {
		if err := kept.remove(); err != nil {
			s.host.log.Warn("evict", "cgroup", kept.path, "err", err)
		}
	}
	s.cgroup, err = s.host.cgroups.create(groupOf(s.config), string(s.config.ID), s.spec.Linux.Resources)
	return err
}

// leave gives up the place of a process. Instances use it again, with the cgroup, when all processes have
// ended that were in it, and nothing is different.
func (s *Sandbox) leave(gone bool) {
	if gone && s.err == nil && s.from != nil && s.network == nil && s.config.Function != "" && s.place.isUntouched() {
		if s.cgroup.isUnmarked() {
			s.place.cgroup, s.left = s.cgroup, true
		}
		s.from.left.keep(s.placeKey(), s.place)
	} else {
		s.place.close()
	}
	s.place = noPlace
}
