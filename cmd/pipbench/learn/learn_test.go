package learn

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// tree writes files, and returns their directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		coretest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// Three packages in each language: a requires b and c, c requires b, and b nothing. In a directory they have
// 4, 1 and 2 files.
var directories = map[string]map[string]string{
	"python": {
		"A_a-1.0.dist-info/METADATA": "Metadata-Version: 2.1\r\nName: A.a\r\nVersion: 1.0\r\nRequires-Dist: B (>=1.0,<2)\r\nRequires-Dist: c~=1.1 ; python_version > '3'\r\n" +
			"Requires-Dist: elsewhere ; sys_platform == 'win32'\r\nRequires-Dist: b==9 ; extra == 'x'\r\n\r\nRequires-Dist: none\r\n",
		"A_a-1.0.dist-info/RECORD":  "A_a-1.0.dist-info/RECORD,,\na/__init__.py,sha256=x,10\na/x.so,sha256=x,1000\na/sub/y.py,sha256=x,20\na/sub/z.py,sha256=x,30\na/x.pyc,,5\n../../bin/a,sha256=x,7\n",
		"b-1.0.dist-info/METADATA":  "Name: b\nVersion: 1.0\n",
		"b-1.0.dist-info/RECORD":    "b.py,sha256=x,100\n",
		"c-1.1.dist-info/METADATA":  "Name: c\nVersion: 1.1\nRequires-Dist: b >=0.5\n",
		"c-1.1.dist-info/RECORD":    "c/__init__.py,sha256=x,50\nc/d.py,sha256=x,50\n",
		"d-1.0.egg-info/PKG-INFO":   "Name: d\n",
		"c/ignored-by-its-RECORD":   "",
		"elsewhere/__init__.py":     "",
		"distutils-precedence.pth":  "",
		"A_a-1.0.dist-info/WHEEL":   "",
		"A_a-1.0.dist-info/LICENSE": "",
	},
	"node": {
		"@x/a/package.json":                  `{"name": "@x/a", "version": "1.0.0", "dependencies": {"b": "^1.0.0", "c": "~1.1.0"}, "scripts": {"test": "x"}}`,
		"@x/a/lib/x.js":                      "0123456789",
		"@x/a/lib/y.js":                      "0123456789",
		"@x/a/z.node":                        strings.Repeat("x", 1000),
		"@x/a/node_modules/b/package.json":   `{"name": "b", "version": "1.0.0"}`,
		"c/package.json":                     `{"name": "c", "version": "1.1.0", "dependencies": {"b": ">=1"}, "scripts": {"postinstall": "make"}}`,
		"c/index.js":                         "",
		"b/package.json":                     `{"name": "b", "version": "2.0.0", "dependencies": {}}`,
		".package-lock.json":                 "{}",
		"@x/a/node_modules/.bin/b":           "",
		"@x/a/node_modules/b/node_modules/x": "",
	},
	"ruby": {
		"specifications/a-1.0.gemspec": "Gem::Specification.new do |s|\n  s.name = \"a\".freeze\n  s.version = \"1.0\"\n  s.extensions = [\"ext/extconf.rb\"]\n" +
			"  if s.respond_to? :x then\n    s.add_runtime_dependency(%q<b>.freeze, [\"~> 1.0\", \">= 1.0.2\"])\n    s.add_runtime_dependency(%q<c>, [\">= 0\"])\n" +
			"    s.add_development_dependency(%q<t>, [\">= 0\"])\n  else\n    s.add_dependency(%q<b>.freeze, [\"~> 1.0\", \">= 1.0.2\"])\n  end\nend\n",
		"specifications/b-1.0.gemspec": "s.name = \"b\"\ns.version = \"1.0\"\n",
		"specifications/c-1.1.gemspec": "s.name = \"c\"\ns.version = \"1.1\"\ns.add_dependency(%q<b>, [\"= 1.0\"])\n",
		"gems/a-1.0/lib/a.rb":          "0123456789", "gems/a-1.0/lib/a/x.rb": "0123456789", "gems/a-1.0/lib/a/y.rb": "0123456789", "gems/a-1.0/README": strings.Repeat("x", 1000),
		"gems/b-1.0/lib/b.rb": "x",
		"gems/c-1.1/lib/c.rb": "x", "gems/c-1.1/lib/d.rb": "x",
	},
}

// debian is a directory of dpkg, whose lists name the files of another one.
func debian(t *testing.T) string {
	t.Helper()
	root := tree(t, map[string]string{"a1": strings.Repeat("x", 1000), "a2": "x", "a3": "x", "a4": "x", "b1": "x", "c1": "x", "c2": "x"})
	entry := func(name, section, depends string) string {
		return fmt.Sprintf("Package: %s\nStatus: install ok installed\nSection: %s\nArchitecture: amd64\nVersion: 1.0\nDepends: %s\nDescription: x\n Depends: no\n\n", name, section, depends)
	}
	list := func(names ...string) (text string) {
		text = "/.\n" + root + "\n/nowhere\n"
		for _, name := range names {
			text += root + "/" + name + "\n"
		}
		return text
	}
	return tree(t, map[string]string{
		"status": entry("aa", "libs", "bb (>= 1.0), cc:any (= 1.0) | d, elsewhere") + entry("bb", "non-free/libs", "") + entry("cc", "libs", "bb (<< 2)") +
			entry("tool", "utils", "aa") + strings.Replace(entry("gone", "libs", ""), "install ok installed", "deinstall ok config-files", 1),
		"info/aa:amd64.list": list("a1", "a2", "a3", "a4"), "info/bb.list": list("b1"), "info/cc.list": list("c1", "c2"), "info/tool.list": list(),
	})
}

func TestDirectories(t *testing.T) {
	dirs := map[string]string{"native": debian(t)}
	for language, files := range directories {
		dirs[language] = tree(t, files)
	}
	for language, want := range map[string]struct {
		closures    []float64 // the least, the middle one, the most
		constraints profile.Constraints
		files       []float64
		largest     float64
		builds      float64
	}{
		"python": {[]float64{1, 2, 3}, profile.Constraints{AtLeast: 1.0 / 3, Compatible: 2.0 / 3}, []float64{1, 2, 4}, 1060, 0.1},
		"ruby":   {[]float64{1, 2, 3}, profile.Constraints{Any: 1.0 / 3, Compatible: 1.0 / 3, Exact: 1.0 / 3}, []float64{1, 2, 4}, 1030, 1.0 / 3},
		"native": {[]float64{1, 2, 3}, profile.Constraints{Any: 0.5, AtLeast: 0.25, Exact: 0.25}, []float64{1, 2, 4}, 1003, 0},
		// There are two versions of b, of which a has one of its own.
		"node": {[]float64{1, 1, 4}, profile.Constraints{AtLeast: 1.0 / 3, Compatible: 2.0 / 3}, []float64{1, 2, 4}, 1020 + float64(len(directories["node"]["@x/a/package.json"])), 0.25},
	} {
		p, err := From("mine", []string{dirs[language]})
		if err != nil {
			t.Errorf("%s: %v", language, err)
			continue
		}
		near := func(what string, is, want float64) {
			t.Helper()
			if math.Abs(is-want) > 0.01*max(1, want) {
				t.Errorf("%s: %s is %g, want %g", language, what, is, want)
			}
		}
		c, w := p.Constraints, want.constraints
		near("any", c.Any, w.Any)
		near("at_least", c.AtLeast, w.AtLeast)
		near("compatible", c.Compatible, w.Compatible)
		near("exact", c.Exact, w.Exact)
		near("builds", p.Builds.Value, want.builds)
		near("the smallest closure", p.Closure.At(0), want.closures[0])
		near("the largest closure", p.Closure.At(1), want.closures[2])
		near("the fewest files", p.Attributes["files"].At(0), want.files[0])
		near("the most files", p.Attributes["files"].At(1), want.files[2])
		near("the largest size", p.Attributes["size"].At(1), want.largest)
		if language != "node" {
			near("the closure in the middle", p.Closure.At(0.5), want.closures[1])
			near("the files in the middle", p.Attributes["files"].At(0.5), want.files[1])
		}
		if p.Language != language || p.Name != "mine" || !strings.HasPrefix(p.Closure.Source, "learned from "+dirs[language]) || !strings.HasPrefix(p.Popularity.Source, "assumption") && language != "python" {
			t.Errorf("%s: it is %s for %s, from %q and %q", language, p.Name, p.Language, p.Closure.Source, p.Popularity.Source)
		}
		files := 0
		for _, one := range p.Templates {
			files = max(files, one.Count())
		}
		if files != 4 {
			t.Errorf("%s: no template has 4 files: %+v", language, p.Templates)
		}
		if all, err := packages.Draw(p, 50, 1); err != nil || len(all) != 50 {
			t.Errorf("%s: packages of it are %d, %v", language, len(all), err)
		}
	}
}

const (
	packageLock = `{"lockfileVersion": 3, "packages": {"": {"dependencies": {"a": "^1.0.0"}},
		"node_modules/a": {"version": "1.0.0", "dependencies": {"b": "1.0.0", "c": "*"}, "hasInstallScript": true},
		"node_modules/a/node_modules/b": {"version": "1.0.0", "dependencies": {"d": "^1"}}, "node_modules/a/node_modules/d": {"version": "1.0.0"}, "node_modules/c": {"version": "1.1.0", "dependencies": {"b": "^2"}}, "node_modules/b": {"version": "2.0.0"}}}`
	gemfileLock = "GIT\n  remote: x\n  specs:\n    a (1.0-x86_64-linux)\n      b (~> 1.0)\n      c\n\nGEM\n  remote: x\n  specs:\n    b (1.0)\n    c (1.1)\n      b (>= 1)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  a!\n"
	uvLock      = "version = 1\n[[package]]\nname = \"project\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"A.a\" }]\n" +
		"[[package]]\nname = \"a-a\"\nversion = \"1.0\"\nsource = { registry = \"x\" }\ndependencies = [{ name = \"b\" }, { name = \"c\", marker = \"sys_platform == 'x'\" }]\n" +
		"[[package]]\nname = \"b\"\nversion = \"1.0\"\n[[package]]\nname = \"c\"\nversion = \"1.1\"\ndependencies = [{ name = \"b\" }]\n"
	poetryLock = "[[package]]\nname = \"A.a\"\nversion = \"1.0\"\n[package.dependencies]\nb = \"^1.0\"\nc = { version = \"*\", markers = \"sys_platform == 'x'\" }\n" +
		"d = { version = \">=9\", optional = true }\nf = { version = \"1\", markers = \"extra == 'x'\" }\n" +
		"[[package]]\nname = \"b\"\nversion = \"1.0\"\n[[package]]\nname = \"c\"\nversion = \"1.1\"\n[package.dependencies]\nb = [{ version = \"1.0\" }, { version = \">=2\" }]\n" +
		"[metadata]\nlock-version = \"2.1\"\n"
)

func TestLocks(t *testing.T) {
	python, err := profile.Shipped("python")
	coretest.Must(t, err)
	one := tree(t, map[string]string{"package-lock.json": packageLock, "Gemfile.lock": gemfileLock, "uv.lock": uvLock, "poetry.lock": poetryLock})
	other := tree(t, map[string]string{"package-lock.json": strings.ReplaceAll(packageLock, "1.1.0", "1.2.0"), "Gemfile.lock": strings.ReplaceAll(gemfileLock, "(1.1)", "(1.2)"),
		"uv.lock": strings.ReplaceAll(uvLock, `"1.1"`, `"1.2"`), "poetry.lock": strings.ReplaceAll(poetryLock, `"1.1"`, `"1.2"`)})
	for file, want := range map[string]struct {
		constraints profile.Constraints
		closure     float64
		builds      float64
		versions    float64
	}{
		"package-lock.json": {profile.Constraints{Any: 0.25, Compatible: 0.5, Exact: 0.25}, 5, 0.2, 2},
		"Gemfile.lock":      {profile.Constraints{Any: 1.0 / 3, AtLeast: 1.0 / 3, Compatible: 1.0 / 3}, 3, 0, 2},
		"uv.lock":           {python.Constraints, 3, python.Builds.Value, 2}, // which it does not say
		"poetry.lock":       {profile.Constraints{Any: 1.0 / 3, Compatible: 1.0 / 3, Exact: 1.0 / 3}, 3, python.Builds.Value, 2},
	} {
		p, err := From("mine", []string{filepath.Join(one, file), filepath.Join(other, file)})
		coretest.Must(t, err)
		shipped, err := profile.Shipped(p.Language)
		coretest.Must(t, err)
		c, w := p.Constraints, want.constraints
		if math.Abs(c.Any-w.Any)+math.Abs(c.AtLeast-w.AtLeast)+math.Abs(c.Compatible-w.Compatible)+math.Abs(c.Exact-w.Exact) > 0.01 || math.Abs(p.Builds.Value-want.builds) > 0.01 {
			t.Errorf("%s: constraints are %+v, and %+v build", file, c, p.Builds)
		}
		if p.Closure.At(1) != want.closure || p.Versions.At(1) != want.versions || p.Versions.At(0) != 1 {
			t.Errorf("%s: closures up to %g, and versions from %g to %g", file, p.Closure.At(1), p.Versions.At(0), p.Versions.At(1))
		}
		if p.Attributes["size"].Source != shipped.Attributes["size"].Source || len(p.Templates) != len(shipped.Templates) {
			t.Errorf("%s: a lock says nothing of sizes: %q", file, p.Attributes["size"].Source)
		}
	}
}

func TestBad(t *testing.T) {
	dir := tree(t, map[string]string{"x/package-lock.json": packageLock, "x/Gemfile.lock": gemfileLock, "x/notes.txt": "",
		"old/package-lock.json": `{"lockfileVersion": 1}`, "cut/package-lock.json": `{"lock`, "none/package-lock.json": `{"lockfileVersion": 3}`,
		"cut/Gemfile.lock": "GEM\n  specs:\n    a (1.0)\n   b\n", "none/Gemfile.lock": "GEM\n  specs:\n",
		"cut/uv.lock": "[[package]", "name/uv.lock": "[[package]]\nname = \"a\"\n", "strange/uv.lock": "[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"b\"]\n",
		"none/uv.lock": "version = 1\n", "strange/poetry.lock": "[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"b\"]\n",
		"python/a.dist-info/METADATA": "Name: a\n", "record/a.dist-info/METADATA": "Name: a\nVersion: 1\n", "record/a.dist-info/RECORD": "a.py,x,1\nb.py,x,many\n",
		"ruby/specifications/a.gemspec": "x", "node/a/package.json": "{", "dpkg/info/x.list": ""})
	for want, paths := range map[string][]string{
		"no such file or directory":                                  {"nothing"},
		"notes.txt: it is neither a directory nor one of":            {"x/notes.txt"},
		"x: it is neither site-packages, node_modules":               {"x"},
		"lockfileVersion: 1 is of an npm before 7":                   {"old/package-lock.json"},
		"cut/uv.lock: toml: line 1":                                  {"cut/uv.lock"},
		"name/uv.lock: package[0]: name, version: ":                  {"name/uv.lock"},
		"strange/uv.lock: package[0]: dependencies: [b] is no":       {"strange/uv.lock"},
		"none/uv.lock: it has no packages":                           {"none/uv.lock"},
		"strange/poetry.lock: package[0]: dependencies: [b] is no t": {"strange/poetry.lock"},
		"cut/package-lock.json: unexpected end of JSON":              {"cut/package-lock.json"},
		"none/package-lock.json: it has no packages":                 {"none/package-lock.json"},
		`cut/Gemfile.lock: line 4: specs: "   b" is neither a gem`:   {"cut/Gemfile.lock"},
		"none/Gemfile.lock: specs: there are no gems":                {"none/Gemfile.lock"},
		"a.dist-info/METADATA: Name, Version: a package has both":    {"python"},
		`RECORD: line 2: size: "many" is no number`:                  {"record"},
		"a.gemspec: s.name, s.version: a gem has both":               {"ruby"},
		"node/a/package.json: unexpected end of JSON":                {"node"},
		"status: no such file":                                       {"dpkg"},
		"its packages are for ruby, and those of":                    {"x/package-lock.json", "x/Gemfile.lock"},
	} {
		for i := range paths {
			paths[i] = filepath.Join(dir, paths[i])
		}
		if _, err := From("x", paths); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", paths, err, want)
		}
	}
}

// TestKinds checks what requirements allow, as each language writes it.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		kind func(string) string
		all  map[string]string
	}{
		{pythonKind, map[string]string{"": anyVersion, "!=1.5": anyVersion, "<3": anyVersion, ">=1": atLeast, ">1,!=1.3.*": atLeast, ">= 1, <2": compatible, "==1.*": compatible, "~=1.4": compatible, "==1.0": exact}},
		{npmKind, map[string]string{"": anyVersion, "*": anyVersion, "^1.2.3": compatible, "~1": compatible, "1.x": compatible, "1 || 2": compatible, ">=1 <2": compatible, ">=1": atLeast, "1.2.3": exact, "=1.2.3-rc.1": exact}},
		{gemKind, map[string]string{"": anyVersion, ">= 0": anyVersion, "< 2": anyVersion, "!= 1": anyVersion, ">= 0.5": atLeast, "> 1": atLeast, "~> 1.2": compatible, ">= 1, < 2": compatible, "= 1.2": exact}},
	} {
		for text, want := range c.all {
			if got := c.kind(text); got != want {
				t.Errorf("%q is %s, want %s", text, got, want)
			}
		}
	}
}
