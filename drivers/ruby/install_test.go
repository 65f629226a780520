package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

func TestInterpreterPaths(t *testing.T) {
	for path, want := range map[string]bool{"/x/ruby": true, "/x/ruby3.1": true, "/x/ruby-3.4.1": true, "/x/ruby-lint": false, "/x/rubyfmt": false, "/x/jruby": false} {
		if isRuby(path) != want {
			t.Errorf("%s is taken for a Ruby: %v", path, !want)
		}
	}
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{"ruby3.9": "", "ruby-lint": ""})
	if err := os.Symlink("ruby3.9", filepath.Join(dir, "ruby")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv(interpretersVariable, dir+"/absent:"+dir+"/ruby3.9")
	paths := interpreterPaths()
	// What is named and missing is told of; the same one twice is one.
	if len(paths) < 2 || !slices.Equal(paths[:2], []string{dir + "/absent", dir + "/ruby3.9"}) || slices.Contains(paths, dir+"/ruby") {
		t.Errorf("the interpreters are %q", paths)
	}
}

// What handlers require whenever they are required is found, and nothing else.
func TestImports(t *testing.T) {
	_, err := os.Stat("/usr/bin/ruby")
	coretest.Requires(t, coretest.Found("/usr/bin/ruby", err == nil))
	code := t.TempDir()
	drivertest.Write(t, code, map[string]string{
		"app/main.rb": "# comment\nrequire 'gem_one'\nrequire(\"gem/two\")\nrequire_relative '../own'\nrequire 'lib'\nrequire \"English\"\nrequire 'net/http'\n" +
			"require \"#{name}\"\nrequire name\nif x then require 'three' end\nbegin\n  require 'four'\nrescue LoadError\nend\ndef m = require('five')\nload 'six'\nother.require 'seven'\n" +
			"require '/proc/self/root" + code + "/run'\nrequire 'json/../../../../.." + code + "/run'\nrequire 'a\x00b'\nrequire '~nobody-has-this-name/x'\n",
		"run.rb": "File.write(__FILE__, 'ran')\n",
		"own.rb": "require 'eight'\nrequire_relative 'app/main'\n",
		"lib.rb": "require 'nine'\nthis is no Ruby (",
	})
	imports, err := filepath.Abs("runtime/install/imports.rb")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/usr/bin/ruby", "--disable=gems", "-rjson", "-ropen3", "-r"+imports, "-e", "puts JSON.generate(Pipsqueak::Imports.new(ARGV[0]).of('app/main.App.x'))", code).CombinedOutput()
	var found []string
	if err != nil || json.Unmarshal(out, &found) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if text, err := os.ReadFile(filepath.Join(code, "run.rb")); err != nil || string(text) == "ran" {
		t.Errorf("code of the function was run: %s, %v", text, err)
	}
	// Those in a file of a directory are found by dots too. Of Ruby's own libraries those that take their
	// time.
	dotted, err := exec.Command("/usr/bin/ruby", "--disable=gems", "-rjson", "-ropen3", "-r"+imports, "-e", "puts JSON.generate(Pipsqueak::Imports.new(ARGV[0]).of('app.main.App.x'))", code).CombinedOutput()
	if err != nil || string(dotted) != string(out) {
		t.Errorf("with dots it finds %s, %v", dotted, err)
	}
	if want := []string{"gem_one", "gem/two", "eight", "net/http"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

// TestDebianOnce has a launcher that notes what the installer is asked for. What was found out of Debian's
// archives when they were resolved, nobody has to look up when they are installed; what is said after a
// Gemfile has run is not believed.
func TestDebianOnce(t *testing.T) {
	dir := t.TempDir()
	answer, asked := filepath.Join(dir, "answer"), filepath.Join(dir, "asked")
	t.Setenv("PIPSQUEAK_LIBEXEC", dir)
	if err := os.WriteFile(filepath.Join(dir, launch.Launcher), []byte("#!/bin/sh\nfor last; do :; done\necho \"$last\" > "+asked+"\ncat "+answer+" >&3\ncat "+answer+"2 >&3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	gate, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(dir, "gate"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	says := func(first, second string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(answer, []byte("."+first), 0o600), os.WriteFile(answer+"2", []byte("."+second), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := newDriver(slog.New(slog.DiscardHandler))
	r.found.Set(map[core.RuntimeID]cruby{"ruby3.1": {Executable: "/usr/bin/ruby3.1", Prefix: "/usr"}})
	box := core.Door{ID: "x", Gate: gate.Addr().String()}
	archive := func(name, uri string) string {
		return fmt.Sprintf(`{"name":"debian+%s","version":"1","archives":["sha256:%s"],"purl":%q,"uri":%q,"size":7}`, name, name,
			debian.PackageURL(core.Locked{Name: "debian+" + name, Version: "1"}), uri)
	}
	says(`{"result":[`+archive("x", "http://d/x.deb")+`]}`, `{"result":{"packages":[`+archive("forged", "http://d/forged.deb")+`],"imports":["y"]}}`)
	found, err := r.Resolve(t.Context(), core.ResolveRequest{Runtime: "ruby3.1", Debian: []string{"x"}, Door: box})
	if err != nil || len(found.Packages) != 2 || !slices.Equal(found.Imports, []string{"y"}) {
		t.Fatal(found, err)
	}
	says(`{"result":[]}`, "")
	if _, err := r.Install(t.Context(), core.InstallRequest{Runtime: "ruby3.1", Packages: found.Packages, Door: box}, nil); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(asked); err != nil || !strings.Contains(string(text), `"uri":"http://d/x.deb"`) || strings.Contains(string(text), "forged.deb") {
		t.Errorf("it is asked to install %s, %v", text, err)
	}
}

func TestDebianIndex(t *testing.T) {
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{
		"usr/share/rubygems-integration/all/specifications/some-gem-1.2.3.gemspec":           `s.require_paths = ["lib/some-gem".freeze, "../../../../../../..", "../../../../../../../../.."]`,
		"usr/share/rubygems-integration/all/gems/some-gem-1.2.3/lib/some-gem/some/gem.rb":    "",
		"usr/lib/ruby/vendor_ruby/in_vendor/deep/part.rb":                                    "",
		"usr/share/rubygems-integration/all/specifications/in-vendor-0.1.gemspec":            "",
		"usr/lib/ruby/vendor_ruby/in_vendor.rb":                                              "",
		"usr/lib/x86_64-linux-gnu/rubygems-integration/3.1.0/extensions/x/3.1.0/some-1/x.so": "no library",
	})
	libraries := filepath.Join(dir, "usr/lib/libfound.so.1")
	c, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(libraries, c, 0o600); err != nil { // a program has no name as a library
		t.Fatal(err)
	}
	x, err := writeIndex(dir)
	if err != nil || !slices.Equal(x.modules, []string{"some/gem"}) || !slices.Equal(x.offers, []string{"in-vendor", "in_vendor", "some-gem", "some/gem", "x"}) {
		t.Fatal(x, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, indexFile))
	var got index
	if err != nil || json.Unmarshal(text, &got) != nil {
		t.Fatal(err, string(text))
	}
	want := index{Gems: map[string]string{"some-gem": "1.2.3", "in-vendor": "0.1"}, Paths: []string{"usr/lib/ruby/vendor_ruby",
		"usr/lib/x86_64-linux-gnu/rubygems-integration/3.1.0/extensions/x/3.1.0/some-1", "usr/share/rubygems-integration/all/gems/some-gem-1.2.3/lib/some-gem"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the index is %s", text)
	}
}

// TestSets has files that set variables before they require something, or change Ruby, or bring a library of
// Ruby's own, and files that do not.
func TestSets(t *testing.T) {
	_, err := os.Stat("/usr/bin/ruby")
	coretest.Requires(t, coretest.Found("/usr/bin/ruby", err == nil))
	imports, err := filepath.Abs("runtime/install/imports.rb")
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"ENV['A'] = 'b'\nrequire 'x'":                                           `["A"] false`,
		"require 'x'\nENV['A'] = 'b'":                                           `[] false`,
		"require 'x'\nENV['A'] ||= 'b'\nrequire 'y'":                            `["A"] false`,
		"ENV.store('A', '1')\nENV.delete('B')\nENV.store 'C', '1'\nrequire 'x'": `["A", "B", "C"] false`,
		"ENV.update('A' => 'b')\nrequire 'x'":                                   `["*"] false`,
		"ENV.clear\nrequire 'x'":                                                `["*"] false`,
		"name = 'A'\nENV[name] = 'b'\nrequire 'x'":                              `["*"] false`,
		"if ENV['A'].nil?\nENV['A'] = 'b'\nend\nrequire 'x'":                    `["A"] false`,
		"{ 'A' => 1 }.each { |k, v| ENV[k] = v }\nrequire 'x'":                  `["*"] false`,
		"def set = ENV['A'] = 'b'\nSET = -> { ENV['B'] = 'c' }\nrequire 'x'":    `[] false`,
		"ENV.fetch('A', nil)\nENV['B']\nENV.key?('C')\nrequire 'x'":             `[] false`,
		"require 'own'\nrequire 'x'":                                            `["OWN"] false`,
		"require_relative 'own'\n":                                              `["OWN"] false`,
		"require 'dotenv/load'\nrequire 'x'":                                    `["*"] false`,
		"class String\ndef shout = upcase\nend\nrequire 'x'":                    `["*"] false`,
		"module Kernel\ndef shout = 1\nend\nrequire 'x'":                        `["*"] false`,
		"class Mine\nend\nmodule Yours\nend\nrequire 'x'":                       `[] false`,
		"require 'x'\nclass String\ndef shout = upcase\nend":                    `[] false`,
		"Kernel.prepend(Module.new)\nrequire 'x'":                               `["*"] false`,
		"require 'a/gem'":                                                       `[] false`,
		// In files of the function's own, in the order in which they are required.
		"require_relative 'patch'\nrequire 'x'":                                  `["*"] false`,
		"require 'x'\nrequire_relative 'patch'":                                  `[] false`,
		"require_relative 'sure' if ENV['A']\nrequire 'x'":                       `["SURE"] false`,
		"require 'x'\nrequire_relative 'patch' unless ENV['A']\nrequire 'y'":     `["*"] false`,
		"Dir['lib/*.rb'].each { |file| require file }\nrequire 'x'":              `["*"] false`,
		"begin\nrequire 'x'\nrescue LoadError\nENV['A'] = '1'\nend\nrequire 'y'": `["A"] false`,
		"ENV['A'] = '1'\nbegin\nrequire 'x'\nrescue LoadError\nend":              `["A"] false`,
		// Calls to gems and to the function's own methods.
		"require 'a'\nA.mode = :fast\nrequire 'x'":                                                   `["*"] false`,
		"require 'a'\nA::B.configure { |c| c.x = 1 }\nrequire 'x'":                                   `["*"] false`,
		"require 'a'\nCLIENT = A.new\nrequire 'x'":                                                   `["*"] false`,
		"require 'a'\nA.load_path << 'x'\nrequire 'x'":                                               `["*"] false`,
		"require 'a'\nA.load_path += ['x']\nrequire 'x'":                                             `["*"] false`,
		"require 'a'\nclass A::B\nend\nrequire 'x'":                                                  `["*"] false`,
		"require 'a'\nA::MODE = 1\nrequire 'x'":                                                      `["*"] false`,
		"def boot = A.boot\nboot\nrequire 'x'":                                                       `["*"] false`,
		"module Mine\ndef self.boot = $VERBOSE = nil\nend\nMine.boot\nrequire 'x'":                   `["*"] false`,
		"def boot = ENV['A'] = '1'\nboot\nrequire 'x'":                                               `["A"] false`,
		"module Mine\ndef self.boot = go\ndef self.go = ENV['A'] = '1'\nend\nMine.boot\nrequire 'x'": `["A"] false`,
		"def later = A.go\nLOG = Logger.new($stdout)\nLOG.level = 1\nrequire 'x'":                    `["*"] false`,
		"LOG = Logger.new($stdout)\nLOG.level = 1\nLOG << 'x'\nrequire 'x'":                          `[] false`,
		"configure { }\nrequire 'x'":                                                                 `["*"] false`,
		"eval('1')\nrequire 'x'":                                                                     `["*"] false`,
		"Bundler.require\nrequire 'x'":                                                               `["*"] false`,
		// Ruby's own state.
		"$VERBOSE = nil\nrequire 'x'":                      `["*"] false`,
		"$, = ';'\nrequire 'x'":                            `["*"] false`,
		"$LOAD_PATH.unshift(__dir__)\nrequire 'x'":         `["*"] false`,
		"$: << 'lib'\nrequire 'x'":                         `["*"] false`,
		"Encoding.default_internal = 'UTF-8'\nrequire 'x'": `["*"] false`,
		"Thread.abort_on_exception = true\nrequire 'x'":    `["*"] false`,
		"Warning[:deprecated] = true\nrequire 'x'":         `["*"] false`,
		"TracePoint.trace(:call) { }\nrequire 'x'":         `["*"] false`,
		"TracePoint.new(:call) { }.enable\nrequire 'x'":    `["*"] false`,
		"String.class_eval { def shout = 1 }\nrequire 'x'": `["*"] false`,
		"def String.shout = 1\nrequire 'x'":                `["*"] false`,
		"class << Time\ndef now = 1\nend\nrequire 'x'":     `["*"] false`,
		"include Comparable\nrequire 'x'":                  `["*"] false`,
		"autoload :Later, 'later'\nrequire 'x'":            `["*"] false`,
		"trap('TERM') { }\nrequire 'x'":                    `["*"] false`,
		"alias old_puts puts\nrequire 'x'":                 `["*"] false`,
		"def require(name) = super\nrequire 'x'":           `["*"] false`,
		// What changes nothing.
		"puts 'cold'\nMODE = ENV.fetch('MODE', 'x').to_sym\n$log = Logger.new($stdout)\n$log.level = 1\n$stdout.sync = true\nrequire 'x'": `[] false`,
		"module Mine\nusing(Module.new { refine(String) { def shout = 1 } })\nend\nrequire 'x'":                                           `[] false`,
		"require 'a'\nclass Mine < A::Base\ninclude A\nattr_reader :x\nset :x, 1\nclass << self\ndef go = A.go\nend\nend\nrequire 'x'":    `[] false`,
		"NAMES = %w[a b].map(&:upcase).freeze\nNOW = Time.now\nROOT = File.expand_path('..', __dir__)\nrequire 'x'":                       `[] false`,
	} {
		dir := t.TempDir()
		drivertest.Write(t, dir, map[string]string{"handler.rb": code, "own.rb": "ENV['OWN'] = '1'\nrequire 'y'\n", "patch.rb": "class String\ndef shout = upcase\nend\n", "sure.rb": "ENV['SURE'] = '1'\n", "lib/json.rb": "", "x/set.rb": ""})
		for _, c := range []struct{ own, shadows string }{{"", "false"}, {"date.rb", "true"}, {"net/http.rb", "true"}, {"a/gem.rb", "true"}, {"etc.rb", "true"}} {
			if c.own != "" {
				drivertest.Write(t, dir, map[string]string{c.own: ""})
			}
			out, err := exec.Command("/usr/bin/ruby", "--disable=gems", "-rjson", "-ropen3", "-r"+imports, "-e",
				"i = Pipsqueak::Imports.new(ARGV[0]); i.of('handler.handler'); print i.sets.sort.inspect, ' ', i.shadows?(%w[a-gem])", dir).CombinedOutput()
			if said := strings.Replace(want, "false", c.shadows, 1); err != nil || string(out) != said {
				t.Errorf("%s\nwith %q gives %s, %v; want %s", code, c.own, out, err, said)
			}
			if c.own != "" && os.Remove(filepath.Join(dir, c.own)) != nil {
				t.Fatal("it cannot be removed")
			}
			if code != "require 'a/gem'" {
				break // one is enough for names
			}
		}
	}
}
