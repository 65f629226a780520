package store

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// IgnoreFile is the name of the optional file that says which files of a function's directory are not part of the function. It has the
// syntax of .gitignore. There is one, in the directory itself; those below it are not read.
const IgnoreFile = ".pipsqueakignore"

// maxIgnore is the size of the largest IgnoreFile, in bytes.
const maxIgnore = 64 << 10

// ofDesktops is what desktops write beside the files of others.
var ofDesktops = []string{".DS_Store", "._*", "__MACOSX/", "Thumbs.db", "desktop.ini"}

// desktop matches what ofDesktops has.
var desktop = gitignore.NewMatcher(parsed(ofDesktops))

// ignored is what is never part of a function unless its IgnoreFile takes it back: files with secrets, what desktops and editors write beside
// the files of others, and what tools keep for themselves.
var ignored = append([]string{
	".env", ".env.*",
	".git", ".hg/", ".svn/", ".bzr/", ".idea/", ".vscode/", "*.swp", "*~",
	"__pycache__/", ".venv", "venv/", ".tox/", ".nox/", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".aws-sam/", ".serverless/",
}, ofDesktops...)

func parsed(lines []string) []gitignore.Pattern {
	patterns := make([]gitignore.Pattern, 0, len(lines))
	for _, line := range lines {
		patterns = append(patterns, gitignore.ParsePattern(line, nil))
	}
	return patterns
}

// Ignore tells which files of a function's directory are not part of the function.
type Ignore struct{ matcher gitignore.Matcher }

// LoadIgnore reads the IgnoreFile of a function's directory, which may be missing. Its errors are the caller's.
func LoadIgnore(dir fs.FS) (Ignore, error) {
	patterns := parsed(ignored)
	file, err := dir.Open(IgnoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Ignore{gitignore.NewMatcher(patterns)}, nil
	}
	if err != nil {
		return Ignore{}, refusef("%s cannot be read: %w", IgnoreFile, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxIgnore+1))
	switch {
	case err != nil:
		return Ignore{}, refusef("%s cannot be read: %w", IgnoreFile, err)
	case len(text) > maxIgnore:
		return Ignore{}, tooLargef("%s has more than %d KiB; name directories instead of files", IgnoreFile, maxIgnore>>10)
	}
	lines := bufio.NewScanner(bytes.NewReader(decoded(text)))
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, nil))
		}
	}
	if err := lines.Err(); err != nil {
		return Ignore{}, refusef("%s has a line that is too long: %w", IgnoreFile, err)
	}
	return Ignore{gitignore.NewMatcher(patterns)}, nil
}

// Match says whether a file, or a directory with all that is in it, is not part of the function. The name is relative to the
// function's directory, with slashes. The two files that say what a function is always are part of it.
func (i Ignore) Match(name string, directory bool) bool {
	return name != ManifestFile && name != IgnoreFile && i.matcher.Match(strings.Split(name, "/"), directory)
}

// leaveOut removes from an unpacked archive what is not part of the function.
func leaveOut(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return diskError(dir, err)
	}
	defer root.Close()
	tree := root.FS()
	ignore, err := LoadIgnore(tree)
	if err != nil {
		return err
	}
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
		return diskError(dir, err)
	}
	return nil
}
