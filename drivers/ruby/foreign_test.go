package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestForeignObjects has handlers whose objects answer nothing that an object should, or answer it wrong: the
// event has its answer, and so has the next.
func TestForeignObjects(t *testing.T) {
	h := newHouse(t, evaluator)
	root := h.Root(t)
	bad := func(methods string) string { return "class Bad < StandardError; " + methods + "; end; raise Bad, 'm'" }
	for code, want := range map[string]string{
		bad("def backtrace = raise('x')"): `X{"type":"Bad","message":"m","stack":[`,
		bad("def backtrace = exit"):       `X{"type":"Bad","message":"m","stack":[`,
		bad("def backtrace = 5"):          `X{"type":"Bad","message":"m","stack":[`,
		bad("def backtrace = [1, nil]"):   `X{"type":"Bad","message":"m","stack":[`,
		bad("def backtrace = ['mine']"):   `X{"type":"Bad","message":"m","stack":["mine"]`,
		bad("def class = raise"):          `X{"type":"Bad","message":"m"`,
		bad("def class = 5"):              `X{"type":"Bad","message":"m"`,
		bad("def self.name = raise"):      `X{"type":"Bad","message":"m"`,
		bad("def self.name = 5"):          `X{"type":"Bad","message":"m"`,
		bad("def inspect = raise; def to_s = raise; def full_message(*) = raise; def message = raise"): `X{"type":"Bad","message":"(its text`,
		bad("def message = exit"):            `X{"type":"Bad","message":"(its text`,
		bad("def message = throw(:x)"):       `X{"type":"Bad","message":"(its text`,
		bad("def message = message"):         `X{"type":"Bad","message":"(its text`,
		bad("def message = nil"):             `X{"type":"Bad","message":""`,
		bad("def message = BasicObject.new"): `X{"type":"Bad","message":"(its text`,
		bad("def message = Class.new(String) { def dup = raise; def encoding = raise; def to_s = self; def bytesize = raise }.new('odd')"):                                                 `X{"type":"Bad","message":"odd"`,
		bad("def message = 'grün'.encode('UTF-16LE').freeze"):                                                                                                                              `X{"type":"Bad","message":"grün"`,
		bad("def is_a?(*) = raise; def respond_to?(*) = raise; def respond_to_missing?(*) = raise; def method_missing(*) = raise; def hash = raise; def ==(o) = raise; def cause = raise"): `X{"type":"Bad","message":"m"`,
		"raise StandardError.new('m').freeze":                         `X{"type":"StandardError","message":"m"`,
		"raise Class.new { def self.exception(*) = BasicObject.new }": `X{"type":"TypeError"`,
		"def f(n) = f(n + 1); f(0)":                                   `X{"type":"SystemStackError"`,
		"proc { return 1 }.call":                                      "",
		"throw :x":                                                    `X{"type":"UncaughtThrowError"`,
		"BasicObject.new":                                             `L{"kind":"invalid","message":"the result of handler.handler (a BasicObject)`,
		"Class.new { def class = raise; def to_json(*) = raise; def to_h = raise; def inspect = raise }.new": `L{"kind":"invalid"`,
		"Class.new { def respond_to?(*) = raise; def to_s = raise; def to_json(*) = throw(:x) }.new":         `L{"kind":"invalid"`,
		"Class.new(BasicObject) { def method_missing(*) = ::Kernel.raise('all') }.new":                       `L{"kind":"invalid"`,
		"Class.new(Hash) { def to_json(*) = raise; def each = raise; def keys = raise }.new":                 "",
		"{ a: Class.new { def to_json(*) = 5 }.new }":                                                        `L{"kind":"invalid"`,
		"Class.new { def to_json(*a) = to_json(*a) }.new":                                                    `L{"kind":"invalid"`,
		"$stdout.close; 1": "R1",
		"$stderr.close; $stdout.close; STDIN.close; 1":                                     "R1",
		"STDOUT.close_write; 1":                                                            "R1",
		"IO.for_fd(1).close; IO.for_fd(2).close; 1":                                        "R1",
		"$stdout = Class.new { def write(*) = raise('w'); def flush = raise('f') }.new; 1": "R1",
		"$stdout = $stderr = Class.new(BasicObject) { def write(*) = 0; def flush = ::Kernel.exit; def respond_to?(*) = true }.new; 1":                                                "R1",
		"require 'stringio'; $stdout = StringIO.new; puts 'x'; $stdout.string":                                                                                                        `R"x\n"`,
		"$stdout.reopen('/dev/null'); $stderr.reopen($stdout); 1":                                                                                                                     "R1",
		"at_exit { raise 'late' }; at_exit { exit! 3 }; 1":                                                                                                                            "R1",
		"module Kernel; def puts(*) = raise; def print(*) = raise; def p(*) = raise; end; 1":                                                                                          "R1",
		"class Object; def to_json(*) = raise; def to_s = raise; def inspect = raise; def then = raise; def tap = raise; def dup = raise; def clone = raise; end; {a: [1, 'x', nil]}": `R{"a":[1,"x",null]}`,
		"class Object; def to_json(*) = 'no'; end; class Hash; def to_json(*) = 'no'; def slice(*) = raise; def each_key = raise; end; {a: 1}":                                        `R{"a":1}`,
		"module JSON; def self.generate(*) = raise; def self.parse(*) = raise; end; {a: 1}":                                                                                           `R{"a":1}`,
		"class Thread; def inspect = raise; def to_s = raise; end; Thread.new { sleep }; 1":                                                                                           "R1",
		"class NilClass; def method_missing(*) = nil; end; 1":                                                                                                                         "R1",
		"class Array; def join(*) = raise; def first(*) = raise; def map = raise; end; class String; def to_s = raise; def bytes = raise; end; 1":                                     "R1",
		"$, = '-'; $; = '-'; $/ = 'x'; $\\ = 'y'; [1, 2]":                                                                                                                             "R[1,2]",
		"Encoding.default_internal = 'UTF-16LE'; Encoding.default_external = 'UTF-16LE'; 'ü'":                                                                                         `R"ü"`,
		"$LOADED_FEATURES.freeze; $LOAD_PATH.freeze; ObjectSpace.each_object(Class) { |c| c.freeze if c.name&.start_with?('JSON') }; 1":                                               "R1",
		"ENV.clear; Dir.chdir('/'); $0 = 'x'; $VERBOSE = true; $DEBUG = false; 1":                                                                                                     "R1",
		"Thread.new { Thread.main.raise('from outside') }.join; sleep 1":                                                                                                              `X{"type":"RuntimeError","message":"from outside"`,
		"Thread.abort_on_exception = true; Thread.new { raise 'there' }; sleep 1":                                                                                                     `X{"type":"RuntimeError","message":"there"`,
		"set_trace_func(proc { |*| }); TracePoint.new(:raise) { }.enable; raise 'traced'":                                                                                             `X{"type":"RuntimeError","message":"traced"`,
		"GC.disable; GC.stress = false; trap('EXIT') { raise 'at exit' }; 1":                                                                                                          "R1",
	} {
		t.Run(code, func(t *testing.T) {
			s := h.Instance(t, root, nil)
			if got := eval(t, s, code); !strings.HasPrefix(got, want) {
				t.Errorf("it is %.300s\n\twant %s", got, want)
			}
			if got := eval(t, s, "1 + 1"); got != "R2" {
				t.Errorf("after it comes %.300s", got)
			}
		})
	}
}

// TestForeignHandlers has a class of handlers that answers for Ruby, and code that fails in the middle of the
// runtime's own.
func TestForeignHandlers(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.rb": `
class App
  def self.method(*) = raise
  def self.respond_to?(*) = raise
  def self.class = raise
  def self.run(event:, context:)
    Pipsqueak::Context.singleton_class.define_method(:new) { |*| raise "defect" }
    event
  end
end
`})
	s := h.Instance(t, h.Root(t), nil, func(load *core.HandlerLoad) { load.Handler = "handler.App.run" })
	if got := drivertest.Ask(t, s, "1"); got != "R1" {
		t.Errorf("a class answers %s", got)
	}
	if got := drivertest.Ask(t, s, "1"); !strings.HasPrefix(got, `L{"kind":"internal","message":"the Ruby runtime failed while it ran an event: RuntimeError: defect`) {
		t.Errorf("a defect of the runtime's is reported as %s", got)
	}
}
