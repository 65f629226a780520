package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestAsks has packages look for others in every way, there or not, and finds for which. Each is probed after
// those before it, in the same process.
func TestAsks(t *testing.T) {
	try := func(code string) string { return "begin\n  " + code + "\nrescue LoadError, NameError\n  nil\nend\n" }
	packages := []drivertest.Probed{
		{Name: "there", Source: "THERE = 1\n"},
		{Name: "again", Source: "require 'there'\n"}, // there has been required
		{Name: "caught", Source: try("require 'missing/part'") + try("require 'gone.rb'") + try("require 'native.so'") + try("Kernel.require 'by_kernel'")},
		{Name: "loads", Source: try("load 'loaded.rb'") + "load 'there.rb'\n"},
		{Name: "own", Source: "require_relative 'own_part'\n" + try("require './there'") + try("require '/nowhere'") + "require 'inner/one'\n"},
		{Name: "auto", Source: "autoload :Auto, 'auto_missing'\n" + try("Auto") + "autoload :Later, 'auto_later'\n"},
		{Name: "odd", Source: "begin\n  require Class.new { def to_path = raise('no') }.new\nrescue StandardError\n  nil\nend\nbegin\n  require nil\nrescue TypeError\n  nil\nend\n"},
		{Name: "gems", Source: try("gem 'some-gem', '> 1'") + "Gem.loaded_specs['spec-one']\nGem.loaded_specs.key?('spec-two')\n"},
		{Name: "again_gems", Source: try("gem 'other-gem'") + "Gem.loaded_specs['spec-one']\n"},
		{Name: "lists", Source: "Gem.loaded_specs.keys\n"},
		{Name: "rubygems", Source: try("Gem::Specification.find_by_name('by-name')")},
		{Name: "constants", Source: "RAILS = defined?(::Rails::Railtie)\nOJ = [defined?(Oj), Object.const_defined?(:RSpec)]\ndef later = defined?(Later)\n"},
		{Name: "standard", Source: "require 'prettyprint'\nrequire 'pp'\nrequire 'ipaddr'\n"},
		{Name: "standard_again", Source: "require 'ipaddr'\n"},
	}
	files := map[string]string{"own_part.rb": "", "inner/one.rb": ""}
	for i, p := range packages {
		if p.Name == "rubygems" { // which is one of Ruby's own
			p.Name = "asks_rubygems"
			packages[i] = p
		}
		files[p.Name+".rb"] = p.Source
	}
	found := newHouse(t, files).Probe(t, packages)
	for name, want := range map[string]string{
		"there": "there.rb", "again": "again.rb there.rb", "caught": "by_kernel.rb caught.rb gone.rb missing/part.rb native.rb", "loads": "loaded.rb loads.rb there.rb",
		"own": "./there.rb ./there.so inner/one.rb own.rb", "auto": "auto.rb auto_missing.rb", "lists": "*",
		"constants": "constants.rb oj.rb r_spec.rb rails/railtie.rb rspec.rb", "odd": "odd.rb",
	} {
		if got := strings.Join(found[name].Asks, " "); got != want {
			t.Errorf("%s asks for %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string][]string{"asks_rubygems": {"by-name"}, "gems": {"some-gem", "spec-one", "spec-two"}, "again_gems": {"other-gem", "spec-one"}, "standard": {"prettyprint.rb", "ipaddr.rb", "socket.rb"}, "standard_again": {"ipaddr.rb", "socket.rb"}} {
		for _, one := range want {
			if !slices.Contains(found[name].Asks, one) {
				t.Errorf("%s asks for %v, and not for %s", name, found[name].Asks, one)
			}
		}
	}
}
