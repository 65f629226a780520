package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestNothingLoaded: a function finds loaded what a plain Ruby has loaded, and nothing that the runtime has
// loaded for itself.
func TestNothingLoaded(t *testing.T) {
	h := newHouse(t, map[string]string{"asks.rb": "ADAPTER = defined?(::JSON::Ext::Parser) ? 'json' : 'own'\n", "handler.rb": `
LOOK = <<~RUBY
  [Object.constants, Kernel.private_instance_methods(false), Class.instance_methods(false), Object.new.methods, Module.instance_methods(false),
   $LOADED_FEATURES.grep_v(%r{\\A/(pipsqueak|packages|function)/})].map { |all| all.map(&:to_s) }
RUBY
HERE = eval(LOOK)

def plain = IO.popen(["ruby", "--disable=gems", "-e", "print Marshal.dump(#{LOOK})"], "rb") { |io| Marshal.load(io) }

def handler(event:, context:)
  case event
  when "more" then HERE.zip(plain).map { |here, there| here - there - %w[Pipsqueak PipsqueakZygote Gem gem LOOK HERE ADAPTER handler.rb plain handler asks] }
  when "uses" then JSON.parse("[1]")
  when "inside" then Inside.new.call
  when "missing" then Json
  when "adapter" then [require("asks"), ADAPTER].last
  when "own" then require("json") && Own.new
  end
end

class Own
  def to_json(state) = JSON.generate(state.is_a?(JSON::State))
end

class Inside
  def call = [JSON::VERSION.empty?, defined?(OpenStruct)]
end
`})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, filesSet, "asks")
	if err != nil {
		t.Fatal(err)
	}
	for start, from := range map[string]*sandbox.Sandbox{"root": root, "zygote": zygote} {
		for event, want := range map[string]string{
			"uses": "R[1]", "inside": `R[false,"constant"]`, "missing": `X{"type":"NameError","message":"uninitialized constant Json","stack":["/function/handler.rb:15:in ` + "`handler'\"]}",
			"own": "Rtrue", "adapter": `R"own"`, "more": "R[[],[],[],[],[],[]]",
		} {
			s := h.Instance(t, from, filesSet)
			if got := drivertest.Ask(t, s, `"`+event+`"`); got != want {
				t.Errorf("%s, %s: %s, want %s", start, event, got, want)
			}
		}
	}
}
