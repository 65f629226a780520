package functions

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// drawn are packages of each language, without archives.
func drawn(t *testing.T, count int) (catalogs []*packages.Catalog) {
	t.Helper()
	for _, language := range profile.Languages {
		p, err := profile.Shipped(language)
		coretest.Must(t, err)
		all, err := packages.Draw(p, count, 1)
		coretest.Must(t, err)
		catalogs = append(catalogs, &packages.Catalog{Language: language, Packages: all})
	}
	return catalogs
}

// TestDraw looks at many functions: how many packages they require is as the profile says, popular ones are
// required more often, and functions of one number are alike.
func TestDraw(t *testing.T) {
	catalogs := drawn(t, 600)
	const count = 400
	set, err := Draw(catalogs, count, 1)
	coretest.Must(t, err)
	if len(set.Functions) != 4*count {
		t.Fatalf("%d functions", len(set.Functions))
	}
	for n, c := range catalogs {
		p, err := profile.Shipped(c.Language)
		coretest.Must(t, err)
		var requires []int
		imported, old, uses := 0, 0, map[string]int{}
		for _, f := range set.Functions[n*count : (n+1)*count] {
			requires = append(requires, len(f.Packages))
			for _, one := range f.Packages {
				uses[one.Name]++
				if one.Imported {
					imported++
				}
				place := slices.IndexFunc(c.Packages, func(p packages.Package) bool { return p.Name == one.Name })
				if c.Packages[place].Latest().Number != one.Version {
					old++
				}
			}
			if f.Closure < len(f.Packages) || f.Import < 0 {
				t.Errorf("%s: %d packages are installed for %d", f.Name, f.Closure, len(f.Packages))
			}
		}
		slices.Sort(requires)
		if median := requires[count/2]; median < 4 || median > 6 {
			t.Errorf("%s: a function requires %d packages at the median, want about 5", c.Language, median)
		}
		if p90 := requires[count*9/10]; p90 < 17 || p90 > 33 {
			t.Errorf("%s: a function in ten requires %d packages, want about 25", c.Language, p90)
		}
		total := 0
		for _, n := range requires {
			total += n
		}
		if share, want := float64(imported)/float64(total), p.Functions.Imported.Value; share < want-0.05 || share > want+0.05 {
			t.Errorf("%s: %.2f of the packages are imported, want %.2f", c.Language, share, want)
		}
		if first, last := c.Packages[newDrawer(c, p).ranks[0]], c.Packages[newDrawer(c, p).ranks[599]]; c.Language != "native" && uses[first.Name] < 5*uses[last.Name]+5 {
			t.Errorf("%s: the most popular package is used %d times, and the least %d", c.Language, uses[first.Name], uses[last.Name])
		}
		if (old == 0) != (c.Language == "native") {
			t.Errorf("%s: %d requirements are not of the newest version", c.Language, old)
		}
	}
	alike := 0
	for i := range count {
		if len(set.Functions[i].Packages) == len(set.Functions[count+i].Packages) {
			alike++
		}
	}
	if alike < count*9/10 {
		t.Errorf("%d of %d functions require as many packages in Python as in Node.js", alike, count)
	}
	again, err := Draw(catalogs, count, 1)
	coretest.Must(t, err)
	other, err := Draw(catalogs, count, 2)
	coretest.Must(t, err)
	same := func(a, b Function) bool { return maps.Equal(a.files(), b.files()) }
	if !slices.EqualFunc(set.Functions, again.Functions, same) || slices.EqualFunc(set.Functions, other.Functions, same) {
		t.Error("the functions do not follow from the seed")
	}
}

// TestAnswers runs a function without packages in each language by its main program, and checks its answers
// and what it spends.
func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	for language, command := range map[string]string{
		"python": "python3 main.py",
		"node":   "node main.js",
		"ruby":   "ruby main.rb",
		"native": "cc -Wall -Wextra -Werror main.c -o main && ./main",
	} {
		name, _, _ := strings.Cut(command, " ")
		_, err := exec.LookPath(name)
		coretest.Requires(t, coretest.Found(name, err == nil))
		f := Function{Name: "pb-" + language, Language: language}
		for name, text := range f.files() {
			coretest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
		run := exec.Command("sh", "-c", command)
		run.Dir, run.Stdin = dir, strings.NewReader(`{"nonce":"a1B2","cpu_ms":300,"wait_ms":1,"memory":1000000}`)
		out, err := run.Output()
		if err != nil {
			t.Fatalf("%s: %v", language, err)
		}
		if err := f.Check("a1B2", out); err != nil {
			t.Error(err)
		}
		if spent := run.ProcessState.UserTime().Seconds() + run.ProcessState.SystemTime().Seconds(); spent < 0.3 {
			t.Errorf("%s: the event has taken %.3f s of the processor, not 0.3", language, spent)
		}
		for nonce, result := range map[string]string{"a1B3": string(out), "a1B2": `{"function": "x"}`, "": "<html>"} {
			if err := f.Check(nonce, []byte(result)); err == nil || !strings.Contains(err.Error(), f.Name+" has to answer") {
				t.Errorf("%s to %q is %v", result, nonce, err)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "functions", "functions.json")
	coretest.Must(t, os.Mkdir(filepath.Dir(path), 0o755))
	for text, want := range map[string]string{
		"":                                  "`pipbench functions ",
		"{]":                                "functions.json: invalid character",
		`{"functions": []}`:                 "functions.json: functions: there are none",
		`{"functions": [{"name": "../x"}]}`: `functions[0]: name: "../x" is no name`,
		`{"functions": [{"name": "x", "language": "perl"}]}`:                                    `functions[0]: language: "perl" is not one of python`,
		`{"functions": [{"name": "x", "language": "node"}, {"name": "x", "language": "node"}]}`: "functions[1]: name: x is there already",
		`{"functions": [{"name": "x", "language": "node", "packages": [{"name": 5}]}]}`:         "functions.packages.name",
	} {
		if text != "" {
			coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		_ = os.Remove(path)
	}
}
