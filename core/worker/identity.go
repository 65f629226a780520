package worker

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// identityFile is the file of a data directory that has the id of its worker.
const identityFile = "id"

// identity returns the id of the worker on a data directory: random, and the same after a restart, so that no
// two workers of a cluster have the same. It makes one for a directory that has none, or one that cannot be
// an id.
func identity(data string) (string, error) {
	path := filepath.Join(data, identityFile)
	wrong := func(err error) error {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the worker's id in its data directory: %w", err)
	}
	known, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", wrong(err)
	}
	if id := strings.TrimSpace(string(known)); len(id) == len(rand.Text()) && !strings.ContainsFunc(id, notOfAnID) {
		return id, nil
	}
	id := rand.Text()
	// By a rename, so that a worker that is killed meanwhile leaves no half of one.
	err = os.WriteFile(path+".new", []byte(id+"\n"), 0o600)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return id, nil // for this time: a full disk keeps no worker from starting
	}
	if err := errors.Join(err, os.Rename(path+".new", path)); err != nil {
		return "", wrong(err)
	}
	return id, nil
}

// notOfAnID reports whether a character is none of those that rand.Text uses.
func notOfAnID(c rune) bool {
	return (c < 'A' || c > 'Z') && (c < '2' || c > '7')
}
