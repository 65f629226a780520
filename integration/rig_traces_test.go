package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A worker's traces on the machine, taken while it lives, so that one can ask afterwards which are left.
// Names alone would not do: other tests run sandboxes on the same machine at the same time, and a later
// worker uses the same names again.

type process struct {
	pid   int
	start string // in clock ticks since boot; a pid with another start is another process
}

type trace struct {
	data       string
	taken      int                // when, in clock ticks since boot
	processes  map[process]string // to the command line
	namespaces map[string]bool    // "net:[4026532281]" and the like, other than this process's own
	groups     map[string]uint64  // directories of cgroups, to their inode
}

// traces finds everything of a worker that is alive: its descendants, the nodes of its tree, and what they
// live in.
func traces(w *worker) (trace, error) {
	found := trace{w.data, 0, map[process]string{}, map[string]bool{}, map[string]uint64{}}
	nodes, err := nodePIDs(w)
	if err != nil {
		return found, err
	}
	if found.taken, err = uptime(); err != nil {
		return found, err
	}
	family := descendants(w.cmd.Process.Pid)
	for _, pid := range append(family, nodes...) {
		if p, ok := living(pid); ok {
			found.processes[p] = commandLine(pid)
		}
	}
	for _, pid := range nodes {
		found.addNamespaces(pid)
		found.addGroups(pid)
	}
	return found, nil
}

func nodePIDs(w *worker) (pids []int, err error) {
	response, err := sender.Get(w.url + "/v1/tree")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var snapshot core.Snapshot
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /v1/tree: %s", response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&snapshot); err != nil {
		return nil, err
	}
	for _, n := range snapshot.Nodes {
		if n.PID > 0 {
			pids = append(pids, n.PID)
		}
	}
	return pids, nil
}

var namespaceKinds = []string{"net", "mnt", "pid", "ipc", "uts", "user"}

// later reports whether a process is younger than the trace. The kernel gives numbers of namespaces again, so
// it may be in one that only has the number of one in the trace.
func (f trace) later(pid int) bool {
	_, _, start, ok := stat(pid)
	ticks, err := strconv.Atoi(start)
	return ok && err == nil && ticks > f.taken
}

// uptime is the time since boot in clock ticks, which are centiseconds for programs.
func uptime() (ticks int, err error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	return strconv.Atoi(strings.Replace(seconds, ".", "", 1))
}

func (f trace) addNamespaces(pid int) {
	for _, kind := range namespaceKinds {
		own, err1 := os.Readlink("/proc/self/ns/" + kind)
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err1 == nil && err2 == nil && own != its {
			f.namespaces[its] = true
		}
	}
}

// addGroups adds the cgroups of a process that this process is not in itself.
func (f trace) addGroups(pid int) {
	own, _ := os.ReadFile("/proc/self/cgroup")
	its, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(its)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[2] == "/" || bytes.Contains(own, []byte(line)) {
			continue // a process that is ending is in the first group of all, which stays
		}
		for _, dir := range groupDirs(parts[1], parts[2]) {
			if inode, ok := inodeOf(dir); ok {
				f.groups[dir] = inode
			}
		}
	}
}

// groupDirs returns where a cgroup may be found: under its controllers on v1, at the top or under "unified"
// on v2.
func groupDirs(controllers, path string) (dirs []string) {
	const root = "/sys/fs/cgroup"
	if controllers == "" {
		return []string{filepath.Join(root, path), filepath.Join(root, "unified", path)}
	}
	for name := range strings.SplitSeq(controllers, ",") {
		dirs = append(dirs, filepath.Join(root, strings.TrimPrefix(name, "name="), path))
	}
	return append(dirs, filepath.Join(root, controllers, path))
}

func inodeOf(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	return info.Sys().(*syscall.Stat_t).Ino, true
}

// left returns one line for everything that is still there.
func (f trace) left() (lines []string) {
	for p, command := range f.processes {
		if now, ok := living(p.pid); ok && now == p {
			lines = append(lines, fmt.Sprintf("process %d: %s", p.pid, command))
		}
	}
	for _, pid := range allPIDs() {
		if f.later(pid) {
			continue
		}
		for _, kind := range namespaceKinds {
			if name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil && f.namespaces[name] {
				lines = append(lines, fmt.Sprintf("process %d in namespace %s: %s", pid, name, commandLine(pid)))
			}
		}
	}
	for dir, inode := range f.groups {
		if now, ok := inodeOf(dir); ok && now == inode {
			lines = append(lines, "cgroup "+dir)
		}
	}
	for _, line := range mounts() {
		if f.namespaces[nsfs(line)] {
			lines = append(lines, "mounted namespace: "+line)
		}
	}
	slices.Sort(lines)
	return lines
}

// leftAfterStop returns what must not be there when no worker runs on the data directory any more: left, and
// everything that mentions the directory.
func (f trace) leftAfterStop() []string {
	lines := f.left()
	for _, pid := range allPIDs() {
		if command := commandLine(pid); pid != os.Getpid() && strings.Contains(command, f.data) {
			lines = append(lines, fmt.Sprintf("process %d: %s", pid, command))
		}
	}
	for _, line := range mounts() {
		if strings.Contains(line, f.data) {
			lines = append(lines, "mount: "+line)
		}
	}
	return lines
}

// leftSoon is leftAfterStop with a little patience: the kernel takes namespaces apart after the last process
// has ended, and other packages' tests make and remove sandboxes meanwhile.
func (f trace) leftSoon(patience time.Duration) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		lines := f.leftAfterStop()
		if len(lines) == 0 || time.Now().After(deadline) {
			return lines
		}
	}
}

// nsfs returns the namespace of a line of mountinfo that holds one, such as "net:[4026532281]".
func nsfs(line string) string {
	fields := strings.Fields(line)
	if len(fields) > 3 && strings.Contains(line, " - nsfs ") {
		return fields[3]
	}
	return ""
}

// mounts returns the lines of this mount namespace's mountinfo.
func mounts() []string {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// groupsNamed returns all cgroup directories whose name has the word in it.
func groupsNamed(word string) (dirs []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(entry.Name(), word) {
			dirs = append(dirs, path)
		}
		return nil // what disappears while we look is not left
	})
	return dirs
}

func allPIDs() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stat returns state, parent and start of a process.
func stat(pid int) (state string, parent int, start string, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, "", false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent, fields[19], true
}

func living(pid int) (process, bool) {
	state, _, start, ok := stat(pid)
	return process{pid, start}, ok && state != "Z" && state != "X"
}

// descendants returns the process and all its living descendants.
func descendants(root int) []int {
	children := map[int][]int{}
	for _, pid := range allPIDs() {
		if _, parent, _, ok := stat(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	family := []int{root}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}
