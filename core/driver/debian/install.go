package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Install fetches packages that Resolve returned, has apt verify each against the signed lists, and unpacks it into a directory
// of its own in out, <name>-<version>. Progress may be nil.
func Install(ctx context.Context, packages []core.Locked, out string, progress func(core.Progress)) ([]core.Receipt, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	if progress == nil {
		progress = func(core.Progress) {}
	}
	a, err := openApt(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer a.close()
	// Beside what is unpacked: the scratch directory is memory.
	archives := filepath.Join(out, ".archives")
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(archives)
	arguments := []string{"download"}
	for _, p := range packages {
		name, version := nameAndVersion(p)
		arguments = append(arguments, name+"="+version)
	}
	steps, step := int64(2*len(packages)), int64(0)
	_, err = a.run(ctx, "fetching Debian packages", archives, func(line string) {
		if strings.HasPrefix(line, "Get:") {
			step++
			progress(core.Progress{Verb: "install", Item: fmt.Sprintf("%d Debian packages", len(packages)), Detail: "fetching", Done: min(step, steps/2), Total: steps})
		}
	}, arguments...)
	if err != nil {
		return nil, err
	}
	return nil, unpackAll(ctx, packages, archives, out, progress)
}

// unpackAll unpacks on all processors.
func unpackAll(ctx context.Context, packages []core.Locked, archives, out string, progress func(core.Progress)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan core.Locked)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex // guards done, and that progress hears one at a time
		done    int
	)
	for range runtime.NumCPU() {
		workers.Go(func() {
			for p := range todo {
				if err := unpack(ctx, p, archives, out); err != nil {
					cancel(err)
				}
				mu.Lock()
				done++
				progress(core.Progress{Verb: "install", Item: p.String(), Detail: "unpacked", Done: int64(len(packages) + done), Total: int64(2 * len(packages))})
				mu.Unlock()
			}
		})
	}
	for _, p := range packages {
		if ctx.Err() != nil {
			break
		}
		todo <- p
	}
	close(todo)
	workers.Wait()
	return context.Cause(ctx)
}

func unpack(ctx context.Context, p core.Locked, archives, out string) error {
	name, version := nameAndVersion(p)
	found, err := filepath.Glob(filepath.Join(archives, name+"_"+strings.ReplaceAll(version, ":", "%3a")+"_*.deb"))
	if err != nil || len(found) != 1 {
		return core.Errorf(core.KindInstall, core.FaultDriver, "apt fetched %d archives for %s %s where there should be one", len(found), name, version)
	}
	dir := filepath.Join(out, p.Base())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if said, err := exec.CommandContext(ctx, dpkgDeb, "--extract", found[0], dir).CombinedOutput(); err != nil {
		return failed(ctx, "unpacking "+p.String(), string(said), err)
	}
	// To move it away its owner has to be able to write to it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(relink(dir), linkLibraries(dir), os.Remove(found[0]))
}

// relink makes the symbolic links of a package work where it is unpacked: the directory is the root that they are meant in.
func relink(dir string) error {
	return filepath.WalkDir(dir, func(link string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(link)
		if err != nil {
			return err
		}
		within, err := filepath.Rel(dir, filepath.Dir(link))
		if err != nil {
			return err
		}
		if !path.IsAbs(target) && filepath.IsLocal(path.Join(within, target)) {
			return nil
		}
		if !path.IsAbs(target) {
			target = path.Join("/", within, target) // which ends at the root, as the kernel has it
		}
		relative, err := filepath.Rel(path.Join("/", within), target)
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(link), os.Symlink(relative, link))
	})
}

// linkLibraries links the libraries of a package that are in a directory below one that the loader looks into to where it
// does. Some are found there by a link that the package's script would make by update-alternatives, such as libblas.so.3, others
// by a path in the library that needs them, and that path is not where the package is.
func linkLibraries(dir string) error {
	for _, libraries := range LibraryDirs(dir) {
		if filepath.Base(libraries) != Triplet() {
			continue
		}
		below, err := filepath.Glob(filepath.Join(libraries, "*", "lib*.so*"))
		if err != nil {
			return err
		}
		for _, library := range below {
			relative, err := filepath.Rel(libraries, library)
			if err != nil {
				return err
			}
			err = os.Symlink(relative, filepath.Join(libraries, filepath.Base(library)))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}
