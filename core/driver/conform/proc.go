package conform

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// This file looks at processes from outside, as the kernel shows them.

// descriptors returns what a process has open: "socket:[123]", "/dev/null", "pipe:[5]",
// "anon_inode:[eventpoll]".
func descriptors(pid int) map[int]string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := map[int]string{}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if n, numberErr := strconv.Atoi(entry.Name()); err == nil && numberErr == nil {
			open[n] = target
		}
	}
	return open
}

// streamsOf returns the pipes and sockets among what a process has open: an inode is the same thing in
// another process too.
func streamsOf(pid int) map[string]bool {
	streams := map[string]bool{}
	for target := range maps.Values(descriptors(pid)) {
		if strings.HasPrefix(target, "socket:[") || strings.HasPrefix(target, "pipe:[") {
			streams[target] = true
		}
	}
	return streams
}

// sockets returns the sockets among what a process has open besides its streams. An instance has one, its
// endpoint: it inherits that as descriptor 4, and may move it.
func sockets(pid int) (all []string) {
	for n, target := range descriptors(pid) {
		if n > 2 && strings.HasPrefix(target, "socket:[") {
			all = append(all, target)
		}
	}
	return all
}

// both returns what is in both.
func both(a, b map[string]bool) (out []string) {
	for name := range a {
		if b[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// status returns a field of /proc/pid/status.
func status(pid int, field string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// children returns the pids of a process's children.
func children(pid int) (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range threads {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// descendants counts a process's children, theirs, and so on.
func descendants(pid int) (n int) {
	for _, child := range children(pid) {
		n += 1 + descendants(child)
	}
	return n
}

// rollup returns a field of /proc/pid/smaps_rollup in bytes.
func rollup(pid int, fields ...string) (sum int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil && slices.Contains(fields, name) {
			sum += n << 10
		}
	}
	return sum
}

// namespace returns the identity of one of a process's namespaces.
func namespace(pid int, kind string) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	return name
}

// session returns the session of a process.
func session(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	if fields := strings.Fields(rest); len(fields) > 3 {
		return fields[3]
	}
	return ""
}
