package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// binariesVariable lists further node binaries, separated by colons, which come before those that are found.
const binariesVariable = "PIPSQUEAK_NODE"

const oldest = 20 // major version: before it, V8's heap cannot be prepared for a fork the way it is here

// nodejs is a node on this machine.
type nodejs struct {
	Executable string `json:"executable"`
	Version    string `json:"version"` // "20.20.2"
	Major      int    `json:"-"`
	npm        string // the directory of its npm, else of another's; empty when there is none
}

// candidates returns possible paths of a node, the preferred ones first. Version managers keep theirs in the
// home of their user.
func candidates() []string {
	paths := filepath.SplitList(os.Getenv(binariesVariable))
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/usr/local/bin") {
		paths = append(paths, filepath.Join(dir, "node"))
	}
	return append(paths, interpreter.Glob(
		[]string{"/usr/local/node*/bin/node", "/opt/node*/bin/node", "/usr/local/n/versions/node/*/bin/node"},
		[]string{".nvm/versions/node/*/bin/node", "n/n/versions/node/*/bin/node", ".fnm/node-versions/*/installation/bin/node",
			".local/share/fnm/node-versions/*/installation/bin/node", ".volta/tools/image/node/*/bin/node", ".asdf/installs/nodejs/*/bin/node"})...)
}

// find returns the usable binaries, one for each major version, and the faults of the others that somebody
// named.
func find(ctx context.Context) (found []nodejs, problems []string) {
	named := filepath.SplitList(os.Getenv(binariesVariable))
	seen := map[string]bool{}
	anyNPM := ""
	for _, path := range candidates() {
		real, err := filepath.EvalSymlinks(path)
		switch {
		case err != nil && slices.Contains(named, path):
			problems = append(problems, fmt.Sprintf("%s, named in %s: %v", path, binariesVariable, err))
			continue
		case err != nil || seen[real]:
			continue
		}
		seen[real] = true
		b, err := inspect(ctx, real)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		b.npm = npmOf(real)
		anyNPM = cmp.Or(anyNPM, b.npm)
		if i := slices.IndexFunc(found, func(f nodejs) bool { return f.Major == b.Major }); i >= 0 {
			problems = append(problems, fmt.Sprintf("%s is a second node%d and not used: %s comes first", path, b.Major, found[i].Executable))
			continue
		}
		found = append(found, b)
	}
	for i := range found {
		found[i].npm = cmp.Or(found[i].npm, anyNPM)
	}
	return found, problems
}

// npmOf returns the directory of the npm that came with a node, or nothing.
func npmOf(executable string) string {
	prefix := filepath.Dir(filepath.Dir(executable))
	for _, dir := range []string{"lib/node_modules/npm", "share/nodejs/npm"} {
		npm := filepath.Join(prefix, dir)
		if interpreter.Exists(filepath.Join(npm, "bin/npm-cli.js")) {
			return npm
		}
	}
	return ""
}

// npmVersion returns nothing when it does not say.
func npmVersion(dir string) string {
	var npm struct {
		Version string `json:"version"`
	}
	if text, err := os.ReadFile(filepath.Join(dir, "package.json")); err != nil || json.Unmarshal(text, &npm) != nil {
		return ""
	}
	return npm.Version
}

const oldestNPM = 8 // major version: before it, npm's libraries cannot be used from outside

// withoutNPM says why there is no npm that can be used, "" when there is one.
func (b nodejs) withoutNPM() string {
	if b.npm == "" {
		return " has no npm beside it"
	}
	version := npmVersion(b.npm)
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldestNPM {
		return fmt.Sprintf(" has npm %s beside it, which is older than npm %d", version, oldestNPM)
	}
	return ""
}

const question = `console.log(JSON.stringify({ executable: process.execPath, version: process.versions.node }))`

func inspect(ctx context.Context, path string) (nodejs, error) {
	var b nodejs
	err := interpreter.Ask(ctx, &b, path, "-e", question)
	if errors.Is(err, interpreter.ErrNoAnswer) {
		return b, fmt.Errorf("it is not Node.js: %w", err)
	}
	if err != nil {
		return b, err
	}
	major, _, _ := strings.Cut(b.Version, ".")
	if b.Major, err = strconv.Atoi(major); err != nil {
		return b, fmt.Errorf("it has no version: %w", err)
	}
	if b.Major < oldest {
		return b, fmt.Errorf("it is Node.js %s; %d or later is needed: install one, or name one in %s", b.Version, oldest, binariesVariable)
	}
	return b, nil
}

// prefix is where the binary is installed.
func (b nodejs) prefix() string { return filepath.Dir(filepath.Dir(b.Executable)) }
