package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// scanKinds are kinds of code, each with variations: every one of a kind is found, and none of harmless is.
var scanKinds = []struct {
	name, rule      string
	found, harmless []string
}{
	{"system calls", "process", []string{
		"syscall 59, '/bin/sh'", "Kernel.syscall(57)", "Fiddle.dlopen(nil)", "def open = L\nFiddle::Function.new(open['system'], [1], 1)", "module L\nextend FFI::Library\nattach_function :system, [:string], :int\nend",
		"open('|id')", "IO.read('|id')", "Process.fork { 1 }", "::Kernel.system('id')", "send(:system, 'id')", "Kernel.public_send('exec', 'id')",
	}, []string{"def f = syscall(59)", "Fiddle::Function.new(L['setupterm'], [1], 1)", "open('a.txt')", "module L\nattach_function :strlen, [:string], :int\nend", "x.send(:read, 'id')"}},
	{"hooks", "process", []string{
		"class B\ndef self.inherited(k) = system('id')\nend\nclass A < B\nend",
		"class B\ndef self.inherited(k) = system('id')\nend\nA = Class.new(B)",
		"module M\ndef self.included(k) = system('id')\nend\nclass A\ninclude M\nend",
		"module M\ndef self.extended(k) = system('id')\nend\nclass A\nextend M\nend",
		"module M\ndef self.prepended(k) = system('id')\nend\nclass A\nprepend M\nend",
		"class A\ndef self.method_added(n) = system('id')\ndef x = 1\nend",
		"class A\ndef initialize = system('id')\nend\nA.new", //nolint:misspell // the method
		"class A\ndef go = system('id')\nend\nA.new.go",
		"class A\nsystem('id')\nend",
	}, []string{"class B\ndef self.inherited(k) = system('id')\nend", "module M\ndef self.included(k) = system('id')\nend", "class A\ndef go = system('id')\nend\nA.new"}},
	{"secrets", "secrets", []string{
		"def a = ENV.to_h\ndef b = Net::HTTP.post(u, a.to_s)",
		"def a\n@d = ENV.to_h\nend\ndef b\nNet::HTTP.post(u, @d.to_s)\nend",
		"def a = File.read('/root/.ssh/id_rsa')\ndef b\nd = a\nNet::HTTP.post(u, d)\nend",
		"def a\n$d = ENV.inspect\nend\ndef b = TCPSocket.new('x', 1).write($d)",
		"D = ENV.to_a\ndef b = Net::HTTP.post(u, D.to_s)",
		"class A\ndef read = File.read(File.expand_path('~/.aws/credentials'))\ndef send_it = RestClient.post(u, read)\nend",
		"def a = ENV.map { |k, v| k + v }\ndef b\n@x = a\nend\ndef c = HTTParty.post(u, body: @x)",
	}, []string{"def a = ENV['TOKEN']\ndef b = Net::HTTP.post(u, a)", "def a = ENV.to_h\ndef b = Net::HTTP.get(u)", "def b = Net::HTTP.post(u, @d)"}},
	{"data files", "hidden-code", []string{
		"eval(File.read('data.txt'))", "eval(File.read(File.join(__dir__, 'logo.png')))", "x = File.binread('a.bin')\neval(x)", "instance_eval(IO.read('a.dat'))", "eval(File.open('a.txt').read)",
		"Marshal.load(File.binread('a.bin'))", "Marshal.load('x')", "load 'notes.md'", "RubyVM::InstructionSequence.load_from_binary(File.binread('a.bin')).eval", "require 'zlib'\neval(Zlib::Inflate.inflate(File.binread('a.gz')))",
	}, []string{"eval(File.read('x.gemspec'))", "eval(File.read(path))", "Marshal.load(data)", "load 'x.rb'", "File.read('data.txt')", "eval('1')"}},
	{"invisible", "hidden-code", []string{
		"a = 1 # \u202e turned", "a = '\u2066x\u2069'", "a = '" + strings.Repeat("\u200b\u200c", 9) + "'", "a = \"" + strings.Repeat("\U000e0101", 20) + "\"", "\u0435v\u0430l = 1", "def \u0440uts = 1", "class \u0410rray\nend", "@v\u0430lue = 1",
	}, []string{"a = '\U0001f468\u200d\U0001f469'", "# привет", "имя = 1", "a = 'е'", "\u03c3_x = 1"}},
}

// TestScanKinds scans variations of each kind.
func TestScanKinds(t *testing.T) {
	coretest.Requires(t, coretest.File("/usr/bin/ruby"))
	for _, kind := range scanKinds {
		text, err := json.Marshal(append(append([]string{}, kind.found...), kind.harmless...))
		if err != nil {
			t.Fatal(err)
		}
		const program = "require 'json'; puts JSON.generate(JSON.parse(STDIN.read).map { |code| Pipsqueak::Suspicions.of(code).map { |found| found.join(' ') } })"
		run := exec.CommandContext(t.Context(), "/usr/bin/ruby", "--disable=gems", "-r./runtime/scan/suspicions", "-e", program)
		run.Stdin = strings.NewReader(string(text))
		said, err := run.CombinedOutput()
		var got [][]string
		if err == nil {
			err = json.Unmarshal(said, &got)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		for i, code := range kind.found {
			if found := strings.Join(got[i], "\n"); !strings.Contains("\n"+found, "\n"+kind.rule) {
				t.Errorf("%s: %q is found in\n%s", kind.name, found, code)
			}
		}
		for i, code := range kind.harmless {
			if found := got[len(kind.found)+i]; len(found) > 0 {
				t.Errorf("%s: %q is found in\n%s", kind.name, found, code)
			}
		}
	}
}
