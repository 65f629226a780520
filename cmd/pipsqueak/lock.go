package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

func (p *program) lock() *cobra.Command {
	return &cobra.Command{
		Use:   "lock [DIR]",
		Short: "Write the exact packages of a function into its directory",
		Long: `Resolve the packages of the function in a directory, the current one by default, and write each with
its version and the digests of its archives into ` + bundle.LockFile + ` there, for its repository. A deploy
then installs these and no others, on every server, and refuses a lock that was made from other
manifests. If the language's own tool makes a lock file, such as package-lock.json, that is written
too, unless it exists.

It asks a server, because the fitting packages depend on its runtimes. In an application, each
function's directory gets its own lock.`,
		Example: "  pipsqueak lock hello\n  cd hello && pipsqueak lock",
		GroupID: groupFunctions,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if !isDir(dir) {
				return core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not a directory: name the one of a function", dir)
			}
			_, parts, err := partsOf(cmd.Context(), dir, "")
			if err != nil {
				return err
			}
			for i, part := range parts {
				same := func(other bundle.Part) bool { return filepath.Clean(other.Dir) == filepath.Clean(part.Dir) }
				if slices.ContainsFunc(parts[:i], same) {
					return core.Errorf(core.KindUnsupported, core.FaultCaller, "%s is the directory of two functions, and has place for one lock: give each a directory, or deploy them without", part.Dir)
				}
				if err := p.lockPart(cmd, part); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// lockPart writes the lock of one function, and reports what has changed.
func (p *program) lockPart(cmd *cobra.Command, part bundle.Part) error {
	archive, err := openArchive(part)
	if err != nil {
		return err
	}
	defer archive.Close()
	show := p.progress()
	lock, err := p.client().Lock(cmd.Context(), show.upload(archive), show.step)
	show.clear()
	if err != nil {
		return err
	}
	before, err := readLock(filepath.Join(part.Dir, bundle.LockFile))
	if err != nil {
		return err
	}
	if err := writeLock(part.Dir, lock); err != nil {
		return err
	}
	for _, line := range changes(before.Packages, lock.Packages) {
		fmt.Fprintln(p.out, line)
	}
	_, err = fmt.Fprintf(p.out, "%s: %s for %s\n", filepath.Join(part.Dir, bundle.LockFile), core.Count(len(lock.Packages), "package", "packages"), lock.Runtime)
	return err
}

// readLock reads the earlier lock. One that cannot be understood is about to be replaced, and counts as none.
func readLock(file string) (lock core.Lock, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return core.Lock{}, nil
	}
	if err != nil {
		return core.Lock{}, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the lock that is to be replaced: %w", err)
	}
	_ = json.Unmarshal(data, &lock)
	return lock, nil
}

// writeLock writes the lock and the files beside it, of which it says nothing more. Their names come from a
// server: one that is no plain name of a file is refused, before anything is written.
func writeLock(dir string, lock core.Lock) error {
	for name := range lock.Files {
		if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." || name == bundle.LockFile {
			return core.Errorf(core.KindInvalid, core.FaultWorker,
				"the server's lock has a file %q, which does not belong beside the manifests of %s: nothing was written; do not trust this server", name, dir)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lock.Files)) {
		file := filepath.Join(dir, name)
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		if err := replace(file, []byte(lock.Files[name])); err != nil {
			return err
		}
	}
	lock.Files = nil
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(lock); err != nil {
		return err
	}
	return replace(filepath.Join(dir, bundle.LockFile), text.Bytes())
}

// replace writes a file whole or not at all.
func replace(file string, data []byte) error {
	half := file + ".half"
	err := os.WriteFile(half, data, 0o644)
	if err == nil {
		err = os.Rename(half, file)
	}
	if err != nil {
		_ = os.Remove(half)
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot write %s: %w", file, err)
	}
	return nil
}

// changes returns the differences, one a line: "+ name 2", "- name 1", "~ name 1 → 2".
func changes(before, after []core.Locked) []string {
	versions := func(packages []core.Locked) map[string]string {
		all := map[string][]string{}
		for _, p := range packages {
			all[p.Name] = append(all[p.Name], p.Version)
		}
		joined := map[string]string{}
		for name, list := range all {
			joined[name] = strings.Join(slices.Sorted(slices.Values(list)), ", ")
		}
		return joined
	}
	was, is := versions(before), versions(after)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		switch old, there := was[name]; {
		case !there:
			lines = append(lines, "+ "+name+" "+is[name])
		case old != is[name]:
			lines = append(lines, "~ "+name+" "+old+" → "+is[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, there := is[name]; !there {
			lines = append(lines, "- "+name+" "+was[name])
		}
	}
	return lines
}
