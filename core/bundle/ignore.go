package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// IgnoreFile is the name of the optional file that lists the files of a function's directory that are not
// part of the function. It has the syntax of .gitignore. Only the one in the directory itself is read, none
// below it.
const IgnoreFile = ".pipsqueakignore"

// maxIgnore is the size of the largest IgnoreFile, in bytes.
const maxIgnore = 64 << 10

// ofDesktops are files that desktops write beside the files of others.
var ofDesktops = []string{".DS_Store", "._*", "__MACOSX/", "Thumbs.db", "desktop.ini"}

// desktop matches what ofDesktops has.
var desktop = gitignore.NewMatcher(parsed(ofDesktops))

// ignored is what is never part of a function unless its IgnoreFile takes it back: files with secrets, what
// desktops and editors write beside the files of others, and what tools keep for themselves.
var ignored = append([]string{
	".env", ".env.*",
	".git", ".hg/", ".svn/", ".bzr/", ".idea/", ".vscode/", "*.swp", "*~",
	"__pycache__/", ".venv", "venv/", ".tox/", ".nox/", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".aws-sam/", ".serverless/",
	".bundle/", "CMakeFiles/", "CMakeCache.txt",
}, ofDesktops...)

// usual matches what ignored has.
var usual = gitignore.NewMatcher(parsed(ignored))

// made is directories that a tool makes of a file beside them. They are no part of a function either, for a
// deploy does what the tool does.
var made = []struct {
	path string   // its end
	mark string   // instead: a file that is in such a directory, whatever it is called
	of   []string // the file beside it, by any of these names
}{
	{path: "node_modules", of: []string{"package.json", "package-lock.json", "pnpm-lock.yaml"}},
	{path: "vendor/bundle", of: []string{"Gemfile"}},
	{mark: "CMakeCache.txt", of: []string{"CMakeLists.txt"}},
}

// madeOf returns the name of the file from which a tool has made a directory beside it, "" when there is
// none. Everything inside belongs to it.
func madeOf(dir fs.FS, name string, directory bool) string {
	has := func(elements ...string) bool {
		_, err := fs.Stat(dir, path.Join(elements...))
		return err == nil
	}
	for _, m := range made {
		above := path.Dir(name)
		if m.path != "" {
			begin, is := strings.CutSuffix("/"+name, "/"+m.path)
			if !is || strings.Contains(begin+"/", "/"+m.path+"/") {
				continue
			}
			above = "." + begin
		} else if !directory || !has(name, m.mark) {
			continue
		}
		for _, file := range m.of {
			if has(above, file) {
				return file
			}
		}
	}
	return ""
}

func parsed(lines []string) []gitignore.Pattern {
	patterns := make([]gitignore.Pattern, 0, len(lines))
	for _, line := range lines {
		patterns = append(patterns, gitignore.ParsePattern(line, nil))
	}
	return patterns
}

// Ignore knows which files of a function's directory are not part of the function.
type Ignore struct {
	dir fs.FS
	own []gitignore.Pattern // of its IgnoreFile
}

// LoadIgnore reads the IgnoreFile of a function's directory; the file may be missing. The caller is at fault
// for its errors.
func LoadIgnore(dir fs.FS) (Ignore, error) {
	file, err := dir.Open(IgnoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Ignore{dir: dir}, nil
	}
	if err != nil {
		return Ignore{}, files.Refusef("%s cannot be read: %w", IgnoreFile, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxIgnore+1))
	switch {
	case err != nil:
		return Ignore{}, files.Refusef("%s cannot be read: %w", IgnoreFile, err)
	case len(text) > maxIgnore:
		return Ignore{}, files.TooLargef("%s has more than %d KiB; name directories instead of files", IgnoreFile, maxIgnore>>10)
	}
	var own []string
	lines := bufio.NewScanner(bytes.NewReader(decoded(text)))
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line != "" && !strings.HasPrefix(line, "#") {
			own = append(own, line)
		}
	}
	if err := lines.Err(); err != nil {
		return Ignore{}, files.Refusef("%s has a line that is too long: %w", IgnoreFile, err)
	}
	return Ignore{dir, parsed(own)}, nil
}

// Match reports whether a file, or a directory with everything in it, is not part of the function. The name
// is relative to the function's directory, with slashes. The two files that describe a function are always
// part of it.
func (i Ignore) Match(name string, directory bool) bool {
	if name == SettingsFile || name == IgnoreFile {
		return false
	}
	elements := strings.Split(name, "/")
	for _, pattern := range slices.Backward(i.own) {
		if found := pattern.Match(elements, directory); found != gitignore.NoMatch {
			return found == gitignore.Exclude
		}
	}
	return usual.Match(elements, directory) || madeOf(i.dir, name, directory) != ""
}

// LeftOut returns a sentence for each directory at the top of the function's that is left out, and that
// somebody might have wanted in the function: why it is left out, and what to do.
func (i Ignore) LeftOut() (told []string) {
	for name, directory := range top(i.dir) {
		of := madeOf(i.dir, name, directory)
		if of != "" && i.Match(name, directory) {
			told = append(told, fmt.Sprintf("left out %s: a deploy makes it again from %s; '!%s' in %s deploys it as the function's own code", name, of, name, IgnoreFile))
		}
	}
	return told
}

// installed matches the directories, at the top of a function's, in which tools of languages install
// packages, by the file that names packages to them.
var installed = map[string]gitignore.Matcher{
	"package.json":     gitignore.NewMatcher(parsed([]string{"node_modules"})),
	"Gemfile":          gitignore.NewMatcher(parsed([]string{"/vendor/bundle"})),
	"requirements.txt": gitignore.NewMatcher(parsed([]string{"site-packages/", "*.dist-info/"})),
}

// OwnCode returns sentences about packages that lie in a function's directory as code of its own: what that
// means, and what to do. It says nothing of packages beside a file that lists them: the IgnoreFile took these
// back, so somebody wants them.
func OwnCode(dir fs.FS) (told []string) {
	for _, file := range slices.Sorted(maps.Keys(installed)) {
		var found []string
		for name, directory := range top(dir) {
			if installed[file].Match(strings.Split(name, "/"), directory) && madeOf(dir, name, directory) == "" {
				found = append(found, name)
			}
		}
		if more := len(found) - 3; more > 1 {
			found = append(found[:3], fmt.Sprintf("… and %d more", more))
		}
		if len(found) > 0 {
			told = append(told, fmt.Sprintf("%s: packages that a function brings along are code of its own, so none is locked, listed, shared or in a zygote; "+
				"name them in %s instead", strings.Join(found, ", "), file))
		}
	}
	return told
}

// Brought returns the directories at the top of a function's that tools make from a file, and that are part
// of the function all the same. A directory of nothing but links does not count: drivers make such.
func Brought(dir fs.FS) (names []string) {
	for _, m := range made {
		if m.path != "" && filled(dir, m.path) {
			names = append(names, m.path)
		}
	}
	return names
}

// filled reports whether a directory has anything but links, and directories of them for a scope.
func filled(dir fs.FS, name string) bool {
	entries, _ := fs.ReadDir(dir, name) // nothing when it is none
	return slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		switch {
		case strings.HasPrefix(entry.Name(), ".") || entry.Type()&fs.ModeSymlink != 0:
			return false
		case strings.HasPrefix(entry.Name(), "@"):
			return filled(dir, path.Join(name, entry.Name()))
		}
		return true
	})
}

// top yields what is in a directory, and in one that is called vendor, and whether each is a directory.
func top(dir fs.FS) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for _, above := range []string{".", "vendor"} {
			entries, _ := fs.ReadDir(dir, above) // packing or unpacking reports a directory that cannot be read
			for _, entry := range entries {
				if !yield(path.Join(above, entry.Name()), entry.IsDir()) {
					return
				}
			}
		}
	}
}

// leaveOut removes from an unpacked archive what is not part of the function. It returns what a person should
// know of that.
func leaveOut(dir string) (told []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	defer root.Close()
	tree := root.FS()
	ignore, err := LoadIgnore(tree)
	if err != nil {
		return nil, err
	}
	told = ignore.LeftOut()
	var out []string
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." || !ignore.Match(name, entry.IsDir()) {
			return err
		}
		out = append(out, name)
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	for _, name := range out {
		if err == nil {
			err = root.RemoveAll(name)
		}
	}
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	return told, nil
}
