package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

var filesSet = core.NewSet(core.Package{Name: "files", Version: "1", Digest: "any"}) // the house shows its files for every package

// TestWatch has modules that read environment variables when they are required: by their names, through C,
// and all of them.
func TestWatch(t *testing.T) {
	h := newHouse(t, map[string]string{
		"named.rb":  "ENV['ONE']; ENV.fetch('TWO', 1); ENV.key?('THREE'); ENV.values_at('FOUR'); ENV.slice('FIVE'); ENV.delete('SIX'); def later = ENV['SEVEN']\n",
		"native.rb": "require 'fiddle'\nFiddle::Function.new(Fiddle::Handle::DEFAULT['getenv'], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOIDP).call('EIGHT')\n",
		"all.rb":    "ENV.to_h\n", "each.rb": "ENV.each { |*| }\n", "select.rb": "ENV.select { |*| }\n", "any.rb": "ENV.any? { |*| }\n", "map.rb": "ENV.map { 1 }\n",
		"writes.rb": "ENV['NINE'] = '9'\n", "quiet.rb": "require 'set'\nrequire 'net/http'\nrequire 'time'\nNOW = Time.now\n",
		"local.rb": "OFFSET = Time.at(0).utc_offset\n", "noon.rb": "NOON = Time.local(2026, 7, 1, 12)\n", "zone.rb": "ZONE = Time.now.strftime('%Z')\n", "today.rb": "require 'date'\nTODAY = Date.today\n", "raises.rb": "ENV['TEN']\nraise 'no'\n",
	})
	root := h.Root(t)
	for module, want := range map[string]string{"named": "FIVE FOUR ONE SIX THREE TWO", "native": "EIGHT", "all": "*", "each": "*", "select": "*", "any": "*", "map": "*", "writes": "", "quiet": "", "local": "TZ", "noon": "TZ", "zone": "TZ", "today": "TZ"} {
		z, _, err := h.Zygote(t, root, filesSet)
		if err != nil {
			t.Fatal(err)
		}
		report, err := h.Import(t.Context(), z.Door().ID, core.Load{Packages: []string{"/packages/files-1"}, Modules: []string{module}, Watch: true})
		if got := strings.Join(report.Reads, " "); err != nil || got != want {
			t.Errorf("%s reads %q, want %q: %v", module, got, want, err)
		}
	}
	z, report, err := h.Zygote(t, root, filesSet, "named")
	if err != nil || report.Reads != nil {
		t.Errorf("unasked it tells of %q, %v", report.Reads, err)
	}
	if _, err := h.Import(t.Context(), z.Door().ID, core.Load{Packages: []string{"/packages/files-1"}, Modules: []string{"raises"}, Watch: true}); !core.IsKind(err, core.KindException) {
		t.Error(err)
	}
}

// TestGenerators has packages that keep generators of random numbers. Ruby's own are seeded again in each
// child, but for those that their author has seeded; of others the probe finds out.
func TestGenerators(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": evaluator["handler.rb"],
		"keeps.rb":   "class Kept < Random\n  def initialize(_, _) = super()\nend\nmodule Keeps\n  ONE = Random.new\n  CHOSEN = Random.new(42)\n  @own = Kept.new(1, 2)\n  FROZEN = Random.new.freeze\n  class << self; attr_reader :own; end\nend\n",                 //nolint:misspell // the method
		"lcg.rb":     "class Lcg\n  def initialize = @state = Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)\n  def rand = @state = (@state * 6364136223846793005 + 1) % 2**64\nend\nmodule Words\n  RNG = Lcg.new\n  def self.random = RNG.rand\nend\n", //nolint:misspell // the method
		"quiet.rb":   "class Quiet\n  def rand(a, b) = raise\n  def uuid = raise\nend\nQUIET = Quiet.new\n",
	})
	root := h.Root(t)
	first, _, err := h.Zygote(t, root, filesSet, "keeps")
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := h.Zygote(t, first, filesSet, "quiet", "lcg")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for n := range 6 {
		s := h.Instance(t, []*sandbox.Sandbox{first, second}[n%2], filesSet)
		for _, source := range []string{"Keeps::ONE.rand(2**60)", "Keeps.own.rand(2**60)"} {
			got := eval(t, s, source)
			if seen[got] {
				t.Errorf("%s is %s in siblings", source, got)
			}
			seen[got] = true
		}
		if got := eval(t, s, "[Keeps::CHOSEN.seed, Keeps::CHOSEN.rand(100)]"); got != "R[42,51]" {
			t.Errorf("what its author has seeded gives %s", got)
		}
	}
	var drawn []map[string]string
	for range 2 {
		z, _, err := h.Zygote(t, second, filesSet)
		if err != nil {
			t.Fatal(err)
		}
		report, err := h.Import(t.Context(), z.Door().ID, core.Load{Packages: []string{"/packages/files-1"}, Draw: []string{"lcg"}})
		if err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, report.Drawn)
	}
	if one := drawn[0]["lcg"]; len(strings.Split(one, "\n")) < 2 || !strings.Contains(one, "Lcg.rand ") || one != drawn[1]["lcg"] {
		t.Errorf("drawn are %q", drawn)
	}
}

// TestNames has files of a function that are named as libraries of Ruby's own, which the runtime has loaded
// and which not: as a plain Ruby does it, the function's come first, whatever the process was forked from.
func TestNames(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": "require 'json'\nrequire 'ostruct'\nrequire 'date'\ndef handler(event:, context:) = [JSON, OpenStruct.new.own, Date, event]\n",
		"json.rb":    "JSON = 'own'\n", "date.rb": "Date = 'own'\n", "ostruct.rb": "class OpenStruct\n  def own = 'own'\n  def method_missing(*) = nil\nend\n",
	})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"other.rb": "OTHER = 1\n"})
	root := h.Root(t)
	z, _, err := h.Zygote(t, root, filesSet, "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sandbox.Sandbox{h.Instance(t, root, nil), h.Instance(t, z, filesSet), h.Instance(t, z, filesSet)} {
		for range 2 {
			if got := drivertest.Ask(t, s, `{"a":[1.5,null,"x"]}`); got != `R["own","own","own",{"a":[1.5,null,"x"]}]` {
				t.Error(got)
			}
		}
	}
	// And a gem at another version than Ruby's.
	drivertest.Write(t, h.Packages, map[string]string{"json.rb": "module JSON\n  VERSION = '9.9'\nend\n", "pipsqueak.json": `{"gems":{"json":"9.9"},"paths":["."]}`})
	drivertest.Write(t, h.Code, map[string]string{"handler.rb": "require 'json'\ndef handler(event:, context:) = [JSON::VERSION, defined?(JSON::Parser), Gem.loaded_specs['json'].version.to_s, event]\n"})
	if err := os.Remove(filepath.Join(h.Code, "json.rb")); err != nil {
		t.Fatal(err)
	}
	with, _, err := h.Zygote(t, root, filesSet, "json")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sandbox.Sandbox{h.Instance(t, root, filesSet), h.Instance(t, with, filesSet)} {
		if got := drivertest.Ask(t, s, `{"a":1}`); got != `R["9.9",null,"9.9",{"a":1}]` {
			t.Error(got)
		}
	}
}

func TestDottedHandlers(t *testing.T) {
	h := newHouse(t, map[string]string{
		"app/main.rb": "def run(event:, context:) = 'dotted'\nmodule Deep\n  class Api\n    def self.process(event:, context:) = 'class'\n  end\nend\n",
		"app.rb":      "module Top\n  def self.call(event:, context:) = 'file'\nend\n",
	})
	root := h.Root(t)
	for handler, want := range map[string]string{"app.main.run": "dotted", "app/main.run": "dotted", "app.main.Deep::Api.process": "class", "app/main.Deep::Api.process": "class"} {
		if handler == "app.main.run" || handler == "app.main.Deep::Api.process" {
			_ = os.Remove(filepath.Join(h.Code, "app.rb")) // a file app.rb would come first
		}
		s := h.Instance(t, root, nil, func(load *core.HandlerLoad) { load.Handler = handler })
		if got := drivertest.Ask(t, s, "1"); got != fmt.Sprintf("R%q", want) {
			t.Errorf("%s: %s", handler, got)
		}
	}
	drivertest.Write(t, h.Code, map[string]string{"app.rb": "module Top\n  def self.call(event:, context:) = 'file'\nend\n"})
	s := h.Instance(t, root, nil, func(load *core.HandlerLoad) { load.Handler = "app.Top.call" })
	if got := drivertest.Ask(t, s, "1"); got != `R"file"` {
		t.Error(got)
	}
}

// TestThreadCounts has a library with OpenMP's function, loaded with the handler or with a package of a
// zygote.
func TestThreadCounts(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": "require_relative 'loads'\ndef handler(event:, context:) = Fiddle::Pointer.new(LIBRARY['number'])[0, Fiddle::SIZEOF_INT].unpack1('i')\n",
		"loads.rb":   "require 'fiddle'\nLIBRARY = Fiddle.dlopen(\"#{__dir__}/libfake-openblas.so\") unless defined?(LIBRARY)\n",
	})
	cc := exec.Command("cc", "-xc", "-", "-shared", "-fPIC", "-o", filepath.Join(h.Code, "libfake-openblas.so"))
	cc.Stdin = strings.NewReader("int number = -1;\nvoid omp_set_num_threads(int n) { number = n; }\n")
	if said, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	root := h.Root(t)
	z, _, err := h.Zygote(t, root, filesSet, "loads")
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []*sandbox.Sandbox{root, z} {
		for variable, want := range map[string]string{"": "R3", "OMP_NUM_THREADS=7": "R7", "OMP_NUM_THREADS=no": "R3"} {
			s := h.Instance(t, parent, filesSet, func(load *core.HandlerLoad) {
				load.Processors = 3
				if name, value, set := strings.Cut(variable, "="); set {
					load.Env = map[string]string{name: value}
				}
			})
			if got := drivertest.Ask(t, s, "1"); got != want {
				t.Errorf("with %q there are %s threads, want %s", variable, got, want)
			}
		}
	}
}
