package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The bounds of a path in a tree.
const (
	MaxPath    = 1024 // bytes
	MaxElement = 255  // bytes of one name in it
	maxDepth   = 100  // names
)

// leadsToPackage reports whether a link's target is in a package as a sandbox shows it. Installers and builds
// make such links, for languages whose packages find each other by them. A link that leads to one by way of
// such a link is refused as ever, for it can be followed only where the package is.
func leadsToPackage(target string) bool {
	rest, below := strings.CutPrefix(target, core.PackagesDir+"/")
	return below && rest != "" && path.Clean(target) == target && CheckPath(rest) == nil
}

// CheckPath refuses paths that are too long, and paths that no file can have. The path must be clean and
// relative.
func CheckPath(name string) error {
	if len(name) > MaxPath {
		return Refusef("the path %.80q… has %d bytes, more than the %d that are allowed; shorten it", name, len(name), MaxPath)
	}
	// The kernel walks a path element by element, so what a tree costs grows with its depth.
	if depth := strings.Count(name, "/") + 1; depth > maxDepth {
		return Refusef("the path %.80q… is %d directories deep, more than the %d that are allowed; make it flatter", name, depth, maxDepth)
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > MaxElement {
			return Refusef("the name %.80q… has %d bytes, more than the %d that a file system allows; shorten it",
				element, len(element), MaxElement)
		}
	}
	if strings.Contains(name, "\x00") {
		return Refusef("the path %q has a NUL byte in it", name)
	}
	return nil
}

// CheckLink refuses a symbolic link that leads out of the tree, by its text or by way of other links. The
// link may lead to nothing.
func CheckLink(root *os.Root, name, target string) error {
	if err := checkTarget(name, target); err != nil {
		return err
	}
	// Root follows links as the kernel would, and fails where one leaves it.
	if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Refusef("the symbolic link %q to %q leads in a circle or out of the directory; make it lead to a file inside", name, target)
	}
	return nil
}

// checkTarget is the part of CheckLink that needs no file system.
func checkTarget(name, target string) error {
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return Refusef("the symbolic link %q leads out of the directory, to %q; make it relative and lead to a file inside, "+
			"or pack what it leads to (tar --dereference)", name, target)
	}
	return nil
}
