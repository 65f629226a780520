package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do functions in Ruby what functions in Python do?

const rubyEcho = "def handler(event:, context:) = event\n"

func rubyFile(code string) files { return files{"handler.rb": code} }

func rubySystem(t testing.TB) {
	t.Helper()
	system(t)
	coretest.Requires(t, Runtime("ruby"))
}

func TestRubyHandlers(t *testing.T) {
	rubySystem(t)
	w := shared(t)
	for name, f := range map[string]files{
		"plain":     rubyFile(rubyEcho),
		"lambda":    {"lambda_function.rb": "def lambda_handler(event:, context:) = event\n"},
		"class":     {"app/main.rb": "module App\n  class Hello\n    def self.process(event:, context:) = event\n  end\nend\n", "pipsqueak.yaml": "runtime: ruby\nhandler: app/main.App::Hello.process\n"},
		"event":     rubyFile("def handler(event:) = event\n"),
		"splat":     rubyFile("def handler(**given) = given[:event]\n"),
		"relative":  rubyFile("require_relative 'own'\nrequire 'lib/other'\ndef handler(event:, context:) = OTHER && OWN.call(event)\n").with("own.rb", "OWN = ->(x) { x }\n").with("lib/other.rb", "OTHER = true\n"),
		"optional":  rubyFile("def handler(event:, context: nil, extra: 1) = event\n"),
		"magic-utf": rubyFile("def handler(event:, context:)\n  raise 'encoding' unless ['ü'.encoding, __ENCODING__, Encoding.default_external].uniq == [Encoding::UTF_8]\n  event\nend\n"),
	} {
		w.deploy(t, "ruby-"+name, f)
		for range 2 {
			if a := w.run(t, "ruby-"+name, `{"ü":[1,2.5,null,"☃"]}`); a.status != http.StatusOK || string(a.body) != `{"ü":[1,2.5,null,"☃"]}` {
				t.Errorf("%s: %v", name, a)
			}
		}
	}
	w.deploy(t, "ruby-context", rubyFile(`def handler(event:, context:)
  [context.aws_request_id, context.function_name, context.function_version, context.memory_limit_in_mb, context.invoked_function_arn,
   context.get_remaining_time_in_millis.between?(1, 5000), ENV.to_h.slice("COLOR", "PATH").keys,
   context.inspect.scan(/@(\w+)=/).flatten.sort - %w[aws_request_id function_name function_version memory_limit_in_mb]]
end
`).with("pipsqueak.yaml", "memory_mb: 99\ntimeout_ms: 5000\nenv: {COLOR: red}\n"))
	a := w.run(t, "ruby-context", `{}`)
	if want := fmt.Sprintf(`["%s","ruby-context","1",99,"pipsqueak:function:ruby-context",true,["COLOR","PATH"],["deadline_ms","invoked_function_arn","log_group_name","log_stream_name"]]`, a.header.Get("X-Request-Id")); string(a.body) != want {
		t.Errorf("the context is %v, want %s", a, want)
	}
}

const rubyFaulty = `
class Unusual < StandardError; end

def deep(n) = n.zero? ? raise(Unusual, "on purpose: \u2603") : deep(n - 1)

def handler(event:, context:)
  case event["do"]
  when "raise" then deep(2)
  when "raise class" then raise Unusual
  when "recurse" then handler(event: event, context: context)
  when "exit!" then exit!(3)
  when "exit" then exit(3)
  when "abort" then abort("enough")
  when "kill" then Process.kill(:KILL, Process.pid) || Process.kill(:ABRT, Process.pid)
  when "segfault" then Process.kill(:SEGV, Process.pid)
  when "sleep" then sleep
  when "spin" then loop {}
  when "swallow"
    loop { begin; sleep; rescue Exception; retry; end }
  when "memory" then x = []; loop { x << "x" * (1 << 20) }
  when "huge" then "x" * (1 << 60)
  when "thread" then Thread.new { raise "in a thread" }; sleep 0.05; return "thread"
  when "print" then 1000.times { puts "x" * 1023 }; return "print"
  when "print bytes" then $stdout.write("\xff\xfe\x00\n" * 100); $stderr.write("no newline"); return "print bytes"
  when "close" then (3..255).each { |fd| IO.for_fd(fd).close rescue nil }; return "close"
  when "nan" then Float::NAN
  when "infinity" then { deep: [Float::INFINITY] }
  when "invalid" then "\xff"
  when "binary" then ["ff00"].pack("H*")
  when "circle" then (a = []) << a
  when "to_json" then Class.new { def to_json(*) = raise("no") }.new
  when "big" then "x" * (50 << 20)
  when "nearly too big" then "x" * (6 * 1024 * 1024 - 2)
  else event["do"]
  end
end
`

func TestRubyFaults(t *testing.T) {
	rubySystem(t)
	w := shared(t)
	w.deploy(t, "ruby-faulty", rubyFile(rubyFaulty).with("pipsqueak.yaml", "timeout_ms: 30000\nmemory_mb: 256\n"))
	w.deploy(t, "ruby-brief", rubyFile(rubyFaulty).with("pipsqueak.yaml", "timeout_ms: 1500\nmemory_mb: 256\n"))
	for _, c := range []struct {
		function, do string
		kind         core.Kind // empty: it succeeds
		status       int
		says         string
	}{
		{"ruby-faulty", "raise", core.KindException, 500, "on purpose: ☃"},
		{"ruby-faulty", "raise class", core.KindException, 500, "Unusual"},
		{"ruby-faulty", "recurse", core.KindException, 500, "stack level too deep"},
		{"ruby-faulty", "huge", core.KindException, 500, "memory"},
		{"ruby-faulty", "exit!", core.KindExit, 502, "3"},
		{"ruby-faulty", "exit", core.KindExit, 502, "3"},
		{"ruby-faulty", "abort", core.KindExit, 502, "enough"},
		{"ruby-faulty", "segfault", core.KindExit, 502, ""},
		{"ruby-brief", "sleep", core.KindTimeout, 504, ""},
		{"ruby-brief", "spin", core.KindTimeout, 504, ""},
		{"ruby-brief", "swallow", core.KindTimeout, 504, ""},
		{"ruby-faulty", "memory", core.KindMemory, 502, "256"},
		{"ruby-faulty", "thread", "", 200, ""},
		{"ruby-faulty", "print", "", 200, ""},
		{"ruby-faulty", "print bytes", "", 200, ""},
		{"ruby-faulty", "nan", core.KindInvalid, 502, "NaN"},
		{"ruby-faulty", "infinity", core.KindInvalid, 502, "Infinity"},
		{"ruby-faulty", "invalid", core.KindInvalid, 502, "written as JSON"},
		{"ruby-faulty", "binary", core.KindInvalid, 502, "UTF-8"},
		{"ruby-faulty", "circle", core.KindInvalid, 502, "over 512"},
		{"ruby-faulty", "to_json", core.KindInvalid, 502, "no"},
		{"ruby-faulty", "big", core.KindTooLarge, 502, "52428802"},
		{"ruby-faulty", "nearly too big", "", 200, ""},
	} {
		t.Run(c.do, func(t *testing.T) {
			a := w.run(t, c.function, fmt.Sprintf(`{"do": %q}`, c.do))
			if c.kind == "" {
				if a.status != c.status {
					t.Errorf("answer %v", a)
				}
			} else if f := a.expectError(t, c.kind, core.FaultHandler, c.status); !strings.Contains(f.Message, c.says) {
				t.Errorf("the message lacks %q: %s", c.says, f.Message)
			}
			if got := result[string](t, w, c.function, `{"do": "fine"}`); got != "fine" {
				t.Errorf("the next event got %q", got)
			}
		})
	}
	f := w.run(t, "ruby-faulty", `{"do": "raise"}`).expectError(t, core.KindException, core.FaultHandler, 500)
	stack := strings.Join(f.Exception.Stack, "\n")
	if f.Exception.Type != "Unusual" || f.Exception.Message != "on purpose: ☃" || strings.Count(stack, "deep") != 3 || !strings.Contains(stack, "/function/handler.rb:4") ||
		strings.Contains(stack, "pipsqueak") || !strings.Contains(f.Exception.Stack[len(f.Exception.Stack)-1], "deep") {
		t.Errorf("the exception is %+v", f.Exception)
	}
	// What closes the descriptor of its endpoint ends soon, and that is told.
	w.run(t, "ruby-faulty", `{"do": "close"}`)
	result[string](t, w, "ruby-faulty", `{"do": "fine"}`)
}

// Functions that cannot be imported. The instance reports most of them; a few are known by the way in which
// it ended.
func TestRubyImports(t *testing.T) {
	rubySystem(t)
	w := shared(t)
	for name, c := range map[string]struct {
		files files
		kind  core.Kind
		says  string
	}{
		"no-method":     {rubyFile("def other(event:, context:) = 1\n"), core.KindInvalid, `no method "handler"`},
		"kernel-method": {rubyFile(rubyEcho).with("pipsqueak.yaml", "handler: handler.puts\n"), core.KindInvalid, `no method "puts"`},
		"no-class":      {rubyFile(rubyEcho).with("pipsqueak.yaml", "handler: handler.App::Missing.process\n"), core.KindInvalid, "App::Missing"},
		"no-constant":   {rubyFile(rubyEcho).with("pipsqueak.yaml", "handler: handler.not a constant.process\n"), core.KindInvalid, "handler"},
		"positional":    {rubyFile("def handler(event, context) = event\n"), core.KindInvalid, "def handler(event:, context:)"},
		"more":          {rubyFile("def handler(event:, context:, more:) = event\n"), core.KindInvalid, "def handler(event:, context:)"},
		"raises":        {rubyFile("raise ArgumentError, 'at import'\n"), core.KindException, "ArgumentError: at import"},
		"syntax":        {rubyFile("def handler(event:, context:)\n  1 +\nend\n"), core.KindException, "handler.rb:3"},
		"no-file":       {rubyFile("require 'file_that_is_not_there'\n" + rubyEcho), core.KindException, "file_that_is_not_there"},
		"exits":         {rubyFile("exit 4\n"), core.KindException, "SystemExit"},
		"exits-hard":    {rubyFile("exit! 4\n"), core.KindExit, ""},
		"hangs":         {rubyFile("sleep\n").with("pipsqueak.yaml", "timeout_ms: 700\n"), core.KindTimeout, ""},
		"host-gem":      {rubyFile("require 'debian_ruby_gem'\n" + rubyEcho), core.KindException, "cannot load such file"},
	} {
		t.Run(name, func(t *testing.T) {
			w.force(t, "ruby-"+name, c.files)
			a := w.run(t, "ruby-"+name, `{}`)
			body := decode[struct{ Error core.Error }](t, a)
			if body.Error.Kind != c.kind || !strings.Contains(body.Error.Message, c.says) {
				t.Errorf("answer %v, want %s that says %q", a, c.kind, c.says)
			}
			if e := body.Error.Exception; e != nil && strings.Contains(strings.Join(e.Stack, "\n"), "/pipsqueak/") {
				t.Errorf("the stack has frames of the runtime: %q", e.Stack)
			}
		})
	}
}

func TestRubyInvoke(t *testing.T) {
	rubySystem(t)
	w := shared(t)
	w.deploy(t, "ruby-invoke", rubyFile(`
require "timeout"
def handler(event:, context:)
  case event["do"]
  when "call" then context.invoke(event["function"], event["event"])
  when "catch"
    begin
      context.invoke(event["function"], event["event"])
    rescue Pipsqueak::InvokeError => e
      [e.class.name, e.kind, e.fault, e.retryable, e.raised && e.raised["type"], e.message.empty?]
    end
  when "many" then 20.times.map { |n| Thread.new { context.invoke("ruby-invoke-echo", n) } }.map(&:value)
  when "timeout"
    late = begin
      Timeout.timeout(0.1) { context.invoke("ruby-invoke-hangs", 1) }
    rescue Timeout::Error => e
      e.class.name
    end
    [late, context.invoke("ruby-invoke-echo", 2)]
  when "leave"
    Thread.new { context.invoke("ruby-invoke-hangs", 1) }.report_on_exception = false
    sleep 0.2
    "left"
  when "unusable" then context.invoke("ruby-invoke-echo", Float::NAN)
  when "raise" then raise KeyError, "deep"
  when "loop" then context.invoke("ruby-invoke", event)
  end
end
`))
	w.deploy(t, "ruby-invoke-echo", rubyFile(rubyEcho))
	w.deploy(t, "ruby-invoke-hangs", rubyFile("def handler(event:, context:) = sleep\n").with("pipsqueak.yaml", "timeout_ms: 3000\n"))
	for range 2 {
		for event, want := range map[string]string{
			`{"do":"call","function":"ruby-invoke-echo","event":{"ü":[1,null]}}`: `{"ü":[1,null]}`,
			`{"do":"many"}`:    `[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]`,
			`{"do":"timeout"}`: `["Timeout::Error",2]`,
			`{"do":"leave"}`:   `"left"`,
			`{"do":"catch","function":"ruby-invoke-none"}`:                   `["Pipsqueak::InvokeError","not_found","caller",false,null,false]`,
			`{"do":"catch","function":"ruby-invoke","event":{"do":"raise"}}`: `["Pipsqueak::InvokeError","exception","handler",false,"KeyError",false]`,
			`{"do":"catch","function":"ruby-invoke","event":{"do":"loop"}}`:  `["Pipsqueak::InvokeError","exception","handler",false,"Pipsqueak::InvokeError",false]`,
		} {
			if a := w.run(t, "ruby-invoke", event); string(a.body) != want {
				t.Errorf("%s gives %v, want %s", event, a, want)
			}
		}
		w.run(t, "ruby-invoke", `{"do":"call","function":"ruby-invoke-none"}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
		w.run(t, "ruby-invoke", `{"do":"unusable"}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	}
}

func TestRubyDebian(t *testing.T) {
	rubySystem(t)
	coretest.Requires(t, Runtime("apt-get"))
	w := shared(t)
	f := directory(t, "integration/testdata/bench/ruby-heavy")
	fn := w.deploy(t, "ruby-debian", f)
	if !slices.ContainsFunc(fn.Packages, func(p core.Package) bool { return p.Name == "debian+libxml2" }) ||
		slices.ContainsFunc(fn.Packages, func(p core.Package) bool { return p.Name == "debian+ruby" || p.Name == "debian+libruby3.1" }) {
		t.Errorf("its packages are %v", fn.Packages)
	}
	began := time.Now()
	forkStart(t, w, "ruby-debian", `{}`)
	got := result[map[string]any](t, w, "ruby-debian", `{}`)
	if fmt.Sprint(got["items"]) != "[one two]" || got["plural"] != "packages" {
		t.Errorf("it gives %v after %v", got, time.Since(began))
	}
}

// TestDebianPrograms has packages that are used as programs, by a name that only their maintainer script
// makes.
func TestDebianPrograms(t *testing.T) {
	rubySystem(t)
	coretest.Requires(t, Runtime("apt-get"), Runtime("cc"))
	w := shared(t)
	const debian = "debian: [netcat-openbsd, ruby-thor]\n"
	w.deploy(t, "programs-ruby", rubyFile("def handler(event:, context:)\n  said = `thor version 2>&1`\n  raise said unless said.start_with?('Thor ')\n  `command -v nc; nc -h 2>&1`.lines.first(2)\nend\n").
		with("pipsqueak.yaml", debian))
	w.deploy(t, "programs-native", files{"pipsqueak.yaml": "debian: [netcat-openbsd]\n", "handler.c": `#include <pipsqueak.h>
#include <stdio.h>
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
    char path[200] = "", said[200] = "", text[500];
    FILE *shell = popen("command -v nc; nc -h 2>&1", "r");
    if (shell && fgets(path, sizeof path, shell) && fgets(said, sizeof said, shell) && pclose(shell) >= 0)
        ps_result(c, text, (size_t)snprintf(text, sizeof text, "[\"%.*s\\n\",\"%.7s\"]", (int)(__builtin_strchr(path, '\n') - path), path, said));
}
`})
	for _, name := range []string{"programs-ruby", "programs-native"} {
		for range 2 {
			if got := result[[]string](t, w, name, `{}`); len(got) != 2 || !strings.HasPrefix(got[0], "/packages/debian+netcat-openbsd-") || !strings.HasPrefix(got[1], "OpenBSD") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// TestDebianFiles has programs that look for their own files where Debian has them: modules in /usr/lib,
// fonts in /usr/share, rules in /etc. A child that is forked from a zygote of the same packages finds them as
// one that is not.
func TestDebianFiles(t *testing.T) {
	rubySystem(t)
	coretest.Requires(t, Runtime("apt-get"), Runtime("cc"))
	w := shared(t)
	w.deploy(t, "files-ruby", rubyFile(`require "mini_magick"
def handler(event:, context:)
  system("convert", "-size", "60x40", "gradient:red-blue", "/tmp/a.png", exception: true)
  image = MiniMagick::Image.open("/tmp/a.png")
  image.resize("30x30").format("jpg")
  image.write("/tmp/b.jpg")
  [image.dimensions, File.binread("/tmp/b.jpg", 3).bytes, `+"`convert -list policy`"+`[%r{/etc/[^/]+/policy.xml}], File.read("/etc/hosts").include?("localhost")]
end
`).with("pipsqueak.yaml", "reuse: false\ndebian: [ruby-mini-magick, imagemagick]\n"))
	w.deploy(t, "files-native", files{"pipsqueak.yaml": "reuse: false\ndebian: [figlet]\n", "handler.c": `#include <pipsqueak.h>
#include <stdio.h>
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
    char line[200] = "", text[300];
    FILE *shell = popen("figlet -f banner I", "r");
    if (shell && fgets(line, sizeof line, shell) && pclose(shell) >= 0)
        ps_result(c, text, (size_t)snprintf(text, sizeof text, "\"%.4s\"", line));
}
`})
	for name, want := range map[string]string{"files-ruby": `[[30,20],[255,216,255],"/etc/ImageMagick-6/policy.xml",true]`, "files-native": `"### "`} {
		cold := w.run(t, name, `{}`)
		for _, a := range []answer{cold, forkStart(t, w, name, `{}`)} {
			if string(a.body) != want {
				t.Errorf("%s gives %v, want %s", name, a, want)
			}
		}
	}
}

// TestRubyStandardLibrary has libraries of Ruby's own that take long: zygotes have required them, but for who
// sets what they read meanwhile. What was found out about one version of a function holds for the next.
func TestRubyStandardLibrary(t *testing.T) {
	rubySystem(t)
	w := shared(t)
	plain := rubyFile("require 'csv'\nrequire 'openssl'\ndef handler(event:, context:) = [CSV::Parser::SCANNER_TEST, OpenSSL::Random.random_bytes(8).unpack1('H*')]\n").
		with("pipsqueak.yaml", "reuse: false\n")
	w.deploy(t, "standard-plain", plain)
	read := func(a answer) (bool, string) {
		got := decode[[]any](t, a)
		if len(got) != 2 {
			t.Fatal(a)
		}
		return got[0] == true, fmt.Sprint(got[1])
	}
	_, first := read(forkStart(t, w, "standard-plain", `{}`))
	w.deploy(t, "standard-plain", plain.with("pipsqueak.yaml", "reuse: false\ntimeout_ms: 20000\n"))
	if a := w.run(t, "standard-plain", `{}`); a.header.Get("Pipsqueak-Start") != "fork" {
		t.Errorf("the next version starts %s", a.header.Get("Pipsqueak-Start"))
	} else if set, next := read(a); set || next == first {
		t.Errorf("it has %t, %s after %s", set, next, first)
	}
	for name, f := range map[string]files{
		"env":  plain.with("pipsqueak.yaml", "reuse: false\nenv: {CSV_PARSER_SCANNER_TEST: \"yes\"}\n"),
		"file": plain.with("handler.rb", "ENV['CSV_PARSER_SCANNER_TEST'] = 'yes'\n"+plain["handler.rb"]),
		"late": rubyFile("def handler(event:, context:)\n  require 'csv'\n  [CSV::Parser::SCANNER_TEST, 0]\nend\n").with("pipsqueak.yaml", "reuse: false\nenv: {CSV_PARSER_SCANNER_TEST: \"yes\"}\n"),
	} {
		w.deploy(t, "standard-"+name, f)
		for range 6 {
			if set, _ := read(w.run(t, "standard-"+name, `{}`)); !set {
				t.Fatalf("%s: the variable came too late", name)
			}
			read(w.run(t, "standard-plain", `{}`))
		}
	}
}
