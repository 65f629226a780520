package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// compilePackage compiles the files of a package as a deploy does, and returns what was made of them, by
// name.
func compilePackage(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := t.TempDir()
	if said, err := exec.CommandContext(t.Context(), "/usr/bin/ruby", "--disable=gems", "runtime/install/compile.rb", dir, out).CombinedOutput(); err != nil || len(said) > 0 {
		t.Fatalf("%v: %s", err, said)
	}
	made := map[string]string{}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(out, path)
		text, err := os.ReadFile(path)
		made[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestCompiles compiles files of every sort: those that can be required are compiled, and nothing of them
// runs.
func TestCompiles(t *testing.T) {
	_, err := os.Stat("/usr/bin/ruby")
	coretest.Requires(t, coretest.Found("/usr/bin/ruby", err == nil))
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	touch := "File.write('" + ran + "', '')\n"
	drivertest.Write(t, dir, map[string]string{
		"pipsqueak.json":      `{"paths": ["extension", "gem/lib"]}`,
		"gem/lib/a.rb":        touch + "module A; def self.x = caller; end\nexit\n",
		"gem/lib/a/b.rb":      "BEGIN { " + touch + " }\nx = 1 # unused\n__END__\nmore\n",
		"gem/lib/a/c.rb":      "# encoding: iso-8859-1\nC = \"\xe4\"\n",
		"gem/lib/template.rb": "class <%= name %>\n",
		"gem/lib/deep.rb":     "x = " + strings.Repeat("[", 20000),
		"gem/lib/odd.rb":      "# encoding: nonsense\n",
		"gem/lib/note.txt":    touch, "gem/spec/s.rb": touch, "extension/e.rb": "E = 1\n",
	})
	if err := os.Symlink("nowhere", filepath.Join(dir, "gem/lib/lost.rb")); err != nil {
		t.Fatal(err)
	}
	made := compilePackage(t, dir)
	var names []string
	for name := range made {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"extension/e.rb.iseq", "gem/lib/a.rb.iseq", "gem/lib/a/b.rb.iseq", "gem/lib/a/c.rb.iseq"}; !slices.Equal(names, want) {
		t.Errorf("made %q, want %q", names, want)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a file was run")
	}
}

// TestCompiledIsLoaded: processes load what a file was compiled to in place of the file, if this Ruby has
// made it, and say the same of it.
func TestCompiledIsLoaded(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": "require 'zygote'\nrequire 'instance'\nrequire 'other'\nrequire 'broken'\n" +
			"def handler(event:, context:) = [ZYGOTE, INSTANCE, OTHER, BROKEN]\n",
	})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"pipsqueak.json": `{"paths": ["."]}`})
	compiled := t.TempDir()
	for _, name := range []string{"zygote", "instance", "other", "broken"} {
		source := func(from string) string {
			return strings.ToUpper(name) + " = ['" + from + "', caller_locations(0, 1).first.label]\n"
		}
		drivertest.Write(t, h.Packages, map[string]string{name + ".rb": source("source")})
		drivertest.Write(t, compiled, map[string]string{"pipsqueak.json": `{"paths": ["."]}`, name + ".rb": source("compiled")})
	}
	asks := map[string]string{"asks.rb": "ASKS = defined?(SomeGem::Thing)\n"}
	drivertest.Write(t, h.Packages, asks)
	drivertest.Write(t, compiled, asks)
	made := compilePackage(t, compiled)
	made["other.rb.iseq"] = "another " + made["other.rb.iseq"] // by another Ruby
	made["broken.rb.iseq"] = made["broken.rb.iseq"][:len(made["broken.rb.iseq"])/2]
	drivertest.Write(t, h.Packages, made)
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, filesSet, "zygote")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []*sandbox.Sandbox{root, zygote} {
		const top = `","<top (required)>"]`
		want := `R[["compiled` + top + `,["compiled` + top + `,["source` + top + `,["source` + top + `]`
		if got := drivertest.Ask(t, h.Instance(t, from, filesSet), "1"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if found := h.Probe(t, []drivertest.Probed{{Name: "asks", Source: asks["asks.rb"]}}); !slices.Contains(found["asks"].Asks, "some_gem/thing.rb") {
		t.Errorf("a probe of what is compiled sees %q", found["asks"].Asks)
	}
}
