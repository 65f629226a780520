package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A group is a cgroup between the tree's and those of sandboxes. Its sandboxes together have one share of the
// processors, however many they are, and each of them an equal part of it. All groups have the same share,
// but for that of installers.
const (
	zygotesGroup    = "zygotes" // those that namespaces share
	installersGroup = "installers"
	namespaceGroup  = "ns-" // begins the name of a namespace's

	// The part of a processor that others want too, on v1 and on v2. Installers have an eighth of that.
	usualShares = 1024
	usualWeight = 100
)

// keptGroups is how many groups stay while they are empty, so that the next sandbox finds its own.
const keptGroups = 64

// groupOf returns the group of a sandbox.
func groupOf(config core.SandboxConfig) string {
	switch {
	case config.Role == core.RoleInstaller:
		return installersGroup
	case config.Role == core.RoleInstance:
		return namespaceGroup + core.Namespace(config.Function)
	case config.Namespace != "":
		return namespaceGroup + config.Namespace
	}
	return zygotesGroup
}

// groups are those of a tree.
type groups struct {
	mu    sync.Mutex
	users map[string]int // sandboxes in each group that is there
}

// join makes a group, unless it is there, and counts one more sandbox in it.
func (t *cgroupTree) join(group string) error {
	t.groups.mu.Lock()
	defer t.groups.mu.Unlock()
	if _, there := t.groups.users[group]; !there {
		if len(t.groups.users) >= keptGroups {
			t.sweep()
		}
		if err := t.makeGroup(t.groupDir(group), group); err != nil {
			return errors.Join(err, os.Remove(t.groupDir(group)))
		}
	}
	t.groups.users[group]++
	return nil
}

// leave counts one sandbox less in a group.
func (t *cgroupTree) leave(group string) {
	t.groups.mu.Lock()
	defer t.groups.mu.Unlock()
	t.groups.users[group]--
}

// sweep removes the groups that are empty. The caller holds the mutex.
func (t *cgroupTree) sweep() {
	for group, users := range t.groups.users {
		if users == 0 && unix.Rmdir(t.groupDir(group)) == nil {
			delete(t.groups.users, group)
		}
	}
}

// groupDir is the directory of a group. On v1 only the hierarchy of processors has groups, because they share
// nothing else.
func (t *cgroupTree) groupDir(group string) string {
	if t.unified {
		return filepath.Join(t.parents[""], group)
	}
	return filepath.Join(t.parents["cpu"], group)
}

func (t *cgroupTree) makeGroup(dir, group string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	file, share := "cpu.shares", usualShares/8
	if t.unified {
		if err := control(dir, "+"); err != nil {
			return err
		}
		file, share = "cpu.weight", usualWeight/8
	}
	if group != installersGroup {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(share)), 0)
}
