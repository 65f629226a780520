package integration

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do gems from an index install and run as with Bundler?

// gem is what a test's index has of a gem.
type gem struct {
	name, version, more string // more of its specification
	files               files
}

var gems = []gem{
	{"greeting", "1.0.0", `s.add_dependency "shout", "~> 1.0"; s.add_development_dependency "absent"`, files{"lib/greeting.rb": `require "shout"; module Greeting; V = "1.0.0"; def self.to(name) = Shout.out("hello #{name}"); end`}},
	{"greeting", "2.0.0", `s.add_dependency "shout", "~> 1.0"`, files{"lib/greeting.rb": `require "shout"; module Greeting; V = "2.0.0"; end`}},
	{"shout", "1.2.0", `s.bindir = "exe"; s.executables = ["shout-it"]`, files{"lib/shout.rb": `module Shout; def self.out(text) = text.upcase + "!"; end`,
		"exe/shout-it": "#!/opt/none/ruby\nrequire 'shout'\nputs Shout.out(ARGV.join(' '))\n"}},
	{"sum", "0.1.0", `s.extensions = ["ext/sum/extconf.rb"]`, files{"lib/sum.rb": `require "sum/sum"`, "ext/sum/extconf.rb": `require "mkmf"; create_makefile("sum/sum")`,
		"ext/sum/sum.c": "#include <ruby.h>\nstatic VALUE of(VALUE self, VALUE a, VALUE b) { (void)self; return INT2NUM(NUM2INT(a) + NUM2INT(b)); }\n" +
			"void Init_sum(void) { rb_define_module_function(rb_define_module(\"Sum\"), \"of\", of, 2); }\n"}},
	{"louder", "0.1.0", `s.extensions = ["ext/extconf.rb"]; s.add_dependency "shout"`, files{"ext/extconf.rb": `require "mkmf"; require "shout"; $defs << "-DTEXT='#{Shout.out("built").inspect}'"; create_makefile("louder")`,
		"ext/louder.c": "#include <ruby.h>\nvoid Init_louder(void) { rb_define_global_const(\"LOUDER\", rb_str_new_cstr(TEXT)); }\n"}},
	{"broken", "0.1.0", `s.extensions = ["ext/extconf.rb"]`, files{"ext/extconf.rb": `require "mkmf"; create_makefile("broken")`, "ext/broken.c": "int x = nonsense;\n"}},
	{"prebuilt", "1.0.0", "", files{"lib/prebuilt.rb": `PREBUILT = "source"`}},
	{"prebuilt", "1.0.0", `s.platform = "x86_64-linux"`, files{"lib/prebuilt.rb": `PREBUILT = "x86_64-linux"`}},
	{"only-test", "1.0.0", "", files{"lib/only-test.rb": ""}},
}

// gemIndex builds the gems and serves them. It returns the address.
func gemIndex(t *testing.T, gems []gem) string {
	t.Helper()
	return serve(t, gemDir(t, gems)).URL
}

// gemDir builds the gems and makes an index of them, as RubyGems' own server has it and as rubygems.org has.
// It returns the directory to serve.
func gemDir(t *testing.T, gems []gem) string {
	t.Helper()
	served := t.TempDir()
	for _, g := range gems {
		g.build(t, filepath.Join(served, "gems"))
	}
	ruby(t, served, "/usr/bin/gem", "generate_index", "--directory", served)
	return served
}

// write puts the files into a directory.
func (f files) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range f {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func ruby(t *testing.T, dir string, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", command, err, out)
	}
}

// build makes a gem and puts it into a directory.
func (g gem) build(t *testing.T, into string) {
	t.Helper()
	dir := t.TempDir()
	g.files.write(t, dir)
	names, _ := json.Marshal(slices.Sorted(maps.Keys(g.files)))
	spec := fmt.Sprintf("Gem::Specification.new do |s|\n  s.name = %q; s.version = %q; s.summary = 'x'; s.authors = ['x']; s.license = 'MIT'; s.files = %s\n  %s\nend\n", g.name, g.version, names, g.more)
	files{"x.gemspec": spec}.write(t, dir)
	ruby(t, dir, "/usr/bin/gem", "build", "--force", "x.gemspec")
	built, _ := filepath.Glob(filepath.Join(dir, "*.gem"))
	if err := errors.Join(os.MkdirAll(into, 0o755), os.Rename(built[0], filepath.Join(into, filepath.Base(built[0])))); err != nil {
		t.Fatal(err)
	}
}

// compact adds the index that has the digests of the gems.
func compact(t *testing.T, served string) {
	t.Helper()
	ruby(t, served, "/usr/bin/ruby", "-rrubygems/package", "-rdigest", "-e", `
lines = Dir["gems/*.gem"].sort.map do |path|
  spec = Gem::Package.new(path).spec
  version = spec.platform.to_s == "ruby" ? spec.version.to_s : "#{spec.version}-#{spec.platform}"
  needs = spec.runtime_dependencies.map { |d| "#{d.name}:#{d.requirement.to_s.gsub(", ", "&")}" }.join(",")
  [spec.name, version, "#{version} #{needs}|checksum:#{Digest::SHA256.file(path).hexdigest}\n"]
end
Dir.mkdir("info")
names = lines.group_by(&:first).map do |name, all|
  text = "---\n" + all.map(&:last).join
  File.write("info/#{name}", text)
  "#{name} #{all.map { |one| one[1] }.join(",")} #{Digest::MD5.hexdigest(text)}\n"
end
File.write("versions", "created_at: 2026-01-01T00:00:00Z\n---\n" + names.join)
`)
}

func serve(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server
}

const rubyGems = `
require "greeting"
require "sum"
require "prebuilt"
def handler(event:, context:)
  [Greeting.to("you"), Greeting::V, Sum.of(40, 2), PREBUILT, Gem.loaded_specs["greeting"].version.to_s, Gem.loaded_specs["absent"].nil?,
   begin; require "only-test"; rescue LoadError => e; e.path; end]
end
`

func TestRubyGems(t *testing.T) {
	rubySystem(t)
	index := gemIndex(t, gems)
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	gemfile := fmt.Sprintf("source %q\ngem \"greeting\", \"~> 1.0\"\ngem \"sum\"\ngem \"prebuilt\"\ngroup(:test) { gem \"only-test\" }\n", index)
	fn := w.deploy(t, "gems", rubyFile(rubyGems).with("Gemfile", gemfile).with("pipsqueak.yaml", "reuse: false\nallow_scripts: [sum]\n"))
	var names []string
	for _, p := range fn.Packages {
		names = append(names, p.Name+" "+p.Version)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"greeting 1.0.0", "prebuilt 1.0.0", "shout 1.2.0", "sum 0.1.0"}) || !slices.Equal(fn.Imports, []string{"greeting", "sum", "prebuilt"}) {
		t.Errorf("packages %q, imports %q", names, fn.Imports)
	}
	forkStart(t, w, "gems", `{}`)
	if a := w.run(t, "gems", `{}`); string(a.body) != `["HELLO YOU!","1.0.0",42,"x86_64-linux","1.0.0",true,"only-test"]` {
		t.Errorf("the gems give %v", a)
	}
	// The lock has the say, and what is in the store is not installed again.
	lock := "GEM\n  remote: " + index + "/\n  specs:\n    greeting (2.0.0)\n      shout (~> 1.0)\n    shout (1.2.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  greeting\n\nBUNDLED WITH\n   2.3.0\n"
	w.deploy(t, "locked", rubyFile("require 'greeting'\ndef handler(event:, context:) = Greeting::V\n").with("Gemfile", fmt.Sprintf("source %q\ngem 'greeting'\n", index)).with("Gemfile.lock", lock))
	if got := result[string](t, w, "locked", `{}`); got != "2.0.0" {
		t.Errorf("locked at 2.0.0, it has %s", got)
	}
	// Nothing of one function's in another, nor of the host's.
	w.deploy(t, "none", rubyFile("def handler(event:, context:)\n  %w[greeting shout rubygems/nothing].map { |x| begin; require x; rescue LoadError; \"none\"; end }\nend\n"))
	if got := result[[]string](t, w, "none", `{}`); !slices.Equal(got, []string{"none", "none", "none"}) {
		t.Errorf("a function without gems has %q", got)
	}
	for name, c := range map[string]struct{ gemfile, says string }{
		"absent":   {"gem 'nobody-has-this'\n", "nobody-has-this"},
		"version":  {"gem 'shout', '9.0'\n", "shout"},
		"conflict": {"gem 'greeting', '1.0.0'\ngem 'shout', '2.0'\n", "shout"},
		"git":      {"gem 'shout', git: 'https://127.0.0.1:1/x.git'\n", "only gems of the index"},
		"path":     {"gem 'shout', path: '.'\n", "only gems of the index"},
		"rubbish":  {"this is no Gemfile (\n", "Gemfile"},
		"source":   {"source 'http://127.0.0.1:1' do\n  gem 'shout'\nend\n", "cannot choose"},
		"broken":   {"gem 'broken'\n", "nonsense"},
		"ruby":     {"ruby '2.0.0'\ngem 'shout'\n", "2.0.0"},
		"timeout":  {"gem 'timeout', '99'\n", "timeout"},
		"exit":     {"exit 0\n", "Gemfile"},
		"ends":     {"exit! true\n", "the process that was reading it (exit 0)"},
		"kill":     {"Process.kill(:KILL, $$)\n", "SIGKILL"},
		"unread":   {"raise \"\\xff\"\n", "RuntimeError"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(t, "requires-"+name, rubyFile(rubyEcho).with("Gemfile", fmt.Sprintf("source %q\n", index)+c.gemfile).with("pipsqueak.yaml", "allow_scripts: [broken]\n"))
			if f := a.expectError(t, core.KindInstall, core.FaultHandler, http.StatusUnprocessableEntity); !strings.Contains(f.Message, c.says) {
				t.Errorf("the message lacks %q: %s", c.says, f.Message)
			}
		})
	}
}

// TestRubyCompiled: gems are compiled to the same bytes on each worker, what a gem brings in their place is
// dropped, and errors have their places.
func TestRubyCompiled(t *testing.T) {
	rubySystem(t)
	compiled := append(slices.Clone(gems), gem{"posing", "1.0.0", "", files{"lib/posing.rb": "module Posing\n  def self.raises = raise(ArgumentError, \"by \" + __method__.to_s)\nend\n",
		"lib/posing.rb.iseq": "no code", "lib/posing/part.rb.iseq": "", "lib/posing/part.rb": "PART = 1\n"}})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", gemIndex(t, compiled))
	f := rubyFile("require 'posing'\nrequire 'posing/part'\ndef handler(event:, context:) = event == 1 ? Dir['/packages/**/*.iseq'].map { |file| File.basename(file) }.sort : Posing.raises\n").
		with("Gemfile", fmt.Sprintf("source %q\ngem 'posing'\n", os.Getenv("PIPSQUEAK_GEM_SOURCE")))
	var digests []string
	for range 2 {
		w := startWorker(t, t.TempDir())
		w.ready(t, "posing", f)
		digests = append(digests, w.compiled(t, "ruby")["posing"])
		if got := result[[]string](t, w, "posing", `1`); !slices.Equal(got, []string{"part.rb.iseq", "posing.rb.iseq"}) {
			t.Errorf("compiled are %q", got)
		}
		said := w.run(t, "posing", `2`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
		if stack := strings.Join(said.Exception.Stack, "\n"); said.Exception.Message != "by raises" || !strings.Contains(stack, "posing.rb:2:in `raises'") {
			t.Errorf("%s, with the stack %s", said.Exception.Message, stack)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two workers have made %q", digests)
	}
}

// TestRubyLock is about what is locked, and what the lock is good for.
func TestRubyLock(t *testing.T) {
	rubySystem(t)
	served := gemDir(t, gems)
	compact(t, served)
	server := serve(t, served)
	t.Setenv("PIPSQUEAK_GEM_SOURCE", server.URL)
	w := startWorker(t, t.TempDir())
	gemfile := fmt.Sprintf("source %q\ngem \"greeting\", \"~> 1.0\"\ngem \"sum\"\ngem \"prebuilt\"\n", server.URL)
	f := rubyFile("require 'sum'\ndef handler(event:, context:) = Sum.of(40, 2)\n").with("Gemfile", gemfile)
	if f := w.put(t, "lock", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(f.Message, "allow_scripts: [sum]") {
		t.Error(f.Message)
	}
	f = f.with("pipsqueak.yaml", "allow_scripts: [sum]\n")
	first := w.deploy(t, "lock", f)

	dir := t.TempDir()
	f.write(t, dir)
	if _, said, err := w.command(t, "", "lock", dir); err != nil {
		t.Fatal(err, said)
	}
	var lock core.Lock
	text, err := os.ReadFile(filepath.Join(dir, "pipsqueak.lock"))
	if err != nil || json.Unmarshal(text, &lock) != nil {
		t.Fatal(err, string(text))
	}
	gemlock, err := os.ReadFile(filepath.Join(dir, "Gemfile.lock"))
	if err != nil || !strings.Contains(string(gemlock), "greeting (1.0.0)") {
		t.Errorf("%v: %s", err, gemlock)
	}
	if len(lock.Packages) != 4 {
		t.Fatal(lock.Packages)
	}
	for i, want := range []core.Locked{
		{Name: "greeting", Version: "1.0.0", Requires: []string{"shout==1.2.0"}, URL: "pkg:gem/greeting@1.0.0"},
		{Name: "prebuilt", Version: "1.0.0", URL: "pkg:gem/prebuilt@1.0.0?platform=x86_64-linux"},
		{Name: "shout", Version: "1.2.0", URL: "pkg:gem/shout@1.2.0"},
		{Name: "sum", Version: "0.1.0", Scripts: true, URL: "pkg:gem/sum@0.1.0"},
	} {
		file := want.Base() + ".gem"
		if want.Name == "prebuilt" {
			file = "prebuilt-1.0.0-x86_64-linux.gem"
		}
		content, err := os.ReadFile(filepath.Join(served, "gems", file))
		if err != nil {
			t.Fatal(err)
		}
		if want.Archives = []string{fmt.Sprintf("sha256:%x", sha256.Sum256(content))}; !reflect.DeepEqual(lock.Packages[i], want) {
			t.Errorf("locked is %#v, want %#v", lock.Packages[i], want)
		}
	}

	// The same lock gives the same files, also of an extension.
	if other := startWorker(t, t.TempDir()).deploy(t, "lock", f); !slices.Equal(other.Packages, first.Packages) {
		t.Errorf("installed twice, the packages are %v and %v", first.Packages, other.Packages)
	}

	checksums := "\nCHECKSUMS\n  greeting (1.0.0)\n  shout (1.2.0) sha256=" + strings.TrimPrefix(lock.Packages[2].Archives[0], "sha256:") + "\n"
	wrong := strings.Replace(checksums, "sha256="+lock.Packages[2].Archives[0][7:9], "sha256="+map[bool]string{true: "11", false: "00"}[lock.Packages[2].Archives[0][7:9] == "00"], 1)
	own := strings.Replace(string(gemlock), "\nBUNDLED", checksums+"\nBUNDLED", 1)
	w.deploy(t, "own", f.with("Gemfile.lock", own))
	for name, c := range map[string]struct{ gemfile, lock, says string }{
		"checksum": {gemfile, strings.Replace(string(gemlock), "\nBUNDLED", wrong+"\nBUNDLED", 1), "checksum"},
		"windows":  {gemfile, strings.ReplaceAll(strings.Replace(string(gemlock), "\nBUNDLED", wrong+"\nBUNDLED", 1), "\n", "\r\n"), "checksum"},
		"gemfile":  {gemfile + "gem \"only-test\"\n", own, "bundle install"},
		"version":  {strings.Replace(gemfile, "~> 1.0", "~> 2.0", 1), own, "bundle install"},
		"platform": {gemfile, strings.Replace(own, "\n  x86_64-linux\n", "\n  arm64-darwin-22\n", 1), "platform"},
	} {
		e := w.put(t, "refused-"+name, f.with("Gemfile", c.gemfile).with("Gemfile.lock", c.lock)).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
		if !strings.Contains(e.Message, "Gemfile.lock") || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %s", name, e.Message)
		}
	}

	// What is published under a version is not what was locked.
	gem{"shout", "1.2.0", "", files{"lib/shout.rb": "raise 'evil'"}}.build(t, filepath.Join(served, "gems"))
	fresh := startWorker(t, t.TempDir())
	e := fresh.put(t, "replaced", f.with("pipsqueak.lock", string(text)).with("Gemfile.lock", string(gemlock))).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(e.Message, "shout-1.2.0") || !strings.Contains(e.Message, "digest") {
		t.Error(e.Message)
	}

	server.Close()
	again := w.deploy(t, "lock", f) // without anything to fetch
	if !slices.Equal(again.Packages, first.Packages) || again.Code != first.Code {
		t.Errorf("deployed again it is %+v, and was %+v", again, first)
	}
	e = w.put(t, "unreachable", f.with("Gemfile", gemfile+"# other\n")).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(e.Message, "cannot be reached") {
		t.Error(e.Message)
	}
}

// TestRubyBuildRequires has a gem whose extension is made with the help of another gem, which is in the store
// by then.
func TestRubyBuildRequires(t *testing.T) {
	rubySystem(t)
	index := gemIndex(t, gems)
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "louder", rubyFile("require 'louder'\ndef handler(event:, context:) = LOUDER\n").
		with("Gemfile", fmt.Sprintf("source %q\ngem 'louder'\n", index)).with("pipsqueak.yaml", "allow_scripts: [louder]\n"))
	if got := result[string](t, w, "louder", `{}`); got != "BUILT!" {
		t.Errorf("it was built as %q", got)
	}
}

// TestRubyVariables has a gem that reads a variable when it is required, and functions that set it, in
// pipsqueak.yaml or in their files: what it sees is the same whatever the start. And a function that brings a
// file in the place of a library of Ruby's own.
func TestRubyVariables(t *testing.T) {
	rubySystem(t)
	index := gemIndex(t, []gem{{"mode", "1.0.0", "", files{"lib/mode.rb": `require "date"; MODE = ENV["MODE"].inspect; TODAY = Date.respond_to?(:today)`, "lib/mode/deep.rb": `DEEP = ENV["DEEP"].inspect`}}})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	gemfile := fmt.Sprintf("source %q\ngem 'mode'\n", index)
	const handler = "require 'mode'\nrequire 'mode/deep'\ndef handler(event:, context:) = [MODE, DEEP, TODAY]\n"
	for name, c := range map[string]struct {
		files      files
		want, tell string
	}{
		"plain": {rubyFile(handler), `["nil","nil",true]`, ""},
		"env":   {rubyFile(handler).with("pipsqueak.yaml", "reuse: false\nenv: {MODE: fast, DEEP: on}\n"), `["\"fast\"","\"on\"",true]`, "MODE"},
		"sets":  {rubyFile("ENV['MODE'] ||= 'slow'\n" + handler), `["\"slow\"","nil",true]`, "MODE"},
		"own":   {rubyFile(handler).with("date.rb", "class Date\nend\n"), `["nil","nil",false]`, ""},
	} {
		f := c.files.with("Gemfile", gemfile)
		if f["pipsqueak.yaml"] == "" {
			f = f.with("pipsqueak.yaml", "reuse: false\n")
		}
		w.deploy(t, name, f)
		for n := range 5 {
			if a := w.run(t, name, `{}`); string(a.body) != c.want {
				t.Errorf("%s: event %d gives %v, want %s", name, n, a, c.want)
			}
			if n == 1 {
				w.probed(t, name)
			}
		}
		if fn := w.function(t, name); !strings.Contains(fmt.Sprint(fn.Apart), c.tell) {
			t.Errorf("%s: apart are %v", name, fn.Apart)
		}
	}
}

// TestRubyGemChildren has a handler that starts programs: Ruby with the function's gems in each way of naming
// them, and what gems bring.
func TestRubyGemChildren(t *testing.T) {
	rubySystem(t)
	index := gemIndex(t, gems)
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	gemfile := fmt.Sprintf("source %q\ngem \"greeting\", \"~> 1.0\"\ngem \"sum\"\n", index)
	w.deploy(t, "children", rubyFile("require 'sum'\ndef handler(event:, context:) = event.map { |command| `#{command} 2>&1`.chomp }\n").with("Gemfile", gemfile).
		with("pipsqueak.yaml", "reuse: false\nallow_scripts: [sum]\n"))
	commands := []string{`shout-it to you`, `ruby -e 'require "greeting"; puts Greeting.to("you")'`, `ruby -e 'gem "greeting", "~> 1.0"; require "greeting"; puts Greeting::V'`,
		`ruby -e 'require "sum"; puts Sum.of(1, 2)'`, `ruby -e 'puts Gem::Specification.find_by_name("sum").version'`, `ruby --disable=gems -e 'require "sum"; puts Sum.of(1, 2)'`,
		`bundle exec ruby -e 'require "greeting"; puts Greeting.to("me")'`, `bundle exec shout-it so`}
	event, err := json.Marshal(commands)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"TO YOU!", "HELLO YOU!", "1.0.0", "3", "0.1.0", "3", "HELLO ME!", "SO!"}
	for _, a := range []answer{w.run(t, "children", string(event)), forkStart(t, w, "children", string(event))} {
		for i, got := range decode[[]string](t, a) {
			if got != want[i] {
				t.Errorf("%s: %s says %q, want %q", a.header.Get("Pipsqueak-Start"), commands[i], got, want[i])
			}
		}
	}
}
