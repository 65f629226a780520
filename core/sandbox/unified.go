package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// This file finds and makes the place of a cgroup tree on v2.

// place finds the directory of the tree. Of an earlier worker of that name it removes what lies at the top.
func (t *cgroupTree) place(name string) error {
	t.parents[""] = filepath.Join(cgroupRoot, name)
	dir, ours := delegated()
	if dir == cgroupRoot { // nobody else counts on the worker's being where it is
		t.worker, t.back = []string{t.parents[""] + ownSuffix}, true
	}
	if !ours {
		return nil
	}
	if err := t.clear(); err != nil {
		return err
	}
	t.delegated, t.parents[""], t.worker = dir, filepath.Join(dir, name), []string{filepath.Join(dir, "worker")}
	return nil
}

// delegated returns the worker's own cgroup, and whether that is the worker's to divide: systemd marks the
// cgroup of a unit with Delegate=.
func delegated() (dir string, ours bool) {
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return "", false
	}
	dir = filepath.Join(cgroupRoot, own[""])
	mark := make([]byte, 1)
	n, err := unix.Getxattr(dir, "trusted.delegate", mark)
	return dir, err == nil && n == 1 && mark[0] == '1'
}

// makeUnified makes the tree, empty.
func (t *cgroupTree) makeUnified() error {
	if t.delegated != "" {
		if err := vacate(t.delegated, t.worker[0]); err != nil {
			return err
		}
	}
	tree := t.parents[""]
	if err := control(filepath.Dir(tree), "+"); err != nil {
		return err
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	return control(tree, "+")
}

// vacate moves the processes of a cgroup into a child of it, for only one without processes can have
// controlled children.
func vacate(dir, child string) error {
	if err := os.Mkdir(child, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, pid := range members(dir) {
		if err := cgroups.WriteCgroupProc(child, pid); err != nil {
			return err
		}
	}
	return nil
}

// control gives the controllers to the children of a cgroup ("+") or takes them away ("-"). All other
// controllers stay as they are: each makes every cgroup dearer, and at the top they are not ours.
func control(dir, sign string) error {
	words := sign + strings.Join(controllers, " "+sign)
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(words), 0); err != nil {
		return fmt.Errorf("%s for the children of a cgroup: %w", words, err)
	}
	return nil
}
