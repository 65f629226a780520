package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const digestPrefix = "sha256:"

func isHex(s string) bool {
	decoded, err := hex.DecodeString(s)
	return err == nil && len(decoded) == sha256.Size && s == strings.ToLower(s)
}

// What a tree may have that is given to the store. An installer runs third-party code, and a sparse file or many links to one
// file cost it nothing and the reader much.
const (
	maxTreeEntries = 200_000
	maxTreeBytes   = 8 << 30
	maxPath        = 1024 // bytes of a path in a tree
	maxPathElement = 255  // bytes of one name in it
)

// item is one line of the manifest of a tree.
type item struct {
	path   string // relative to the tree, with slashes
	mode   fs.FileMode
	size   int64
	sha256 [sha256.Size]byte // of a file's bytes
	target string            // of a symbolic link
}

// executable is the one bit of a file's mode that counts: whether anybody may execute it.
func (i item) executable() bool { return i.mode.Perm()&0o111 != 0 }

// line is what the manifest has of the item.
func (i item) line() string {
	switch {
	case i.mode.IsDir():
		return fmt.Sprintf("dir %q\n", i.path)
	case i.mode.Type() == fs.ModeSymlink:
		return fmt.Sprintf("link %q %q\n", i.path, i.target)
	case i.executable():
		return fmt.Sprintf("exec %q %d %x\n", i.path, i.size, i.sha256)
	default:
		return fmt.Sprintf("file %q %d %x\n", i.path, i.size, i.sha256)
	}
}

// treeDigest returns the digest of a tree of files, as "sha256:<hex>". Two trees have the same digest exactly when they
// have the same paths with the same contents; times, owners, hard links and all of the modes but the executable bit do not
// matter. It is the SHA-256 of a manifest: the line "pipsqueak tree 1", then one line for everything below dir, byte code and
// empty directories as well, sorted by path as bytes:
//
//	dir "<path>"
//	link "<path>" "<target>"
//	file "<path>" <size> <sha256 of its bytes>
//	exec "<path>" <size> <sha256 of its bytes>      a file with any executable bit
//
// Paths are relative, with slashes, and quoted as Go's %q does. A tree with anything else in it, or with a symbolic link that
// leads out of it other than to a package, has no digest.
func treeDigest(items []item) string {
	sum := sha256.New()
	sum.Write([]byte("pipsqueak tree 1\n"))
	for _, i := range items {
		sum.Write([]byte(i.line()))
	}
	return digestPrefix + hex.EncodeToString(sum.Sum(nil))
}

// scan returns everything in the tree, sorted by path. It calls visit with each item before it reads it, with its path, mode and
// size set. Errors are the caller's fault when they are about what the tree holds.
func scan(root *os.Root, visit func(item) error) ([]item, error) {
	s := scanner{root: root, visit: visit, buffer: make([]byte, 128<<10)}
	if err := s.directory("."); err != nil {
		return nil, err
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

type scanner struct {
	root   *os.Root
	visit  func(item) error
	items  []item
	bytes  int64
	buffer []byte
}

// directory scans what is in the directory. It reads all names before it visits the first, because visiting may replace files.
func (s *scanner) directory(name string) error {
	dir, err := s.root.Open(name)
	if err != nil {
		return s.fail(name, err)
	}
	entries, err := dir.ReadDir(maxTreeEntries + 1)
	dir.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return s.fail(name, err)
	}
	for _, entry := range entries {
		if err := s.entry(path.Join(name, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) entry(name string) error {
	if err := checkPath(name); err != nil {
		return err
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return s.fail(name, err)
	}
	i := item{path: name, mode: info.Mode()}
	if i.mode.IsRegular() {
		i.size = info.Size()
	}
	s.bytes += i.size
	if len(s.items) >= maxTreeEntries {
		return tooLargef("there are more than %d files and directories; leave some out", maxTreeEntries)
	}
	if s.bytes > maxTreeBytes {
		return tooLargef("the files have more than %d GiB together, counted up to %q; leave some out", maxTreeBytes>>30, name)
	}
	switch i.mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	default:
		return refusef("%q is a %s; only files, directories and symbolic links are allowed", name, typeName(i.mode))
	}
	if err := s.visit(i); err != nil {
		return err
	}
	switch i.mode.Type() {
	case 0:
		err = s.sum(&i)
	case fs.ModeSymlink:
		if i.target, err = s.root.Readlink(name); err != nil {
			err = s.fail(name, err)
		}
	}
	if err != nil {
		return err
	}
	s.items = append(s.items, i)
	if i.mode.IsDir() {
		return s.directory(name)
	}
	return nil
}

// sum reads a file for its digest.
func (s *scanner) sum(i *item) error {
	file, err := s.root.OpenFile(i.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return s.fail(i.path, err)
	}
	defer file.Close()
	sum := sha256.New()
	// One byte more than it had shows a file that somebody still writes to, without reading after it for ever.
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.LimitReader(file, i.size+1), s.buffer)
	if err != nil {
		return s.fail(i.path, err)
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

// leadsToPackage tells whether a link's target is in a package as a sandbox shows it. Installers and builds make such links, for
// languages whose packages find each other by them. A link that leads to one by way of such a link is refused as ever, for it
// can be followed only where the package is.
func leadsToPackage(target string) bool {
	rest, below := strings.CutPrefix(target, core.PackagesDir+"/")
	return below && rest != "" && path.Clean(target) == target && checkPath(rest) == nil
}

// checkPath refuses paths that are too long, or that no file can have. The path is clean and relative.
func checkPath(name string) error {
	if len(name) > maxPath {
		return refusef("the path %.80q… has %d bytes, more than the %d that are allowed; shorten it", name, len(name), maxPath)
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxPathElement {
			return refusef("the name %.80q… has %d bytes, more than the %d that a file system allows; shorten it",
				element, len(element), maxPathElement)
		}
	}
	if strings.Contains(name, "\x00") {
		return refusef("the path %q has a NUL byte in it", name)
	}
	return nil
}

// checkLink refuses a symbolic link that leads out of the tree, in words or by way of other links. It may lead to nothing.
func checkLink(root *os.Root, name, target string) error {
	if err := checkTarget(name, target); err != nil {
		return err
	}
	// Root follows links as the kernel would, and fails where one leaves it.
	if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return refusef("the symbolic link %q to %q leads in a circle or out of the directory; make it lead to a file inside", name, target)
	}
	return nil
}

// checkTarget is the part of checkLink that needs no file system.
func checkTarget(name, target string) error {
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return refusef("the symbolic link %q leads out of the directory, to %q; make it relative and lead to a file inside", name, target)
	}
	return nil
}
