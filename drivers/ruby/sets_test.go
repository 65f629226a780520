package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestWatchedSets has handlers that set variables in every way, and gems that do when they are required and
// when they are called: what counts is what the function's own code does, wherever the instance was forked
// from.
func TestWatchedSets(t *testing.T) {
	const handler = "\ndef handler(event:, context:) = 1\n"
	h := newHouse(t, map[string]string{
		"cfg.rb": "module Cfg\n  def self.setup = ENV['OF_SETUP'] = '1'\n  def self.within\n    ENV['FOR_A_WHILE'] = '1'\n    yield\n  ensure\n    ENV.delete('FOR_A_WHILE')\n  end\nend\nclass Base\n  def self.inherited(one) = ENV['OF_CLASS'] = '1'\nend\n",
	})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{
		"own_mind.rb":      "ENV['BY_GEM'] = '1'\nENV['KEPT'] ||= 'x'\nrequire 'own_mind/part'\nmodule OwnMind\n  def self.load(name) = ENV[name] = '1'\n  def self.lazy = require('own_mind/lazy')\n  BLOCK = ->(name) { ENV[name] = '1' }\n  def self.configure = yield\nend\n",
		"own_mind/part.rb": "def run_part = ENV.store('BY_PART', '1')\nrun_part\neval(\"ENV['BY_EVAL'] = '1'\")\n",
		"own_mind/lazy.rb": "ENV.update('BY_LAZY' => '1')\n",
	})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, filesSet, "own_mind")
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"":                         "",
		"require 'cfg'\nCfg.setup": "OF_SETUP",
		"require_relative 'cfg'\nclass A < Base; end":      "OF_CLASS",
		"require 'cfg'\nCfg.within { require 'own_mind' }": "FOR_A_WHILE",
		"[1].each { ENV['OF_BLOCK'] = '1' }":               "OF_BLOCK",
		"eval(\"ENV['OF_EVAL'] = '1'\")":                   "OF_EVAL",
		"define_method(:x) { ENV['LATER'] = '1' } if false\nENV['A'] = 'b'\nENV['A'] ||= 'c'\nENV.delete('NONE')": "",
		"ENV.update('B' => '2', 'C' => '3')\nENV.delete('A')":                                                     "A B C",
		"ENV.delete_if { |name, _| name == 'A' }":                                                                 "A",
		"Thread.new { ENV['OF_THREAD'] = '1' }.join":                                                              "OF_THREAD",
		"Object.send(:remove_const, :ENV)\nENV = {}":                                                              "*",
		"require 'own_mind'":               "",
		"require 'own_mind'\nOwnMind.lazy": "",
		"require 'own_mind'\nOwnMind.load('BY_CALL')\nOwnMind::BLOCK.call('BY_BLOCK')\nOwnMind.configure { ENV['OF_BLOCK'] = '1' }": "BY_BLOCK BY_CALL OF_BLOCK",
		"begin\n  ENV['A'] = 1\nrescue TypeError\nend": "",
	} {
		drivertest.Write(t, h.Code, map[string]string{"handler.rb": code + handler})
		for start, parent := range map[string]*sandbox.Sandbox{"cold": root, "forked": zygote} {
			if got := strings.Join(h.Sets(t, parent, filesSet), " "); got != want {
				t.Errorf("%s, %q sets %q, want %q", start, code, got, want)
			}
		}
	}
}
