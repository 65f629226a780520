package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestGemMethod: the method gem answers as RubyGems does for the function's gems, Ruby's own and missing
// ones.
func TestGemMethod(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.rb": `
def handler(event:, context:)
  eval(event)
rescue LoadError => e
  [e.class.name, e.respond_to?(:name) ? e.name : nil, e.message[/did find: .[\w.-]+/]]
end
`})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{
		"pipsqueak.json":                 `{"gems": {"own": "2.1"}, "paths": ["gems/own-2.1/lib"]}`,
		"gems/own-2.1/lib/own.rb":        "OWN = 2\n",
		"specifications/own-2.1.gemspec": "Gem::Specification.new { |s| s.name = 'own'; s.version = '2.1'; s.summary = 'x'; s.authors = ['x'] }\n",
	})
	root := h.Root(t)
	for code, want := range map[string]string{
		`[gem("own"), gem("own", "~> 2.0"), gem("own", ">= 1", "< 3"), $LOADED_FEATURES.grep(/rubygems.rb/)]`: "[true,true,true,[]]",
		`gem("own", "~> 1.0")`:                   `["Gem::MissingSpecVersionError","own","did find: [own-2.1"]`,
		`gem("missing")`:                         `["Gem::MissingSpecError","missing",null]`,
		`[gem("bigdecimal"), gem("own", "> 2")]`: "[true,false]", // RubyGems says by false that it is in use
		`begin; gem("missing"); rescue LoadError; end; [Gem.loaded_specs["own"].version.to_s, Gem.loaded_specs["own"].class.name, Gem.loaded_specs["none"]]`: `["2.1","Gem::Specification",null]`,
		`gem("bigdecimal", "< 0.1")`:             `["Gem::MissingSpecVersionError","bigdecimal","did find: [bigdecimal-3.1.1"]`,
		`[gem("rake", "< 99"), require("rake")]`: "[true,true]",
		`gem("own"); require "own"; OWN`:         "2",
	} {
		if got := eval(t, h.Instance(t, root, filesSet), code); got != "R"+want {
			t.Errorf("%s\n\tis %.400s\n\twant R%s", code, got, want)
		}
	}
}
