// Package files knows trees of files: which entries a tree may have, the list of them, and the digest of that
// list, by which the store and signatures name the tree. It seals trees, writes them to the disk for good,
// and compares them with their lists.
//
// Mutex order: that of a walker and that of Verify are taken alone, and no file is read under them.
package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// DigestPrefix begins each digest of a tree; 64 hex digits follow it.
const DigestPrefix = "sha256:"

// Hex returns the hex digits of a digest. It returns false when the text is no digest; such a text must not
// become a part of a path.
func Hex(digest string) (digits string, ok bool) {
	digits, ok = strings.CutPrefix(digest, DigestPrefix)
	return digits, ok && IsHex(digits)
}

// IsHex reports whether a text is the hex digits of a digest.
func IsHex(s string) bool {
	decoded, err := hex.DecodeString(s)
	return err == nil && len(decoded) == sha256.Size && s == strings.ToLower(s)
}

// The modes that things have in a sealed tree.
const (
	FileMode       fs.FileMode = 0o644
	executableMode fs.FileMode = 0o755
	DirectoryMode  fs.FileMode = 0o755
)

// Item is one file, directory or symbolic link of a tree.
type Item struct {
	Path   string // relative to the tree, with slashes
	Mode   fs.FileMode
	Size   int64
	SHA256 [sha256.Size]byte // of a file's bytes
	Target string            // of a symbolic link
}

// executable is the one bit of a file's mode that counts: whether anybody may execute it.
func (i Item) executable() bool { return i.Mode.Perm()&0o111 != 0 }

// line is the item's line in the text of a list.
func (i Item) line() string {
	switch {
	case i.Mode.IsDir():
		return fmt.Sprintf("dir %q\n", i.Path)
	case i.Mode.Type() == fs.ModeSymlink:
		return fmt.Sprintf("link %q %q\n", i.Path, i.Target)
	case i.executable():
		return fmt.Sprintf("exec %q %d %x\n", i.Path, i.Size, i.SHA256)
	default:
		return fmt.Sprintf("file %q %d %x\n", i.Path, i.Size, i.SHA256)
	}
}

// List is everything in a tree, sorted by path.
type List []Item

// Bytes returns the size of all files together.
func (l List) Bytes() (n int64) {
	for _, i := range l {
		n += i.Size
	}
	return n
}

// Files returns the number of files.
func (l List) Files() (n int) {
	for _, i := range l {
		if i.Mode.IsRegular() {
			n++
		}
	}
	return n
}

const listHead = "pipsqueak tree 1\n"

// Text returns the list as text, and the digest of the tree, "sha256:<hex>", which is the SHA-256 of that
// text. Two trees have the same digest exactly when they have the same paths with the same contents; times,
// owners, hard links and all of the modes but the executable bit do not matter. The text is the line
// "pipsqueak tree 1", then one line for everything in the tree, byte code and empty directories as well,
// sorted by path as bytes:
//
//	dir "<path>"
//	link "<path>" "<target>"
//	file "<path>" <size> <sha256 of its bytes>
//	exec "<path>" <size> <sha256 of its bytes>      a file with any executable bit
//
// Paths are relative, with slashes, and quoted as Go's %q does. A tree with anything else in it, or with a
// symbolic link that leads out of it other than to a package, has no digest. The text is kept beside the
// tree: the tree's name proves the text, and the text proves each file alone.
func (l List) Text() (text []byte, digest string) {
	b := bytes.NewBufferString(listHead)
	for _, i := range l {
		b.WriteString(i.line())
	}
	return b.Bytes(), digestOf(b.Bytes())
}

func digestOf(text []byte) string {
	return fmt.Sprintf("%s%x", DigestPrefix, sha256.Sum256(text))
}

// Digest returns the digest of the tree in a directory as it is now.
func Digest(root *os.Root) (string, error) {
	list, err := Read(root)
	if err != nil {
		return "", err
	}
	_, digest := list.Text()
	return digest, nil
}

// ParseList reads the text of a list. It returns an error when the text does not have this digest.
func ParseList(text []byte, digest string) (List, error) {
	if digestOf(text) != digest {
		return nil, errors.New("it is the list of another tree, or damaged")
	}
	return parseList(text)
}

func parseList(text []byte) (List, error) {
	lines, found := strings.CutPrefix(string(text), listHead)
	if !found {
		return nil, errors.New("it does not begin as a list")
	}
	var list List
	for line := range strings.Lines(lines) {
		i, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("the line %q: %w", line, err)
		}
		list = append(list, i)
	}
	return list, nil
}

func readLine(line string) (i Item, err error) {
	word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return i, err
	}
	if i.Path, err = strconv.Unquote(quoted); err != nil {
		return i, err
	}
	rest = strings.TrimPrefix(rest[len(quoted):], " ")
	switch word {
	case "dir":
		i.Mode = fs.ModeDir | DirectoryMode
	case "link":
		i.Mode = fs.ModeSymlink
		i.Target, err = strconv.Unquote(rest)
	case "file", "exec":
		if i.Mode = FileMode; word == "exec" {
			i.Mode = executableMode
		}
		size, sum, _ := strings.Cut(rest, " ")
		if !IsHex(sum) {
			return i, errors.New("it has no digest")
		}
		if _, err = hex.Decode(i.SHA256[:], []byte(sum)); err == nil {
			i.Size, err = strconv.ParseInt(size, 10, 64)
		}
	default:
		err = errors.New("it begins with no word of a list")
	}
	return i, err
}
