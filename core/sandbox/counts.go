package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// This file reads what the kernel counts in a cgroup.

// keptCharge is how many bytes of memory may be charged to a cgroup that is used again: what the kernel keeps
// of files that were looked at, and what each processor has taken ahead. It is what the next instance may
// lack of its limit.
const keptCharge = 1 << 20

// isUnmarked reports whether all counts that an instance is judged by are those of a new cgroup.
func (c *cgroup) isUnmarked() bool { return c.kills() == 0 && !c.wasFull() && c.refusals() == 0 }

// isEmpty reports whether no process is in the cgroup, not even one that has ended and nobody has waited for,
// and hardly any memory is charged to it.
func (c *cgroup) isEmpty() bool {
	file := "memory.usage_in_bytes"
	if c.unified {
		file = "memory.current"
	}
	charge := c.number(file, "")
	return c.processes() == 0 && 0 <= charge && charge <= keptCharge
}

// outOfMemory reports whether the kernel has ended a process of the cgroup at its memory limit, and whether
// it has for want of memory outside of it: the number of processes that it has ended counts both.
func (c *cgroup) outOfMemory() (own, outside bool) {
	if c.kills() <= 0 {
		return false, false
	}
	own = c.wasFull()
	return own, !own
}

// kills counts the processes of the cgroup that the kernel has ended for want of memory.
func (c *cgroup) kills() int64 {
	if c.unified {
		return c.number("memory.events", "oom_kill ")
	}
	return c.number("memory.oom_control", "oom_kill ")
}

// wasFull reports whether there was once no room for what a process of the cgroup wanted: on v1, whether it
// has had as much memory as it may, but for what the kernel takes at once.
func (c *cgroup) wasFull() bool {
	const batch = 256 << 10
	if c.unified {
		return c.number("memory.events", "oom ") != 0
	}
	what := "memory."
	if c.countsSwap { // with swap it has never had less than without
		what = "memory.memsw."
	}
	most := c.number(what+"max_usage_in_bytes", "")
	return most < 0 || most+batch >= c.number(what+"limit_in_bytes", "")
}

// number returns the number behind a word in a file of the controller of memory, -1 if there is none.
func (c *cgroup) number(file, word string) int64 {
	text, _ := readShort(filepath.Join(c.memory, file))
	for line := range bytes.Lines(text) {
		if rest, found := bytes.CutPrefix(line, []byte(word)); found {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// readShort reads a file of the kernel's, of less than 512 bytes. os.ReadFile would have it polled, which
// takes twice as long.
func readShort(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text, all := make([]byte, 512), 0
	for all < len(text) {
		switch n, err := unix.Read(fd, text[all:]); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return text[:all], nil
		default:
			all += n
		}
	}
	return nil, &os.PathError{Op: "read", Path: path, Err: unix.EFBIG}
}
