package integration

import (
	"fmt"
	"testing"
)

// Does a gem that looks at the function's files, the process's id or the arguments when it is required find
// the function's own?

// TestRubyLooks has functions with different files for a gem that reads one when it is required, one without,
// and one that goes elsewhere before.
func TestRubyLooks(t *testing.T) {
	system(t)
	index := gemIndex(t, []gem{
		{"settings", "1.0", "", files{"lib/settings.rb": "sleep 0.06\nMODE = File.exist?('config/mode') ? File.read('config/mode') : 'none'\n"}},
		{"badge", "1.0", "", files{"lib/badge.rb": "sleep 0.06\nBADGE = Process.pid\n"}},
		{"home", "1.0", "", files{"lib/home.rb": "sleep 0.06\nHOME = caller.find { |place| place.start_with?('/function/') }&.slice(/[^:]+/)\n"}},
	})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	function := func(before string) files {
		return rubyFile(before+"require 'settings'\nrequire 'badge'\nrequire 'home'\n"+
			"def handler(event:, context:) = [MODE, BADGE == Process.pid && HOME == __FILE__ ? 'own' : 'another']\n").
			with("Gemfile", fmt.Sprintf("source %q\ngem 'settings'\ngem 'badge'\ngem 'home'\n", index)).with("pipsqueak.yaml", "reuse: false\n")
	}
	functions := map[string]files{
		"without": function(""), "one": function("").with("config/mode", "one"), "two": function("").with("config/mode", "two"),
		"moved": function("Dir.chdir('part')\n").with("part/config/mode", "part"),
	}
	want := map[string][2]string{"without": {"none", "own"}, "one": {"one", "own"}, "two": {"two", "own"}, "moved": {"part", "own"}}
	inOrder(t, functions, want, []string{"without", "one", "moved", "two"}, []string{"two", "one", "moved", "without"})
}

// TestRubyDraws has a gem that keeps what it has drawn when it was required: no two instances have the same.
func TestRubyDraws(t *testing.T) {
	system(t)
	index := gemIndex(t, []gem{
		{"ticket", "1.0", "", files{"lib/ticket.rb": "sleep 0.06\nTICKET = rand(2**60)\n"}},
		{"booth", "1.0", "", files{"lib/booth.rb": "sleep 0.06\nrequire 'ticket'\nFIRST = TICKET + 1\n"}},
	})
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "tickets", rubyFile("require 'booth'\ndef handler(event:, context:) = FIRST\n").
		with("Gemfile", fmt.Sprintf("source %q\ngem 'booth'\ngem 'ticket'\n", index)).with("pipsqueak.yaml", "reuse: false\n"))
	w.probed(t, "tickets")
	seen := map[int]bool{}
	for range 4 {
		seen[result[int](t, w, "tickets", `{}`)] = true
	}
	if len(seen) != 4 {
		t.Errorf("four instances have %d tickets", len(seen))
	}
}
