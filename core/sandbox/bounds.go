package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
)

// Bounds are of many processes together, whatever each of them may use by itself. 0 is no bound.
type Bounds struct {
	Sandboxes int64 // bytes of memory of all sandboxes
	Processes int64 // and threads, of all sandboxes
	Worker    int64 // bytes of memory of the worker itself and of its drivers
}

// workerShare is how many times the share of the processors that all sandboxes have together the worker has,
// when others want them too. Every namespace waits for the worker, twice in each event.
const workerShare = 8

// InstallerMemory is how many bytes of memory an installer may use at the most, with its files.
const InstallerMemory = 2 * installerMemory

// moveWorker puts the worker into cgroups of its own, with a bound of memory, and with the worker's share of
// the processors. In the cgroup of somebody else on v2 no other can be made below it, and the worker stays
// there.
func (t *cgroupTree) moveWorker(bytes int64) error {
	if bytes == 0 || len(t.worker) == 0 {
		return nil
	}
	for _, dir := range t.worker {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	own := &cgroupTree{unified: t.unified, parents: map[string]string{"": t.worker[0]}}
	if !t.unified {
		own.parents = map[string]string{"memory": t.worker[0], "cpu": t.worker[1]}
	}
	bounds := t.memory(bytes)
	bounds.CpuShares, bounds.CpuWeight = workerShare*usualShares, workerShare*usualWeight // on v1, and on v2
	manager, err := own.manager("", "", bounds)
	if err != nil {
		return err
	}
	err = manager.Set(bounds)
	for _, dir := range t.worker {
		err = errors.Join(err, cgroups.WriteCgroupProc(dir, os.Getpid()))
	}
	return err
}

// moveBack puts the worker, and its drivers that have not ended yet, where the worker was.
func (t *cgroupTree) moveBack() (err error) {
	if !t.back {
		return nil
	}
	for _, dir := range t.worker {
		for _, pid := range members(dir) {
			err = errors.Join(err, cgroups.WriteCgroupProc(filepath.Dir(dir), pid))
		}
		if gone := os.Remove(dir); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
