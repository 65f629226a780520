package learn

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// locks are the files of locks that are understood.
var locks = map[string]func(text []byte) (sample, error){"package-lock.json": readPackageLock, "Gemfile.lock": readGemfileLock,
	"uv.lock": readUVLock, "poetry.lock": readPoetryLock}

// readPackageLock reads a lock of npm, in the form that it has since npm 7.
func readPackageLock(text []byte) (sample, error) {
	var lock struct {
		Version  int `json:"lockfileVersion"`
		Packages map[string]packageJSON
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return sample{}, err
	}
	if lock.Version < 2 {
		return sample{}, fmt.Errorf("lockfileVersion: %d is of an npm before 7: have npm write it again", lock.Version)
	}
	delete(lock.Packages, "") // the project
	return nodeSample(lock.Packages, nil), nil
}

// nodeSample are packages by their places, such as node_modules/a/node_modules/b.
func nodeSample(entries map[string]packageJSON, files map[string][]file) sample {
	s := sample{language: "node"}
	order := slices.Sorted(maps.Keys(entries))
	places := map[string]int{}
	for i, place := range order {
		places[place] = i
	}
	for _, place := range order {
		one := entries[place]
		_, name, _ := cutLast(place, "node_modules/")
		f := found{name: name, version: one.Version, files: files[place], builds: one.IsBuilt}
		for _, wanted := range slices.Sorted(maps.Keys(one.Requires)) {
			f.requires = append(f.requires, requirement{resolved(places, place, wanted), npmKind(one.Requires[wanted])})
		}
		s.all = append(s.all, f)
	}
	return s
}

// resolved is the place of the package that Node.js finds by a name, from a place on upwards.
func resolved(places map[string]int, from, name string) int {
	for {
		prefix := from + "/"
		if from == "" {
			prefix = ""
		}
		if i, there := places[prefix+"node_modules/"+name]; there {
			return i
		}
		if from == "" {
			return -1
		}
		above, _, _ := cutLast(from, "node_modules/")
		from = strings.TrimSuffix(above, "/")
	}
}

// cutLast cuts a text at the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return "", text, false
}

var npmExact = regexp.MustCompile(`^=?v?\d+\.\d+\.\d+([-+][\w.+-]*)?$`)

// npmKind is the kind of a range such as ^1.2.0.
func npmKind(wanted string) string {
	switch wanted = strings.TrimSpace(wanted); {
	case wanted == "" || wanted == "*" || wanted == "x" || wanted == "latest":
		return anyVersion
	case npmExact.MatchString(wanted):
		return exact
	case strings.HasPrefix(wanted, ">") && !strings.Contains(wanted, "<") && !strings.Contains(wanted, "||"):
		return atLeast
	}
	return compatible
}

var (
	lockedGem   = regexp.MustCompile(`^    (\S+) \(([^)]+)\)$`)
	requiredGem = regexp.MustCompile(`^      (\S+?)!?(?: \(([^)]+)\))?$`)
)

// readGemfileLock reads a lock of Bundler.
func readGemfileLock(text []byte) (sample, error) {
	s := sample{language: "ruby"}
	var wanted [][]named
	inside := false // of the gems of an index, or of another source
	for i, line := range strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") {
		switch gem, required := lockedGem.FindStringSubmatch(line), requiredGem.FindStringSubmatch(line); {
		case line != "" && line[0] != ' ':
			inside = false
		case line == "  specs:":
			inside = true
		case !inside || line == "":
		case gem != nil:
			version, _, _ := strings.Cut(gem[2], "-") // of a platform
			s.all, wanted = append(s.all, found{name: gem[1], version: version}), append(wanted, nil)
		case required != nil && len(s.all) > 0:
			last := len(wanted) - 1
			wanted[last] = append(wanted[last], named{required[1], gemKind(required[2])})
		default:
			return s, fmt.Errorf("line %d: specs: %q is neither a gem nor what one requires", i+1, line)
		}
	}
	if len(s.all) == 0 {
		return s, errors.New("specs: there are no gems")
	}
	s.numbered(wanted, false)
	return s, nil
}
