package debian

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Many a program of a package, and many a library, has its usual name by a link that the package's postinst
// script has update-alternatives make. The script is not run. It is read: most calls are literal, or in a
// loop over literal words.

// alternative is one link that a script asks for: in the package's root, to a file there.
type alternative struct {
	link, path string
	priority   int
}

var (
	continued  = regexp.MustCompile(`\\\n\s*`)
	loop       = regexp.MustCompile(`\bfor\s+(\w+)\s+in\s+([^;\n]+)`)
	assignment = regexp.MustCompile(`(?m)^\s*(\w+)=["']?([^"'$` + "`" + `\s;]+)["']?\s*$`)
	installs   = regexp.MustCompile(`(?m)update-alternatives\s[^\n;&|]*`)
	variable   = regexp.MustCompile(`\$\{?(\w+)\}?`)
)

// alternatives returns the links that a script asks for, those of a higher priority first. What the script
// only knows when it runs is left out.
func alternatives(script string) (found []alternative) {
	script = continued.ReplaceAllString(script, " ")
	values := map[string][]string{}
	for _, m := range assignment.FindAllStringSubmatch(script, -1) {
		values[m[1]] = append(values[m[1]], m[2])
	}
	for _, m := range loop.FindAllStringSubmatch(script, -1) {
		values[m[1]] = append(values[m[1]], strings.Fields(m[2])...)
	}
	for _, call := range installs.FindAllString(script, -1) {
		for _, words := range expand(strings.Fields(call), values) {
			found = append(found, links(words)...)
		}
	}
	slices.SortStableFunc(found, func(a, b alternative) int { return b.priority - a.priority })
	return found
}

// expand returns the words with each value of the first variable in them, and so on; nothing when one has no
// known value.
func expand(words []string, values map[string][]string) (all [][]string) {
	m := variable.FindStringSubmatch(strings.Join(words, " "))
	if m == nil {
		return [][]string{words}
	}
	for _, value := range values[m[1]] {
		if strings.Contains(value, "$") || len(all) > 1000 {
			continue
		}
		given := slices.Clone(words)
		for i := range given {
			given[i] = strings.NewReplacer("${"+m[1]+"}", value).Replace(given[i])
			given[i] = regexp.MustCompile(`\$`+m[1]+`\b`).ReplaceAllLiteralString(given[i], value)
		}
		all = append(all, expand(given, values)...)
	}
	return all
}

// links reads the arguments of one call: --install LINK NAME PATH PRIORITY, and any number of --slave LINK
// NAME PATH.
func links(words []string) (found []alternative) {
	for i := range words {
		words[i] = strings.Trim(words[i], `"'`)
	}
	at := slices.Index(words, "--install")
	if at < 0 || len(words) < at+5 {
		return nil
	}
	priority, err := strconv.Atoi(words[at+4])
	if err != nil {
		return nil
	}
	found = []alternative{{words[at+1], words[at+3], priority}}
	for i, word := range words {
		if word == "--slave" && len(words) > i+3 {
			found = append(found, alternative{words[i+1], words[i+3], priority})
		}
	}
	return slices.DeleteFunc(found, func(a alternative) bool { return strings.ContainsAny(a.link+a.path, "$`*?") }) // for a shell to tell
}

// linkAlternatives makes the links that a package's script would make to what is in the package. What is
// there already stays.
func linkAlternatives(ctx context.Context, archive, dir string) error {
	said, err := exec.CommandContext(ctx, dpkgDeb, "--info", archive, "postinst").Output()
	if err != nil {
		return ctx.Err() // there is no script
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, a := range alternatives(string(said[:min(len(said), maxScript)])) {
		link, to := path.Clean("/" + a.link)[1:], path.Clean("/" + a.path)[1:]
		if _, err := root.Stat(to); err != nil {
			continue
		}
		relative, err := filepath.Rel("/"+path.Dir(link), "/"+to)
		if err != nil {
			return err
		}
		if err := errors.Join(root.MkdirAll(path.Dir(link), 0o755), root.Symlink(relative, link)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
