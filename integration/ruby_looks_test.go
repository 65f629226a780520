package integration

import (
	"fmt"
	"testing"
)

// Does a gem that looks at the function's files, the process's id or the arguments when it is required find the function's own?

// TestRubyLooks has functions with different files for a gem that reads one when it is required, one without, and one that goes elsewhere before.
func TestRubyLooks(t *testing.T) {
	system(t)
	index := gemIndex(t, []gem{
		{"settings", "1.0", "", files{"lib/settings.rb": "sleep 0.06\nMODE = File.exist?('config/mode') ? File.read('config/mode') : 'none'\n"}},
		{"badge", "1.0", "", files{"lib/badge.rb": "sleep 0.06\nBADGE = Process.pid\n"}},
	})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	function := func(before string) files {
		return rubyFile(before+"require 'settings'\nrequire 'badge'\ndef handler(event:, context:) = [MODE, BADGE == Process.pid ? 'own' : 'another']\n").
			with("Gemfile", fmt.Sprintf("source %q\ngem 'settings'\ngem 'badge'\n", index)).with("pipsqueak.yaml", "reuse: false\n")
	}
	functions := map[string]files{
		"without": function(""), "one": function("").with("config/mode", "one"), "two": function("").with("config/mode", "two"),
		"moved": function("Dir.chdir('part')\n").with("part/config/mode", "part"),
	}
	want := map[string][2]string{"without": {"none", "own"}, "one": {"one", "own"}, "two": {"two", "own"}, "moved": {"part", "own"}}
	inOrder(t, functions, want, []string{"without", "one", "moved", "two"}, []string{"two", "one", "moved", "without"})
}
