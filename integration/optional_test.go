package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does a package find another one in a fork exactly when it does in a cold start?

// TestPythonOptional has a package that imports others if they are there, without requiring them, and
// functions with and without those: whichever is deployed first, each start of each function finds what it
// has.
func TestPythonOptional(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-main", "1.0", "", files{"py_main.py": `import importlib.metadata, importlib.util, time
time.sleep(0.06)
try:
    import py_extra
    has = True
except ImportError:
    has = False
has_distribution = True
try:
    importlib.metadata.version("Py_Extra")
except importlib.metadata.PackageNotFoundError:
    has_distribution = False
has_last = importlib.util.find_spec("a_last") is not None
`})
	index.addWheel(t, "py-extra", "1.0", "", files{"py_extra.py": "import os\nmode = os.environ.get('PY_EXTRA')\n"})
	index.addWheel(t, "a-last", "1.0", "", files{"a_last.py": ""})
	const handler = "import py_main\ndef handler(event, context): return [py_main.has, py_main.has_distribution, py_main.has_last]\n"
	functions := map[string][]string{"without": {""}, "with": {"py-extra\n"}, "other": {"a-last\n", "import a_last\n"}, "both": {"py-extra\na-last\n", "import a_last, py_extra\n"}, "sets": {"py-extra\n", "", "env: {PY_EXTRA: x}\n"}}
	want := map[string][3]bool{"without": {}, "with": {true, true, false}, "other": {false, false, true}, "both": {true, true, true}, "sets": {true, true, false}}
	deployed := map[string]files{}
	for name, f := range functions {
		f = append(f, "", "")
		deployed[name] = handlerFile(f[1]+handler).with("requirements.txt", "py-main\n"+f[0]).with("pipsqueak.yaml", "reuse: false\n"+f[2])
	}
	inOrder(t, deployed, want, []string{"without", "with", "sets", "both", "other"}, []string{"both", "without", "other", "with", "sets"})
}

// inOrder deploys functions in each of the orders, and has the first one make its zygotes before the others
// come. Each start of each gives what is wanted.
func inOrder[T comparable](t *testing.T, functions map[string]files, want map[string]T, orders ...[]string) {
	t.Helper()
	for _, order := range orders {
		t.Run(order[0], func(t *testing.T) {
			w := startWorker(t, t.TempDir())
			for _, name := range order {
				w.deploy(t, name, functions[name])
				if name == order[0] {
					w.probed(t, name)
					w.run(t, name, `{}`)
					w.run(t, name, `{}`)
				}
			}
			for range 4 {
				for _, name := range order {
					if got := result[T](t, w, name, `{}`); got != want[name] {
						t.Errorf("%s finds %v, want %v", name, got, want[name])
					}
				}
			}
		})
	}
}

// TestRubyOptional has a gem that looks for others in many ways, one of which has none of its file names for
// a name, and another replaces a library of Ruby's own.
func TestRubyOptional(t *testing.T) {
	system(t)
	index := gemIndex(t, []gem{
		{"rb-main", "1.0", "", files{"lib/rb_main.rb": `sleep 0.06
require "observer"
module RbMain
  def self.found = yield ? true : false
  FOUND = [
    found { begin require "rb_extra"; true; rescue LoadError; end },
    found { Gem.loaded_specs["rb-extra"] },
    found { begin Gem::Specification.find_by_name("rb-extra"); rescue LoadError; end },
    found { Object.const_defined?(:RbExtra) && defined?(RbExtra) },
    found { begin require "one_of_two"; true; rescue LoadError; end },
    found { defined?(NEW_OBSERVER) }
  ]
end
`}},
		{"rb-extra", "1.0", "", files{"lib/rb_extra.rb": "module RbExtra; end"}},
		{"rb-two", "1.0", "", files{"lib/one_of_two.rb": "", "lib/other_of_two.rb": ""}},
		{"rb-other", "1.0", "", files{"lib/rb_other.rb": ""}},
		{"observer", "9.9", "", files{"lib/observer.rb": "NEW_OBSERVER = true"}},
	})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	functions, want := map[string]files{}, map[string][6]bool{"without": {}, "with": {true, true, true, true, false, false}, "two": {4: true}, "observer": {5: true}, "all": {true, true, true, true, true, true}, "other": {5: true}}
	for name, more := range map[string][]string{"without": nil, "with": {"rb-extra"}, "two": {"rb-two"}, "observer": {"observer"}, "all": {"rb-extra", "rb-two", "observer"}, "other": {"rb-other"}} {
		gemfile := fmt.Sprintf("source %q\ngem 'rb-main'\n", index)
		for _, gem := range more {
			gemfile += fmt.Sprintf("gem %q\n", gem)
		}
		functions[name] = rubyFile("require 'rb_main'\ndef handler(event:, context:) = RbMain::FOUND\n").with("Gemfile", gemfile).with("pipsqueak.yaml", "reuse: false\n")
	}
	// Nothing asks for this gem but the handler, of a RubyGems that a zygote without it has loaded.
	functions["other"]["handler.rb"] = "require 'rb_main'\ndef handler(event:, context:) = RbMain::FOUND[0..4] << (Gem::Specification.find_by_name('rb-other') ? true : false)\n"
	inOrder(t, functions, want, []string{"without", "with", "all", "two", "other", "observer"}, []string{"all", "without", "two", "other", "with", "observer"})
}

// TestNodeOptional has packages that look for others which they do not require, as npm puts them where they
// are found: of those, one is told of as an optional peer, and one stands for another by its name.
func TestNodeOptional(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	const slow = "const until = Date.now() + 60; while (Date.now() < until);\n"
	const find = "const find = (run) => { try { return run(); } catch { return 'none'; } };\n"
	index := newNPMIndex(t)
	index.add("n-extra", "1.0.0", nil, files{"index.js": "module.exports = 'extra';"})
	index.add("n-fork", "1.0.0", nil, files{"index.js": "module.exports = 'fork';"})
	index.add("n-main", "1.0.0", nil, files{"index.js": slow + find + "module.exports = [find(() => require('n-extra')), find(() => require.resolve('n-extra') && 'extra'),\n" +
		"find(() => require('module').createRequire(__filename)('n-extra'))];"})
	index.add("n-above", "1.0.0", map[string]any{"dependencies": map[string]string{"n-main": "1.0.0"}}, files{"index.js": slow + "module.exports = require('n-main');"})
	index.add("n-peer", "1.0.0", map[string]any{"peerDependenciesMeta": map[string]any{"n-extra": map[string]any{"optional": true}}}, files{"index.js": slow + find + "module.exports = [find(() => require('n-extra'))];"})
	index.add("n-esm", "1.0.0", map[string]any{"type": "module", "exports": "./index.js"}, files{"index.js": slow + "export default [await import('n-extra').then((m) => m.default, () => 'none')];"})
	t.Setenv("NPM_CONFIG_REGISTRY", index.URL+"/")
	functions, want := map[string]files{}, map[string]string{}
	for name, extra := range map[string]string{"without": "", "with": `,"n-extra":"1.0.0"`, "stands": `,"n-extra":"npm:n-fork@1.0.0"`, "below": `,"n-extra":"npm:n-fork@1.0.0","n-deep":"npm:n-peer@1.0.0"`} {
		functions[name] = files{
			"package.json":   `{"dependencies":{"n-main":"1.0.0","n-above":"1.0.0","n-peer":"1.0.0","n-esm":"1.0.0"` + extra + `}}`,
			"pipsqueak.yaml": "reuse: false\nruntime: node24\n",
			"index.mjs":      "import above from 'n-above';\nimport main from 'n-main';\nimport peer from 'n-peer';\nimport esm from 'n-esm';\nexport const handler = async () => [...above, ...main, ...peer, ...esm].join(' ');\n",
		}
		found := map[string]string{"without": "none", "with": "extra"}[name]
		if found == "" {
			found = "fork"
		}
		want[name] = strings.ReplaceAll("found extra found found extra found found found", "found", found)
		if name == "without" {
			want[name] = "none none none none none none none none"
		}
	}
	inOrder(t, functions, want, []string{"without", "with", "stands", "below"}, []string{"stands", "without", "with", "below"})
	w := startWorker(t, t.TempDir())
	w.deploy(t, "with", functions["with"])
	apart := slices.Sorted(maps.Keys(w.probed(t, "with").Apart))
	if len(apart) != 3 || !strings.HasPrefix(apart[0], "import:n-above@") || apart[1] != "import:n-esm@1.0.0" || apart[2] != "import:n-main@1.0.0" {
		t.Errorf("apart are %q: what is told of as a peer lies beside who looks for it", apart)
	}
}
