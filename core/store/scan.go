package store

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
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// scan returns everything in the tree, sorted by path. It calls visit with each item before it reads it, with its path, mode and
// size set, and the directory and name where it is; visit is called by several goroutines at once. Errors are the caller's fault
// when they are about what the tree holds.
//
// It is made for thousands of small files: a goroutine for each processor takes one directory after the other, and every file is
// reached by its name in its directory, for the kernel and os.Root walk a long path at each call.
func scan(root *os.Root, visit func(at spot, i item) error) ([]item, error) {
	s := scanner{root: root, visit: visit, todo: []string{"."}}
	s.changed.L = &s.mu
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(s.work)
	}
	group.Wait()
	if s.err != nil {
		return nil, s.err
	}
	for _, i := range s.items {
		if i.mode.Type() == fs.ModeSymlink && !leadsToPackage(i.target) {
			if err := checkLink(root, i.path, i.target); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(s.items, func(a, b item) int { return strings.Compare(a.path, b.path) })
	return s.items, nil
}

// spot is where an item is: its name in an open directory, and what the directory says of it.
type spot struct {
	dir  *os.Root
	name string
	info fs.FileInfo
}

type scanner struct {
	root  *os.Root
	visit func(spot, item) error

	mu      sync.Mutex // guards the following
	changed sync.Cond  // todo has become longer, or a worker has finished
	todo    []string   // directories
	working int        // goroutines that have one
	entries int
	bytes   int64
	items   []item
	err     error // the first; ends all
}

// work scans directories until there are no more, or the first error.
func (s *scanner) work() {
	buffer := make([]byte, 128<<10)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.todo) == 0 && s.working > 0 && s.err == nil {
			s.changed.Wait()
		}
		if len(s.todo) == 0 || s.err != nil {
			return
		}
		name := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		s.working++
		s.mu.Unlock()
		items, err := s.directory(name, buffer)
		s.mu.Lock()
		s.working--
		s.items = append(s.items, items...)
		for _, i := range items {
			if i.mode.IsDir() {
				s.todo = append(s.todo, i.path)
			}
		}
		if s.err == nil {
			s.err = err
		}
		s.changed.Broadcast()
	}
}

// directory scans what is in the directory itself. It reads all names before it visits the first, because visiting may replace files.
func (s *scanner) directory(name string, buffer []byte) (items []item, err error) {
	dir, err := s.root.OpenRoot(name)
	if err != nil {
		return nil, s.fail(name, err)
	}
	defer dir.Close()
	list, err := dir.Open(".")
	if err != nil {
		return nil, s.fail(name, err)
	}
	names, err := list.Readdirnames(maxTreeEntries + 1)
	list.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, s.fail(name, err)
	}
	for _, entry := range names {
		i, err := s.entry(dir, name, entry, buffer)
		if err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	return items, nil
}

func (s *scanner) entry(dir *os.Root, parent, name string, buffer []byte) (item, error) {
	i := item{path: path.Join(parent, name)}
	if err := checkPath(i.path); err != nil {
		return i, err
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return i, s.fail(i.path, err)
	}
	i.mode = info.Mode()
	if i.mode.IsRegular() {
		i.size = info.Size()
	}
	if err := s.count(i); err != nil {
		return i, err
	}
	switch i.mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	default:
		return i, refusef("%q is a %s; only files, directories and symbolic links are allowed", i.path, typeName(i.mode))
	}
	if err := s.visit(spot{dir, name, info}, i); err != nil {
		return i, err
	}
	switch i.mode.Type() {
	case 0:
		err = sum(dir, name, &i, buffer)
	case fs.ModeSymlink:
		i.target, err = dir.Readlink(name)
	}
	if err != nil {
		return i, s.fail(i.path, err)
	}
	return i, nil
}

// count refuses a tree that is too large.
func (s *scanner) count(i item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries++
	s.bytes += i.size
	if s.entries > maxTreeEntries {
		return tooLargef("there are more than %d files and directories; leave some out", maxTreeEntries)
	}
	if s.bytes > maxTreeBytes {
		return tooLargef("the files have more than %d GiB together, counted up to %q; leave some out", maxTreeBytes>>30, i.path)
	}
	return nil
}

// sum reads a file for its digest.
func sum(dir *os.Root, name string, i *item, buffer []byte) error {
	file, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	// One byte more than it had shows a file that somebody still writes to, without reading after it for ever.
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.LimitReader(file, i.size+1), buffer)
	if err != nil {
		return err
	}
	if n != i.size {
		return core.Errorf(core.KindConflict, core.FaultWorker, "%s changed while it was read: end what writes to it first", i.path)
	}
	sum.Sum(i.sha256[:0])
	return nil
}

func (s *scanner) fail(name string, err error) error {
	return diskError(filepath.Join(s.root.Name(), name), err)
}
