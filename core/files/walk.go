package files

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Bounds are how large a tree may be.
type Bounds struct {
	Entries int   // files, directories and links
	Bytes   int64 // of all files together
}

// Code is how large the code of a function may be, in its archive and after its build.
var Code = Bounds{Entries: 20_000, Bytes: 512 << 20}

// Any is how large each tree may be. An installer runs third-party code, and a sparse file or many links to
// one file cost it nothing and the reader much.
var Any = Bounds{Entries: 200_000, Bytes: 8 << 30}

// Read returns the list of the tree in a directory. The caller is at fault when the tree holds something that
// it may not.
func Read(root *os.Root) (List, error) { return walk(root, Any, func(spot, Item) error { return nil }) }

// walk is Read that calls visit with each item before it reads it, with its path, mode and
// size set, and the directory and name where it is. Several goroutines call visit at once.
//
// It is made for thousands of small files: a goroutine for each processor takes one directory after the
// other, and every file is reached by its name in its directory, for the kernel and os.Root walk a long path
// at each call.
func walk(root *os.Root, bounds Bounds, visit func(at spot, i Item) error) (List, error) {
	w := walker{root: root, bounds: bounds, visit: visit, todo: []string{"."}}
	w.changed.L = &w.mu
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(w.work)
	}
	group.Wait()
	if w.err != nil {
		return nil, w.err
	}
	for _, i := range w.items {
		if i.Mode.Type() == fs.ModeSymlink && !leadsToPackage(i.Target) {
			if err := CheckLink(root, i.Path, i.Target); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(w.items, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
	return w.items, nil
}

// spot is where an item is: its name in an open directory, and what the directory says of it.
type spot struct {
	dir  *os.Root
	name string
	info fs.FileInfo
}

type walker struct {
	root   *os.Root
	bounds Bounds
	visit  func(spot, Item) error

	mu      sync.Mutex // guards the following
	changed sync.Cond  // todo has become longer, or a worker has finished
	todo    []string   // directories
	working int        // goroutines that have one
	entries int
	bytes   int64
	items   List
	err     error // the first; ends all
}

// work reads directories until there are no more, or the first error.
func (w *walker) work() {
	buffer := make([]byte, 128<<10)
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.todo) == 0 && w.working > 0 && w.err == nil {
			w.changed.Wait()
		}
		if len(w.todo) == 0 || w.err != nil {
			return
		}
		name := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		w.working++
		w.mu.Unlock()
		items, err := w.directory(name, buffer)
		w.mu.Lock()
		w.working--
		w.items = append(w.items, items...)
		for _, i := range items {
			if i.Mode.IsDir() {
				w.todo = append(w.todo, i.Path)
			}
		}
		if w.err == nil {
			w.err = err
		}
		w.changed.Broadcast()
	}
}

// directory reads what is in the directory itself. It reads all names before it visits the first, because
// visiting may replace files.
func (w *walker) directory(name string, buffer []byte) (items List, err error) {
	dir, err := w.root.OpenRoot(name)
	if err != nil {
		return nil, w.fail(name, err)
	}
	defer dir.Close()
	list, err := dir.Open(".")
	if err != nil {
		return nil, w.fail(name, err)
	}
	names, err := list.Readdirnames(w.bounds.Entries + 1)
	list.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, w.fail(name, err)
	}
	for _, entry := range names {
		i, err := w.entry(dir, name, entry, buffer)
		if err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	return items, nil
}

func (w *walker) entry(dir *os.Root, parent, name string, buffer []byte) (Item, error) {
	i := Item{Path: path.Join(parent, name)}
	if err := CheckPath(i.Path); err != nil {
		return i, err
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return i, w.fail(i.Path, err)
	}
	i.Mode = info.Mode()
	if i.Mode.IsRegular() {
		i.Size = info.Size()
	}
	if err := w.count(i); err != nil {
		return i, err
	}
	switch i.Mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	default:
		return i, Refusef("%q is a %s; only files, directories and symbolic links are allowed", i.Path, TypeName(i.Mode))
	}
	if err := w.visit(spot{dir, name, info}, i); err != nil {
		return i, err
	}
	switch i.Mode.Type() {
	case 0:
		err = sum(dir, name, &i, buffer)
	case fs.ModeSymlink:
		i.Target, err = dir.Readlink(name)
	}
	if err != nil {
		return i, w.fail(i.Path, err)
	}
	return i, nil
}

// count refuses a tree that is too large.
func (w *walker) count(i Item) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries++
	w.bytes += i.Size
	if w.entries > w.bounds.Entries {
		return TooLargef("there are more than %d files and directories, with those that a build has made; leave some out", w.bounds.Entries)
	}
	if w.bytes > w.bounds.Bytes {
		return TooLargef("the files have more than %d MiB together, with those that a build has made, counted up to %q; leave some out", w.bounds.Bytes>>20, i.Path)
	}
	return nil
}

// sum reads a file for its digest.
func sum(dir *os.Root, name string, i *Item, buffer []byte) error {
	file, err := dir.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	// One byte more than it had shows a file that somebody still writes to, without reading after it for
	// ever.
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.LimitReader(file, i.Size+1), buffer)
	if err != nil {
		return err
	}
	if n != i.Size {
		return core.Errorf(core.KindConflict, core.FaultWorker, "%s changed while it was read: end what writes to it first", i.Path)
	}
	sum.Sum(i.SHA256[:0])
	return nil
}

func (w *walker) fail(name string, err error) error {
	return DiskError(filepath.Join(w.root.Name(), name), err)
}
