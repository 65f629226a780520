// Package interpreter finds the interpreters of a language on this machine, asks them about themselves, and
// keeps their answers by runtime.
package interpreter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Found has what a driver knows of each of its runtimes, a T, as it was last described. The zero value has
// none. It is safe for concurrent use.
type Found[T any] struct {
	mu sync.Mutex
	of map[core.RuntimeID]T
}

// Set replaces everything that was found. The caller does not change the map afterwards.
func (f *Found[T]) Set(of map[core.RuntimeID]T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of = of
}

// Get returns the T of a runtime, or KindUnsupported when the machine has no such runtime.
func (f *Found[T]) Get(runtime core.RuntimeID) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok := f.of[runtime]
	if !ok {
		return found, core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", runtime)
	}
	return found, nil
}

// Home returns the home directory of the user who runs the worker, where its version managers keep
// interpreters: a driver's environment does not have it. It is empty when it is not known. Other users can
// change the files in theirs, so nothing of them is run.
func Home() string {
	account, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return ""
	}
	return account.HomeDir
}

// Glob returns the files that match patterns, and patterns below Home. Of the files that match one pattern,
// those with the highest names, which are mostly the newest versions, come first.
func Glob(patterns, below []string) (paths []string) {
	if home := Home(); home != "" {
		for _, pattern := range below {
			patterns = append(slices.Clip(patterns), filepath.Join(home, pattern))
		}
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // the only error is a bad pattern
		slices.Reverse(found)
		paths = append(paths, found...)
	}
	return paths
}

// environment is what an interpreter gets that is asked: nothing of the driver's own, and no home with
// settings.
var environment = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent"}

// ErrNoAnswer is the error for a program that ended well and did not write JSON: it is another one than its
// name says.
var ErrNoAnswer = errors.New("it does not answer in JSON")

// Ask runs an interpreter that writes JSON to its standard output, and reads that into answer. If the program
// fails, the error is the text that it wrote to its standard error.
func Ask(ctx context.Context, answer any, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environment
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return nil
}

var version = regexp.MustCompile(`\d+(\.\d+)+`)

// Version returns the first version in the output of a program, "" when there is none.
func Version(ctx context.Context, command ...string) string {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environment
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return version.FindString(string(out))
}

// Exists reports whether there is something at a path.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Shown reports whether a directory is one of those that every sandbox shows.
func Shown(dir string) bool { return dir == "/usr" || strings.HasPrefix(dir, "/usr/") }

// Mounts returns mounts for those of the directories that a sandbox does not show by itself. It returns an
// error when one cannot be shown at its own path, because every sandbox has another directory there.
func Mounts(dirs ...string) (mounts []core.Mount, err error) {
	for _, dir := range dirs {
		if top := strings.Split(dir+"/", "/")[1]; top == "tmp" || top == "proc" || top == "dev" {
			return nil, fmt.Errorf("its files are in %s, and every sandbox has a /%s of its own; move them", dir, top)
		}
		if !Shown(dir) {
			mounts = append(mounts, core.Mount{Source: dir, Target: dir})
		}
	}
	return mounts, nil
}
