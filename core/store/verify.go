package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Verify compares a tree and its compiled copies with their lists, as files.List does. If all files were read
// and the tree is whole, its mark of damage is removed.
func (s *Store) Verify(tree Tree, sample files.Sample) (files.Checked, error) {
	list, ok := s.list(tree)
	if !ok {
		return s.verifyWhole(tree), nil
	}
	all := list.Files()
	c := list.Verify(s.treePath(tree), sample)
	for _, path := range s.copies(tree) {
		list, ok := readList(path, files.DigestPrefix+path[strings.LastIndex(path, ".")+1:])
		if !ok {
			c.Damaged = append(c.Damaged, core.DamagedFile{Reason: "has a compiled copy with a damaged list of files"})
			continue
		}
		all += list.Files()
		c.Add(list.Verify(path, sample))
	}
	if len(c.Damaged) == 0 && c.Files == all && s.isDamaged(tree) {
		s.writes.Lock()
		defer s.writes.Unlock()
		return c, s.unmark(tree)
	}
	return c, nil
}

// list returns the list of a tree as it was committed. Not ok means that the tree is from before there were
// lists, or its list is damaged itself.
func (s *Store) list(tree Tree) (list files.List, ok bool) {
	return readList(s.treePath(tree), tree.Digest)
}

func readList(path, digest string) (list files.List, ok bool) {
	text, err := os.ReadFile(path + listSuffix)
	if err != nil {
		return nil, false
	}
	list, err = files.ParseList(text, digest)
	return list, err == nil
}

// verifyWhole verifies a tree without a list, which it gets when it is whole.
func (s *Store) verifyWhole(tree Tree) (c files.Checked) {
	broken := func(reason string) files.Checked {
		c.Damaged = []core.DamagedFile{{Reason: reason}}
		return c
	}
	root, err := os.OpenRoot(s.treePath(tree))
	if err != nil {
		return broken("is gone: " + files.Reason(err))
	}
	defer root.Close()
	list, err := files.Read(root)
	if err != nil {
		return broken("cannot be read: " + err.Error())
	}
	c.Files, c.Bytes = list.Files(), list.Bytes()
	text, digest := list.Text()
	if digest != tree.Digest {
		return broken("has other files than its digest says, and no list that says which")
	}
	if err := s.writeFile(s.treePath(tree)+listSuffix, text); err != nil {
		return broken("is whole, but its list of files is damaged and cannot be written: " + err.Error())
	}
	return c
}

// HeldTree is a tree that Collect leaves alone until its Hold is released.
type HeldTree struct {
	Tree
	*Hold
}

// HoldTrees returns every tree that can be verified, each with a hold of its own: those in the areas, those
// that functions refer to, and those of the index. The caller releases them.
func (s *Store) HoldTrees() []HeldTree {
	s.writes.Lock()
	defer s.writes.Unlock()
	seen := map[Tree]bool{}
	for _, area := range []Area{Code, Packages} {
		names, _ := os.ReadDir(filepath.Join(s.dir, string(area))) // Open has made it
		for _, entry := range names {
			if files.IsHex(entry.Name()) {
				seen[Tree{area, files.DigestPrefix + entry.Name()}] = true
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
