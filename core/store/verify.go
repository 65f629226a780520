package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxDamaged is how many files of a tree are told of.
const maxDamaged = 20

// Checked is what was read to verify a tree.
type Checked struct {
	Files   int
	Bytes   int64
	Damaged []core.DamagedFile // sorted, at most 20; empty when the tree is whole
}

// Sample says of how many files the contents are read, chosen at random. The zero Sample is all files.
type Sample struct {
	Percent float64 // of a tree's files, 0 for all
	Files   int     // at most about so many of a tree, 0 for any number
}

// choose returns a choice among so many files.
func (s Sample) choose(files int) func() bool {
	share := 1.0
	if s.Percent > 0 {
		share = s.Percent / 100
	}
	if s.Files > 0 && files > 0 {
		share = min(share, float64(s.Files)/float64(files))
	}
	return func() bool { return share >= 1 || rand.Float64() < share }
}

// Verify compares a tree with its manifest: names, types, modes, owners, links and sizes of all, and the contents of a sample. It reads
// several files at once. A tree that is found whole with everything read is not damaged any more.
func (s *Store) Verify(tree Tree, sample Sample) (Checked, error) {
	items := s.manifest(tree)
	if items == nil {
		return s.verifyWhole(tree), nil
	}
	files := countFiles(items)
	c := verifyItems(s.treePath(tree), items, sample.choose(files))
	for _, path := range s.copies(tree) {
		items := manifestOf(path, digestPrefix+path[strings.LastIndex(path, ".")+1:])
		if items == nil {
			c.Damaged = append(c.Damaged, core.DamagedFile{Reason: "has a compiled copy with a damaged manifest"})
			continue
		}
		files += countFiles(items)
		c.add(verifyItems(path, items, sample.choose(countFiles(items))))
	}
	if len(c.Damaged) == 0 && c.Files == files && s.isDamaged(tree) {
		s.writes.Lock()
		defer s.writes.Unlock()
		return c, s.unmark(tree)
	}
	return c, nil
}

// add adds what was read of another tree.
func (c *Checked) add(other Checked) {
	c.Files, c.Bytes, c.Damaged = c.Files+other.Files, c.Bytes+other.Bytes, append(c.Damaged, other.Damaged...)
	slices.SortFunc(c.Damaged, func(a, b core.DamagedFile) int { return strings.Compare(a.File, b.File) })
	c.Damaged = slices.Compact(c.Damaged) // a file of a package and the same one of its copy
	c.Damaged = c.Damaged[:min(len(c.Damaged), maxDamaged)]
}

// manifest returns the items of a tree as they are to be. It returns nil when the tree is from before there were manifests, or its manifest is
// damaged itself.
func (s *Store) manifest(tree Tree) []item { return manifestOf(s.treePath(tree), tree.Digest) }

func manifestOf(path, digest string) []item {
	text, err := os.ReadFile(path + manifestSuffix)
	if err != nil || digestOf(text) != digest {
		return nil
	}
	items, err := readManifest(text)
	if err != nil {
		return nil
	}
	return append([]item{{path: ".", mode: fs.ModeDir | directoryMode}}, items...)
}

func countFiles(items []item) (n int) {
	for _, i := range items {
		if i.mode.IsRegular() {
			n++
		}
	}
	return n
}

// verifyWhole verifies a tree without a manifest, which it gets when it is whole.
func (s *Store) verifyWhole(tree Tree) (c Checked) {
	broken := func(reason string) Checked {
		c.Damaged = []core.DamagedFile{{Reason: reason}}
		return c
	}
	root, err := os.OpenRoot(s.treePath(tree))
	if err != nil {
		return broken("is gone: " + reasonOf(err))
	}
	defer root.Close()
	items, err := scan(root, func(spot, item) error { return nil })
	if err != nil {
		return broken("cannot be read: " + err.Error())
	}
	for _, i := range items {
		c.Bytes += i.size
	}
	c.Files = countFiles(items)
	text := manifest(items)
	if digestOf(text) != tree.Digest {
		return broken("has other files than its digest says, and no manifest that says which")
	}
	if err := s.writeFile(s.treePath(tree)+manifestSuffix, text); err != nil {
		return broken("is whole, but its manifest is damaged and cannot be written: " + err.Error())
	}
	return c
}

func verifyItems(path string, items []item, read func() bool) (c Checked) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Checked{Damaged: []core.DamagedFile{{Reason: "is gone: " + reasonOf(err)}}}
	}
	defer root.Close()
	known := make(map[string]bool, len(items))
	for _, i := range items {
		known[i.path] = true
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for share := range slices.Chunk(items, (len(items)+workers-1)/workers) {
		group.Go(func() {
			part := checkItems(root, share, known, read)
			mu.Lock()
			defer mu.Unlock()
			c.add(part)
		})
	}
	group.Wait()
	return c
}

// checkItems compares some items of a tree with what is there. It stops where more is damaged than is told of.
func checkItems(root *os.Root, items []item, known map[string]bool, read func() bool) (c Checked) {
	buffer := make([]byte, 128<<10)
	for _, i := range items {
		if len(c.Damaged) > maxDamaged {
			return c
		}
		contents := i.mode.IsRegular() && read()
		if contents {
			c.Files++
			c.Bytes += i.size
		}
		if reason := check(root, i, contents, buffer); reason != "" {
			c.Damaged = append(c.Damaged, core.DamagedFile{File: i.path, Reason: reason})
		} else if i.mode.IsDir() {
			c.Damaged = append(c.Damaged, added(root, i.path, known)...)
		}
	}
	return c
}

// check returns how an item differs from what is there, "" when it does not.
func check(root *os.Root, i item, contents bool, buffer []byte) string {
	info, err := root.Lstat(i.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing"
	}
	if err != nil {
		return "cannot be read: " + reasonOf(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != i.mode.Type():
		return "is now a " + typeName(info.Mode())
	case i.mode.Type() != fs.ModeSymlink && info.Mode() != i.mode:
		return fmt.Sprintf("has the mode %v instead of %v", info.Mode(), i.mode)
	case ok && int(stat.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to user %d instead of %d", stat.Uid, os.Geteuid())
	case i.mode.IsRegular() && info.Size() != i.size:
		return fmt.Sprintf("has %d bytes instead of %d", info.Size(), i.size)
	case i.mode.Type() == fs.ModeSymlink:
		if target, err := root.Readlink(i.path); err != nil || target != i.target {
			return fmt.Sprintf("leads to %q instead of %q", target, i.target)
		}
	case contents:
		now := i
		if err := sum(root, i.path, &now, buffer); err != nil {
			return "cannot be read: " + reasonOf(err)
		}
		if now.sha256 != i.sha256 {
			return "has other contents than when it was installed"
		}
	}
	return ""
}

// added returns what is in a directory and not known.
func added(root *os.Root, dir string, known map[string]bool) (found []core.DamagedFile) {
	list, err := root.Open(dir)
	if err != nil {
		return []core.DamagedFile{{File: dir, Reason: "cannot be read: " + reasonOf(err)}}
	}
	defer list.Close()
	names, err := list.Readdirnames(maxTreeEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		found = append(found, core.DamagedFile{File: dir, Reason: "cannot be read: " + reasonOf(err)})
	}
	for _, name := range names {
		if name = path.Join(dir, name); !known[name] {
			found = append(found, core.DamagedFile{File: name, Reason: "was added"})
		}
	}
	return found
}

// reasonOf leaves the path out of an error: what is said of it is known.
func reasonOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// HeldTree is a tree that Collect leaves alone until its Hold is released.
type HeldTree struct {
	Tree
	*Hold
}

// HoldTrees returns everything that there is to verify, each with a hold of its own: what is in the areas, what functions refer to, and what
// the index does. The caller releases them.
func (s *Store) HoldTrees() []HeldTree {
	s.writes.Lock()
	defer s.writes.Unlock()
	seen := map[Tree]bool{}
	for _, area := range []Area{Code, Packages} {
		names, _ := os.ReadDir(filepath.Join(s.dir, string(area))) // Open has made it
		for _, entry := range names {
			if isHex(entry.Name()) {
				seen[Tree{area, digestPrefix + entry.Name()}] = true
			}
		}
	}
	for _, f := range s.List() {
		seen[Tree{Code, f.Code}] = true
		for _, p := range f.Packages {
			seen[Tree{Packages, p.Digest}] = true
		}
	}
	for _, p := range s.Installed() {
		seen[Tree{Packages, p.Digest}] = true
	}
	var all []HeldTree
	for tree := range seen {
		hold := s.Hold()
		hold.add(tree.Digest)
		all = append(all, HeldTree{tree, hold})
	}
	slices.SortFunc(all, func(a, b HeldTree) int { return strings.Compare(string(a.Area)+a.Digest, string(b.Area)+b.Digest) })
	return all
}
