package scan

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// RuntimeOf returns the runtime whose scanner unpacks archives of that name: the one with the longest pattern
// that matches.
func RuntimeOf(name string, runtimes []core.Runtime) (found core.Runtime, ok bool) {
	longest := -1
	for _, r := range runtimes {
		for _, pattern := range r.Archives {
			if matches, err := path.Match(pattern, filepath.Base(name)); err == nil && matches && len(pattern) > longest {
				longest, found, ok = len(pattern), r, true
			}
		}
	}
	return found, ok
}

// Archives returns the archives that a target stands for, those that a scanner of the runtimes unpacks: all
// below a directory, as a mirror has them, the target itself when it is one, or what a file lists, one path a
// line, relative to the file. A list that names something else is the caller's mistake. A directory may have
// none.
func Archives(target string, runtimes []core.Runtime) ([]string, error) {
	info, err := os.Stat(target)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "what is to be scanned: %w", err)
	}
	if !info.IsDir() {
		if _, ok := RuntimeOf(target, runtimes); ok {
			return []string{target}, nil
		}
		return listed(target, runtimes)
	}
	var found []string
	target, err = filepath.EvalSymlinks(target) // a walk does not follow its root
	if err == nil {
		err = filepath.WalkDir(target, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if _, ok := RuntimeOf(name, runtimes); ok && isFile(name) {
				found = append(found, name)
			}
			return nil
		})
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "what is to be scanned: %w", err)
	}
	return found, nil
}

// isFile reports whether a name is that of a regular file, or of a link to one.
func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func listed(list string, runtimes []core.Runtime) ([]string, error) {
	refuse := func(number int, err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s line %d: %w; a list has the path of one archive a line, and this machine knows %s", list, number, err, patterns(runtimes))
	}
	file, err := os.Open(list)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "what is to be scanned: %w", err)
	}
	defer file.Close()
	var found []string
	number := 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		number++
		name := strings.TrimSpace(lines.Text())
		if name == "" || name[0] == '#' {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(list), name)
		}
		if _, ok := RuntimeOf(name, runtimes); !ok {
			return nil, refuse(number, errors.New("this is no archive"))
		}
		if !isFile(name) {
			return nil, refuse(number, errors.New("there is no such file"))
		}
		found = append(found, name)
	}
	if err := lines.Err(); err != nil {
		return nil, refuse(number+1, err)
	}
	return found, nil
}

func patterns(runtimes []core.Runtime) string {
	var all []string
	for _, r := range runtimes {
		all = append(all, r.Archives...)
	}
	return strings.Join(all, " ")
}
