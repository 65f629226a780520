package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

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
	maxDepth       = 100  // names in a path
)

// The modes that things have in the store.
const (
	fileMode       fs.FileMode = 0o644
	executableMode fs.FileMode = 0o755
	directoryMode  fs.FileMode = 0o755
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

// storedMode is the mode that the item has in the store.
func (i item) storedMode() fs.FileMode {
	switch {
	case i.mode.IsDir():
		return directoryMode
	case i.executable():
		return executableMode
	default:
		return fileMode
	}
}

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

// digestOf returns the digest of the tree of files that has this manifest, as "sha256:<hex>". Two trees have the same digest exactly when they
// have the same paths with the same contents; times, owners, hard links and all of the modes but the executable bit do not
// matter. It is the SHA-256 of the manifest: the line "pipsqueak tree 1", then one line for everything below dir, byte code and
// empty directories as well, sorted by path as bytes:
//
//	dir "<path>"
//	link "<path>" "<target>"
//	file "<path>" <size> <sha256 of its bytes>
//	exec "<path>" <size> <sha256 of its bytes>      a file with any executable bit
//
// Paths are relative, with slashes, and quoted as Go's %q does. A tree with anything else in it, or with a symbolic link that
// leads out of it other than to a package, has no digest.
func digestOf(manifest []byte) string {
	return fmt.Sprintf("%s%x", digestPrefix, sha256.Sum256(manifest))
}

const manifestHead = "pipsqueak tree 1\n"

// manifest returns what the digest of a tree is the SHA-256 of. It is kept beside the tree, proves itself by the tree's name,
// and each file can be checked alone against it.
func manifest(items []item) []byte {
	text := bytes.NewBufferString(manifestHead)
	for _, i := range items {
		text.WriteString(i.line())
	}
	return text.Bytes()
}

// readManifest is the reverse of manifest, for a text that has proved itself: it is as manifest has written it.
func readManifest(text []byte) ([]item, error) {
	lines, found := strings.CutPrefix(string(text), manifestHead)
	if !found {
		return nil, errors.New("it does not begin as a manifest")
	}
	var items []item
	for line := range strings.Lines(lines) {
		i, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("the line %q: %w", line, err)
		}
		items = append(items, i)
	}
	return items, nil
}

func readLine(line string) (i item, err error) {
	word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return i, err
	}
	if i.path, err = strconv.Unquote(quoted); err != nil {
		return i, err
	}
	rest = strings.TrimPrefix(rest[len(quoted):], " ")
	switch word {
	case "dir":
		i.mode = fs.ModeDir | directoryMode
	case "link":
		i.mode = fs.ModeSymlink
		i.target, err = strconv.Unquote(rest)
	case "file", "exec":
		if i.mode = fileMode; word == "exec" {
			i.mode = executableMode
		}
		size, sum, _ := strings.Cut(rest, " ")
		if !isHex(sum) {
			return i, errors.New("it has no digest")
		}
		if _, err = hex.Decode(i.sha256[:], []byte(sum)); err == nil {
			i.size, err = strconv.ParseInt(size, 10, 64)
		}
	default:
		err = errors.New("it begins with no word of a manifest")
	}
	return i, err
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
	// The kernel walks a path element by element, so what a tree costs grows with its depth.
	if depth := strings.Count(name, "/") + 1; depth > maxDepth {
		return refusef("the path %.80q… is %d directories deep, more than the %d that are allowed; make it flatter", name, depth, maxDepth)
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
		return refusef("the symbolic link %q leads out of the directory, to %q; make it relative and lead to a file inside, "+
			"or pack what it leads to (tar --dereference)", name, target)
	}
	return nil
}
