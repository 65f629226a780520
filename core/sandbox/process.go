package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// reaper reports when processes end that are not the worker's children, by their pidfds. What is orphaned
// below the worker, because a driver or a keeper was killed, becomes its child, and the reaper reaps it.
type reaper struct {
	epoll  *os.File // polled itself, so that no thread waits in it and Close ends the waiting
	closed chan struct{}
	mu     sync.Mutex
	ended  map[int32]func() // by pidfd
}

func openReaper() (*reaper, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		return nil, errors.Join(err, unix.Close(epoll))
	}
	// The first process of the machine, or of a container, may reap late or never, and until then a pid
	// namespace does not end in which the orphan was.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, errors.Join(err, unix.Close(epoll))
	}
	r := &reaper{epoll: os.NewFile(uintptr(epoll), "reaper"), closed: make(chan struct{}), ended: map[int32]func(){}}
	go r.run()
	go r.reapOrphans()
	return r, nil
}

func (r *reaper) close() error {
	close(r.closed)
	return r.epoll.Close()
}

// reapOrphans reaps children that nobody waits for, one a second. Whoever has started a process waits for its
// end, so one that is still there after a second has been adopted.
func (r *reaper) reapOrphans() {
	for last := 0; ; {
		select {
		case <-r.closed:
			return
		case <-time.After(time.Second):
		}
		now := endedChild()
		if now != 0 && now == last {
			_, _ = unix.Wait4(now, nil, unix.WNOHANG, nil)
			now = endedChild()
		}
		last = now
	}
}

// endedChild returns the pid of a child that has ended and waits to be reaped, 0 when there is none.
func endedChild() int {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0
	}
	return int((*struct{ signal, errno, code, _, pid int32 })(unsafe.Pointer(&info)).pid)
}

// reapOrphan reaps the process that has ended if the worker has adopted it: then nobody else does.
func reapOrphan(pidfd int) {
	_ = unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// watch calls ended, once, soon after the process has ended.
func (r *reaper) watch(pidfd int, ended func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(pidfd)}
	if err := r.control(unix.EPOLL_CTL_ADD, pidfd, &event); err != nil {
		return err
	}
	r.ended[int32(pidfd)] = ended
	return nil
}

func (r *reaper) control(op, pidfd int, event *unix.EpollEvent) error {
	raw, err := r.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var fail error
	err = raw.Control(func(epoll uintptr) { fail = unix.EpollCtl(int(epoll), op, pidfd, event) })
	return errors.Join(err, fail)
}

func (r *reaper) run() {
	raw, err := r.epoll.SyscallConn()
	if err != nil {
		return // closed
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := raw.Read(func(epoll uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(epoll), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil || n < 0 {
			return // closed
		}
		for _, event := range events[:n] {
			r.mu.Lock()
			ended := r.ended[event.Fd]
			delete(r.ended, event.Fd)
			r.mu.Unlock()
			// Out of the set now: the descriptor may be closed and its number used again by another pidfd.
			_ = r.control(unix.EPOLL_CTL_DEL, int(event.Fd), nil)
			if ended != nil {
				go ended()
			}
		}
	}
}

// How long exitOf waits for the parent of a process to reap it. A parent that is busy takes its time; a
// kernel before 6.15 says nothing however long it takes.
const (
	exitWait        = 200 * time.Millisecond
	exitWaitUntold  = 20 * time.Millisecond
	exitWaitBetween = time.Millisecond
)

// exitOf returns how the process ended. Linux tells it through a pidfd since 6.15, once the parent has reaped
// the process; before that only a parent could know.
func exitOf(pidfd int, wait time.Duration) core.Exit {
	const infoExit = 1 << 3 // PIDFD_INFO_EXIT
	for deadline := time.Now().Add(wait); ; time.Sleep(exitWaitBetween) {
		info := unix.PidfdInfo{Mask: infoExit}
		if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil && err != unix.ESRCH {
			return core.Exit{}
		} else if err == nil && info.Mask&infoExit != 0 {
			status := syscall.WaitStatus(info.Exit_code)
			if status.Signaled() {
				return core.Exit{Known: true, Signal: int(status.Signal())}
			}
			return core.Exit{Known: true, Code: status.ExitStatus()}
		}
		if time.Now().After(deadline) {
			return core.Exit{}
		}
	}
}

// usageOf sums the memory of processes, as smaps_rollup has it. A process that has ended counts nothing.
func usageOf(pids []int) (core.Usage, error) {
	var sum core.Usage
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return core.Usage{}, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			name, rest, _ := bytes.Cut(lines.Bytes(), []byte(":"))
			value, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			if err != nil {
				continue
			}
			switch string(name) {
			case "Pss":
				sum.Proportional += value << 10
			case "Private_Clean", "Private_Dirty":
				sum.Private += value << 10
			}
		}
	}
	return sum, nil
}
