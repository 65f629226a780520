package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxDamaged is how many damaged files of a tree are reported.
const maxDamaged = 20

// Checked counts what was read to verify a tree.
type Checked struct {
	Files   int
	Bytes   int64
	Damaged []core.DamagedFile // sorted, at most 20; empty when the tree is whole
}

// Sample is the part of the files whose contents are read, chosen at random. The zero Sample is all files.
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

// Verify compares a directory with the list of its tree as it was sealed: names, types, modes, owners, links
// and sizes of everything, and the contents of a sample. It reads several files at once.
func (l List) Verify(dir string, sample Sample) (c Checked) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Checked{Damaged: []core.DamagedFile{{Reason: "is gone: " + Reason(err)}}}
	}
	defer root.Close()
	items := append(List{{Path: ".", Mode: fs.ModeDir | DirectoryMode}}, l...)
	read := sample.choose(l.Files())
	known := make(map[string]bool, len(items))
	for _, i := range items {
		known[i.Path] = true
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for share := range slices.Chunk(items, (len(items)+workers-1)/workers) {
		group.Go(func() {
			part := checkItems(root, share, known, read)
			mu.Lock()
			defer mu.Unlock()
			c.Add(part)
		})
	}
	group.Wait()
	return c
}

// checkItems compares some items of a tree with what is there. It stops where more is damaged than is
// reported.
func checkItems(root *os.Root, items List, known map[string]bool, read func() bool) (c Checked) {
	buffer := make([]byte, 128<<10)
	for _, i := range items {
		if len(c.Damaged) > maxDamaged {
			return c
		}
		contents := i.Mode.IsRegular() && read()
		if contents {
			c.Files++
			c.Bytes += i.Size
		}
		if reason := check(root, i, contents, buffer); reason != "" {
			c.Damaged = append(c.Damaged, core.DamagedFile{File: i.Path, Reason: reason})
		} else if i.Mode.IsDir() {
			c.Damaged = append(c.Damaged, added(root, i.Path, known)...)
		}
	}
	return c
}

// check returns how an item differs from what is there, "" when it does not.
func check(root *os.Root, i Item, contents bool, buffer []byte) string {
	info, err := root.Lstat(i.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing"
	}
	if err != nil {
		return "cannot be read: " + Reason(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != i.Mode.Type():
		return "is now a " + TypeName(info.Mode())
	case i.Mode.Type() != fs.ModeSymlink && info.Mode() != i.Mode:
		return fmt.Sprintf("has the mode %v instead of %v", info.Mode(), i.Mode)
	case ok && int(stat.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to user %d instead of %d", stat.Uid, os.Geteuid())
	case i.Mode.IsRegular() && info.Size() != i.Size:
		return fmt.Sprintf("has %d bytes instead of %d", info.Size(), i.Size)
	case i.Mode.Type() == fs.ModeSymlink:
		if target, err := root.Readlink(i.Path); err != nil || target != i.Target {
			return fmt.Sprintf("leads to %q instead of %q", target, i.Target)
		}
	case contents:
		now := i
		if err := sum(root, i.Path, &now, buffer); err != nil {
			return "cannot be read: " + Reason(err)
		}
		if now.SHA256 != i.SHA256 {
			return "has other contents than when it was installed"
		}
	}
	return ""
}

// added returns the names in a directory that are not known.
func added(root *os.Root, dir string, known map[string]bool) (found []core.DamagedFile) {
	list, err := root.Open(dir)
	if err != nil {
		return []core.DamagedFile{{File: dir, Reason: "cannot be read: " + Reason(err)}}
	}
	defer list.Close()
	names, err := list.Readdirnames(Any.Entries)
	if err != nil && !errors.Is(err, io.EOF) {
		found = append(found, core.DamagedFile{File: dir, Reason: "cannot be read: " + Reason(err)})
	}
	for _, name := range names {
		if name = path.Join(dir, name); !known[name] {
			found = append(found, core.DamagedFile{File: name, Reason: "was added"})
		}
	}
	return found
}

// Reason returns the text of an error without the path, for a message that names the path itself.
func Reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// Add adds what was read of another tree.
func (c *Checked) Add(other Checked) {
	c.Files, c.Bytes, c.Damaged = c.Files+other.Files, c.Bytes+other.Bytes, append(c.Damaged, other.Damaged...)
	slices.SortFunc(c.Damaged, func(a, b core.DamagedFile) int { return strings.Compare(a.File, b.File) })
	c.Damaged = slices.Compact(c.Damaged) // a file of a package and the same one of its copy
	c.Damaged = c.Damaged[:min(len(c.Damaged), maxDamaged)]
}
