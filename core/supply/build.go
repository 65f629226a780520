package supply

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// build makes of the code what its handler can be imported from, where the language needs it. When the
// function that it replaces was built of the same, it has that one's code then, unless the request is to
// build again.
func (d *deployment) build(ctx context.Context) error {
	if d.parts.Builder == nil {
		return nil
	}
	fn := &d.fn
	done := d.timed(core.Progress{Verb: "build", Item: fn.Name})
	from, err := d.builtFrom()
	if err != nil {
		return err
	}
	before, _ := d.store.Get(fn.Name)
	if from != "" && !d.request.Again && before.Built != nil && before.Built.From == from && d.hold.KeepCode(before.Code) {
		fn.Code, fn.Built = before.Code, before.Built
		addBuilt(fn, core.Built{Imports: before.Built.Imports, Sets: before.Built.Sets})
		done(fmt.Sprintf("the same as in version %d", before.Version), 0)
		return nil
	}
	code := core.Mount{Source: d.dir, Target: core.CodeDir, Writable: true}
	var built core.Built
	err = d.bench.do(ctx, d.task(buildTimeout, func(ctx context.Context, door core.Door) (err error) {
		request := core.BuildRequest{Runtime: d.runtime.ID, Handler: fn.Handler, Packages: fn.Packages, Door: door}
		built, err = d.parts.Builder.Build(ctx, request, d.progress)
		return err
	}, code))
	if err != nil {
		return err
	}
	addBuilt(fn, built)
	if from != "" {
		fn.Built = &core.BuiltCode{From: from, Imports: built.Imports, Sets: built.Sets}
	}
	done("", 0)
	return nil
}

func addBuilt(fn *core.Function, built core.Built) {
	fn.Sets = slices.Concat(fn.Sets, built.Sets)
	for _, module := range built.Imports {
		if !slices.Contains(fn.Imports, module) {
			fn.Imports = append(fn.Imports, module)
		}
	}
}

// builtFrom returns the digest of everything that decides what a build makes: the code, the packages, the
// handler's name, the driver and its toolchain. Empty when the driver does not say what belongs to that.
func (d *deployment) builtFrom() (string, error) {
	if len(d.runtime.Toolchain) == 0 {
		return "", nil
	}
	code, err := d.store.StagedDigest(d.dir)
	if err != nil {
		return "", err
	}
	toolchain, err := stateOf(d.runtime.Toolchain)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "looking at what a build works with: %w", err)
	}
	text, err := json.Marshal([]any{"pipsqueak build 2", d.driver.Description().Version, d.runtime.ID, d.runtime.Version, d.fn.Handler, d.fn.Packages, code, toolchain})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}

// stateOf returns a digest of the state of files, with all that is below directories. It is another one when
// something was changed, exchanged, added or removed. Not the time at which the inode changed, which one more
// hard link sets.
func stateOf(paths []string) (string, error) {
	sum := sha256.New()
	for _, path := range paths {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			err = filepath.WalkDir(real, func(name string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := entry.Info()
				if err != nil {
					return err
				}
				stat, ok := info.Sys().(*syscall.Stat_t)
				if !ok {
					return errors.ErrUnsupported
				}
				_, err = fmt.Fprintf(sum, "%q %v %d %d %d\n", name, info.Mode(), info.Size(), stat.Ino, stat.Mtim.Nano())
				return err
			})
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(sum, "%q is not there\n", path)
		case err != nil:
			return "", err
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}
