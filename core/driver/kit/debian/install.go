package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Install fetches packages that Resolve returned, each by the digest that it is locked to, unpacks it into a
// directory of its own in out, <name>-<version>, and returns a receipt for each. Of those that have no URI it
// looks up what the signed lists say: a digest that is not in them is refused, and a package URL that is
// another. Progress may be nil.
func Install(ctx context.Context, packages []Archive, out string, progress func(core.Progress)) ([]core.Receipt, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	if progress == nil {
		progress = func(core.Progress) {}
	}
	for _, p := range packages {
		// A lock that a user brings can have any: none may become an option or a path.
		if name, version := nameAndVersion(p.Locked); !Ours(p.Locked) || !validName.MatchString(name) || !validVersion.MatchString(version) {
			return nil, core.Errorf(core.KindInstall, core.FaultCaller, "%q is no Debian package: run `pipsqueak lock` to write pipsqueak.lock again", p)
		}
	}
	a, err := openApt(nil)
	if err != nil {
		return nil, err
	}
	defer a.close()
	if packages, err = a.locate(ctx, packages); err != nil {
		return nil, err
	}
	// Beside what is unpacked: the scratch directory is memory.
	archives := filepath.Join(out, ".archives")
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(archives)
	if err := a.fetch(ctx, packages, archives, progress); err != nil {
		return nil, err
	}
	return unpackAll(ctx, packages, archives, out, progress)
}

var (
	validName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]*$`)
	validVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:-]*$`)
)

// locate returns the packages with what the lists say of those that have no URI.
func (a *apt) locate(ctx context.Context, packages []Archive) ([]Archive, error) {
	var unknown []string
	for _, p := range packages {
		if p.URI == "" {
			name, version := nameAndVersion(p.Locked)
			unknown = append(unknown, name+"="+version)
		}
	}
	if len(unknown) == 0 {
		return packages, nil
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	said, err := a.run(ctx, aptGet, "looking for Debian packages", nil, append([]string{"download", "--print-uris", sha256Only}, unknown...)...)
	if err != nil {
		return nil, resolveAgain(err)
	}
	known, err := printed(said)
	if err == nil {
		err = a.describe(ctx, known)
	}
	if err != nil {
		return nil, err
	}
	packages = slices.Clone(packages)
	for i, p := range packages {
		if p.URI != "" {
			continue
		}
		at := slices.IndexFunc(known, func(k Archive) bool { return k.String() == p.String() })
		if at < 0 || !slices.Contains(p.Archives, known[at].Archives[0]) {
			return nil, core.Errorf(core.KindInstall, core.FaultCaller, "the Debian archive's signed lists do not have the digest that %s is locked to: "+
				"resolve again with `pipsqueak deploy --anew` or `pipsqueak lock`", p)
		}
		if p.URL != known[at].URL {
			return nil, core.Errorf(core.KindInstall, core.FaultCaller, "the lock says that %s is %.200q, and the Debian archive's signed lists that it is %.200q: "+
				"resolve again with `pipsqueak lock` or `pipsqueak deploy --anew`", p, p.URL, known[at].URL)
		}
		packages[i].URI, packages[i].Size, packages[i].Signature = known[at].URI, known[at].Size, known[at].Signature
		packages[i].Archives = known[at].Archives
	}
	return packages, nil
}

// fetch has apt fetch the archives, and check their digests.
func (a *apt) fetch(ctx context.Context, packages []Archive, archives string, progress func(core.Progress)) error {
	arguments := []string{"download-file"}
	for _, p := range packages {
		arguments = append(arguments, p.URI, filepath.Join(archives, p.Base()), strings.Replace(p.Archives[0], "sha256", "SHA256", 1))
	}
	started, item := 0, core.Count(len(packages), "Debian package", "Debian packages")
	_, err := a.run(ctx, aptHelper, "fetching Debian packages", func(line string) {
		if strings.HasPrefix(line, "Get:") {
			started++
			progress(core.Progress{Verb: "install", Item: item, Detail: "fetching " + strconv.Itoa(started), Total: int64(len(packages))})
		}
	}, arguments...)
	return resolveAgain(err)
}

// unpackAll unpacks on all processors.
func unpackAll(ctx context.Context, packages []Archive, archives, out string, progress func(core.Progress)) ([]core.Receipt, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan int)
	receipts := make([]core.Receipt, len(packages))
	var (
		workers sync.WaitGroup
		mu      sync.Mutex // guards done, and that progress hears one at a time
		done    int64
	)
	for range runtime.NumCPU() {
		workers.Go(func() {
			for i := range todo {
				p := packages[i]
				var err error
				if receipts[i], err = unpack(ctx, p, filepath.Join(archives, p.Base()), filepath.Join(out, p.Base())); err != nil {
					cancel(err)
					continue
				}
				mu.Lock()
				done++
				name, version := nameAndVersion(p.Locked)
				progress(core.Progress{Verb: "install", Item: name + " " + version, Detail: fmt.Sprintf("fetched %.1f MB", float64(p.Size)/1e6), Done: done, Total: int64(len(packages))})
				mu.Unlock()
			}
		})
	}
	for i := range packages {
		if ctx.Err() != nil {
			break
		}
		todo <- i
	}
	close(todo)
	workers.Wait()
	return receipts, context.Cause(ctx)
}

func unpack(ctx context.Context, p Archive, archive, dir string) (core.Receipt, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return core.Receipt{}, err
	}
	if said, err := extract(ctx, archive, dir); err != nil {
		return core.Receipt{}, failed(ctx, "unpacking "+p.String(), said, err)
	}
	// To move it away its owner has to be able to write to it.
	if err := errors.Join(os.Chmod(dir, 0o755), relink(dir), linkAlternatives(ctx, archive, dir), linkLibraries(dir), os.Remove(archive)); err != nil {
		return core.Receipt{}, err
	}
	name, _ := nameAndVersion(p.Locked)
	return core.Receipt{Name: p.Name, Version: p.Version, Archive: p.Archives[0], Bytes: p.Size, Modules: sonames(dir),
		Licenses: licenses(dir, name), Signatures: []core.Signature{p.Signature}}, nil
}

// merged are the directories that are links to those of the same name in /usr, where the host has it so.
// Packages have files in both.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// extract unpacks an archive as dpkg does: through the links that the system has. It returns what the
// programs said.
func extract(ctx context.Context, archive, dir string) (said string, err error) {
	for _, name := range merged {
		if target, err := os.Readlink("/" + name); err == nil && target == "usr/"+name {
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, target), 0o755), os.Symlink(target, filepath.Join(dir, name))); err != nil {
				return "", err
			}
		}
	}
	var words, others bytes.Buffer
	read := exec.CommandContext(ctx, dpkgDeb, "--fsys-tarfile", archive)
	write := exec.CommandContext(ctx, "tar", "--extract", "--preserve-permissions", "--no-same-owner", "--keep-directory-symlink", "--warning=no-timestamp", "--directory", dir)
	read.Stderr, write.Stderr = &words, &others
	if write.Stdin, err = read.StdoutPipe(); err != nil {
		return "", err
	}
	if err := read.Start(); err != nil {
		return "", err
	}
	err = errors.Join(write.Run(), read.Wait())
	for _, name := range merged { // those that the package has nothing in
		if _, linked := os.Readlink(filepath.Join(dir, name)); linked == nil && os.Remove(filepath.Join(dir, "usr", name)) == nil {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	_ = os.Remove(filepath.Join(dir, "usr")) // when it is empty
	return words.String() + others.String(), err
}

// sonames are the names of the libraries of a package that the loader looks for where it does.
func sonames(dir string) []string {
	var names []string
	for _, libraries := range LibraryDirs(dir) {
		entries, _ := os.ReadDir(libraries) // what cannot be read has no libraries
		for _, entry := range entries {
			if !strings.Contains(entry.Name(), ".so") {
				continue
			}
			file, err := elf.Open(filepath.Join(libraries, entry.Name()))
			if err != nil {
				continue // a text for the linker, or a link to another package's
			}
			said, _ := file.DynString(elf.DT_SONAME)
			file.Close()
			if len(said) == 1 && said[0] == entry.Name() {
				names = append(names, said[0])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// licenses are those that the package's copyright file names, when a machine can read it (DEP-5).
func licenses(dir, name string) []string {
	file, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer file.Close()
	text, err := file.ReadFile("usr/share/doc/" + name + "/copyright") // often a link to another package's, which is not there
	if err != nil || !strings.HasPrefix(string(text), "Format:") {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if license, ok := strings.CutPrefix(line, "License:"); ok {
			if license = strings.TrimSpace(license); license != "" && !slices.Contains(found, license) {
				found = append(found, license)
			}
		}
	}
	return found
}

// relink makes the symbolic links of a package work where it is unpacked: the directory is the root that they
// are meant in.
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

// linkLibraries links the libraries of a package that are in a directory below one that the loader looks into
// to where it does. Some are found there by a link that the package's script would make by
// update-alternatives, such as libblas.so.3, others by a path in the library that needs them, and that path
// is not where the package is.
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
