package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestLooks has gems look at the function's files in every way, there or not, and read the process's id and
// arguments.
func TestLooks(t *testing.T) {
	h := newHouse(t, nil)
	h.Packages = t.TempDir()
	files := map[string]string{"lib/reads_kernel.yml": ""}
	looks := map[string][2]string{
		"reads":     {`IO.read("/function/config/x.yml") rescue 0`, "./config"},
		"open":      {`open("/function/a/../b.yml") { } rescue 0`, "./b.yml"},
		"there":     {`File.exist?("/function/.env") || File.file?("/function/.env.local")`, "./.env ./.env.local"},
		"relative":  {`File.exist?("config/x.yml"); Dir.glob("*.yml"); Dir.exist?("."); open("../function/.x") { } rescue 0`, "./ ./.x ./config"},
		"stats":     {`File.stat("/function/one") rescue File.lstat("/function/two") rescue File.readable?("/function/three")`, "./one ./three ./two"},
		"lists":     {`Dir.children("/function") + Dir["/function/plugins/*.rb"]`, "./ ./plugins"},
		"globs":     {`Dir["/function/*.yml"]`, "./"},
		"each":      {`Dir.each_child("/function/part") { } rescue 0`, "./part"},
		"loads":     {`begin; load "/function/local.rb"; rescue LoadError; end`, "./local.rb"},
		"path":      {`begin; require "/function/own"; rescue LoadError; end`, "./own.rb ./own.so"},
		"same":      {`File.exist?("/function/same") && 1; File.exist?("/function/same.yml")`, "./same ./same.yml"},
		"paths":     {`$LOAD_PATH.each { |dir| File.exist?("#{dir}/extension.rb") }`, "./extension.rb"},
		"nothing":   {`Dir.exist?("/function"); File.realpath("/function"); File.expand_path("x", "/function"); Dir.chdir("/function") { }`, ""},
		"requires":  {`begin; require "missing/one"; rescue LoadError; end; require "set"; require "securerandom"; require "tmpdir"`, ""},
		"id":        {`ID = Process.pid`, "@pid"},
		"variable":  {`NAME = "x-#{$$}"; def id = 1`, "@pid"},
		"detects":   {"@pid = Process.pid\ndef self.forked? = @pid != Process.pid", ""},
		"notices":   {"class Notices\n  def initialize = @pid = $$\n  def check\n    reopen if @pid != $$\n  end\nend\nNotices.new", ""}, //nolint:misspell // a method of that name
		"keeps":     {"class Keeps\n  def initialize\n    @pid = $$\n  end\nend\nKeeps.new", "@pid"},                                     //nolint:misspell // a method of that name
		"counter":   {"class Counter\n  def initialize = @next = rand(2**24)\nend\nCOUNTER = Counter.new", "@random"},                    //nolint:misspell // the method
		"secure":    {`require "securerandom"; SALT = SecureRandom.hex`, "@random"},
		"kernel":    {`FIRST = Kernel.rand`, "@random"},
		"seed":      {`SEED = Random.new_seed`, "@random"},
		"bytes":     {`KEY = Random.urandom(16)`, "@random"},
		"object":    {`START = Random.new.rand(1000)`, "@random"},
		"order":     {`LETTERS = ("a".."z").to_a.shuffle`, "@random"},
		"cipher":    {`require "openssl"; KEY = OpenSSL::Random.random_bytes(16)`, "@random"},
		"device":    {`KEY = File.binread("/dev/urandom", 8)`, "@random"},
		"seeds":     {`srand(42)`, "@random"},
		"later":     {`R = Random.new; def self.next_id = rand(10); NEXT = -> { rand }`, ""},
		"chosen":    {`R = Random.new(42); START = R.rand(10); ORDER = [1, 2, 3].shuffle(random: R)`, ""},
		"temporary": {`require "tempfile"; require "tmpdir"; Tempfile.create { }; Dir.mktmpdir { }`, ""},
		"caller":    {`MAIN = caller.last`, "@caller"},
		"places":    {`MAIN = Kernel.caller_locations(1, 1).first.path`, "@caller"},
		"range":     {`MAIN = caller(1..).last`, "@caller"},
		"within":    {`def self.place = caller_locations(1, 1).first.path; HERE = [place, caller(0, 1), caller(100)]`, ""},
		"first":     {`def self.place = caller; HERE = [place[0], place.first, caller.size && place.at(1)]`, "@caller"},
		"nearest":   {`def self.place = caller; HERE = [place[0], place.first, place.slice(0, 1)]; def self.raises = raise(ArgumentError, "no", caller); raises rescue 0`, ""},
		"finds":     {`def self.place = caller_locations.find { |one| one.path.end_with?("handler.rb") }; HERE = place`, "@caller"},
		"timeouts":  {`require "timeout"; require "forwardable"; extend Forwardable; def_delegator :to_s, :size`, ""},
		"told":      {`def self.told = caller; THREAD = -> { told }`, ""},
		"argv":      {`VERBOSE = ARGV.include?("-v")`, "@argv"},
	}
	var packages []drivertest.Probed
	for name, one := range looks {
		files[name+".rb"] = one[0] + "\n"
		packages = append(packages, drivertest.Probed{Name: name})
	}
	drivertest.Write(t, h.Packages, files)
	found := h.Probe(t, packages)
	for name, one := range looks {
		var got []string
		for _, ask := range found[name].Asks {
			if strings.HasPrefix(ask, "./") || strings.HasPrefix(ask, "@") {
				got = append(got, ask)
			}
		}
		if strings.Join(got, " ") != one[1] {
			t.Errorf("%s looks at %q, want %q", one[0], got, one[1])
		}
	}
}

// TestDrawsThroughAnother has a gem require another one that draws, without saying so: both are seen to draw.
func TestDrawsThroughAnother(t *testing.T) {
	h := newHouse(t, nil)
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"booth.rb": "require 'ticket'\n", "ticket.rb": "TICKET = rand\n", "other.rb": ""})
	found := h.Probe(t, []drivertest.Probed{{Name: "booth"}, {Name: "ticket"}, {Name: "other"}})
	for name, p := range found {
		if slices.Contains(p.Asks, core.Random) != (name != "other") {
			t.Errorf("%s looks at %q", name, p.Asks)
		}
	}
}

// TestDrawsInC has extensions draw random numbers when they are loaded.
func TestDrawsInC(t *testing.T) {
	h := newHouse(t, nil)
	h.Packages = t.TempDir()
	var packages []drivertest.Probed
	for name, draws := range map[string]string{
		"kernel":  "getrandom(&drawn, sizeof drawn, 0);",
		"entropy": "getentropy(&drawn, sizeof drawn);",
		"ruby":    "drawn = rb_genrand_int32();",
		"real":    "drawn = rb_random_real(rb_path2class(\"Random\")) * 1000;",
		"bytes":   "drawn = rb_random_bytes(rb_path2class(\"Random\"), 8);",
		"none":    "drawn = rb_path2class(\"Random\");",
	} {
		cc := exec.Command("cc", "-xc", "-", "-shared", "-fPIC", "-o", filepath.Join(h.Packages, name+".so"))
		cc.Stdin = strings.NewReader("#include <stddef.h>\n#include <sys/random.h>\n#include <unistd.h>\n" +
			"extern unsigned rb_genrand_int32(void);\nextern double rb_random_real(unsigned long);\nextern unsigned long rb_random_bytes(unsigned long, long), rb_path2class(const char *);\n" +
			"unsigned long drawn;\nvoid Init_" + name + "(void) { " + draws + " }\n")
		if said, err := cc.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, said)
		}
		packages = append(packages, drivertest.Probed{Name: name})
	}
	found := h.Probe(t, packages)
	for name, p := range found {
		if slices.Contains(p.Asks, core.Random) != (name != "none") {
			t.Errorf("%s looks at %q", name, p.Asks)
		}
	}
}

// TestMovedSets has handlers that change the working directory and the arguments before they require
// something.
func TestMovedSets(t *testing.T) {
	h := newHouse(t, map[string]string{"moves.rb": "Dir.chdir('/tmp')\n"})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"moving.rb": "Dir.chdir('/tmp') { }\nmodule Moving\n  def self.go = Dir.chdir('/tmp')\nend\n"})
	root := h.Root(t)
	for code, want := range map[string]string{
		"Dir.chdir('/tmp')": "./",
		"require 'moves'":   "./",
		"require 'fileutils'\nFileUtils.cd('/tmp') {}": "./",
		"Dir.chdir(Dir.pwd)":                           "",
		"require 'moving'":                             "",
		"require 'moving'\nMoving.go":                  "./",
		"ARGV << '-v'":                                 "@argv",
		"ARGV.clear":                                   "",
	} {
		drivertest.Write(t, h.Code, map[string]string{"handler.rb": code + "\ndef handler(event:, context:) = 1\n"})
		for start, parent := range map[string]*sandbox.Sandbox{"root": root} {
			if got := strings.Join(h.Sets(t, parent, filesSet), " "); got != want {
				t.Errorf("%s: %q sets %q, want %q", start, code, got, want)
			}
		}
	}
}
