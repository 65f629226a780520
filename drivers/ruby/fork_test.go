package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// evaluator is a handler that runs the Ruby of its event. Its file requires what a zygote would have.
var evaluator = map[string]string{"handler.rb": `
%w[timeout socket open3 tempfile securerandom digest openssl etc set yaml net/http zlib stringio bigdecimal].each { |name| require name }
def handler(event:, context:) = eval(event)
`}

func eval(t testing.TB, s *sandbox.Sandbox, code string) string {
	t.Helper()
	event, err := json.Marshal(code)
	if err != nil {
		t.Fatal(err)
	}
	return drivertest.Ask(t, s, string(event))
}

// What a function may use works in a process that was forked in the middle of a running Ruby.
func TestAfterFork(t *testing.T) {
	h := newHouse(t, evaluator)
	s := h.Instance(t, h.Root(t), nil)
	foreign := `Dir.children("/proc/self/fd").map { |fd| [fd.to_i, (File.readlink("/proc/self/fd/#{fd}") rescue nil)] }.select { |fd, to| fd > 4 && to && to !~ /eventfd/ }`
	if got := eval(t, s, foreign); got != "R[]" {
		t.Errorf("it has open %s", got)
	}
	for code, want := range map[string]string{
		`Process.pid`: "2",
		`[Thread.new { Thread.new { 20 }.value + 1 }.value, Thread.list.size]`:                                                                                                                      "[21,1]",
		`begin; Timeout.timeout(0.05) { sleep }; rescue Timeout::Error => e; e.class.name; end`:                                                                                                     `"Timeout::Error"`,
		`q = Queue.new; t = Thread.new { 3.times { q << _1; sleep 0.001 }; q << nil }; r = []; while (x = q.pop); r << x; end; r`:                                                                   "[0,1,2]",
		`n = 0; m = Mutex.new; 4.times.map { Thread.new { 1000.times { m.synchronize { n += 1 } } } }.each(&:join); n`:                                                                              "4000",
		`s = TCPServer.new("127.0.0.1", 0); t = Thread.new { c = s.accept; c.puts c.gets.upcase; c.close }; c = TCPSocket.new("127.0.0.1", s.addr[1]); c.puts "hello"; t.join; c.read`:              `"HELLO\n"`,
		`s = TCPServer.new("127.0.0.1", 0); t = Thread.new { c = s.accept; nil until c.gets == "\r\n"; c.write "HTTP/1.0 200 OK\r\n\r\nyes"; c.close }; Net::HTTP.get("127.0.0.1", "/", s.addr[1])`: `"yes"`,
		"`echo $((6*7))`":                   `"42\n"`,
		`[system("exit 3"), $?.exitstatus]`: "[false,3]",
		`Open3.capture3("cat; echo err >&2", stdin_data: "in").first(2)`:                                                        `["in","err\n"]`,
		`Process.wait2(spawn("true"))[1].success?`:                                                                              "true",
		`Process.wait2(fork { exit!(7) })[1].exitstatus`:                                                                        "7",
		`r, w = IO.pipe; p = fork { w << Process.pid; w.close }; w.close; Process.wait(p); r.read == p.to_s`:                    "true",
		`Process.wait(fork { Thread.new { exit!(0) }.join }); $?.exitstatus`:                                                    "0",
		`f = Tempfile.new; f << "x"; f.flush; [File.read(f.path), f.path.start_with?("/tmp/")]`:                                 `["x",true]`,
		`[Digest::SHA256.hexdigest("a")[0, 8], OpenSSL::Digest::SHA256.hexdigest("a")[0, 8]]`:                                   `["ca978112","ca978112"]`,
		`c = OpenSSL::Cipher.new("aes-128-cbc").encrypt; c.key = "k" * 16; c.iv = "i" * 16; (c.update("x") + c.final).bytesize`: "16",
		`got = []; trap("USR1") { got << 1 }; Process.kill("USR1", Process.pid); sleep 0.01; got`:                               "[1]",
		`trap("CHLD") {}; pid = spawn("true"); Process.wait(pid); trap("CHLD", "DEFAULT"); $?.success?`:                         "true",
		`Warning[:experimental] = false; Ractor.new { 6 * 7 }.take`:                                                             "42",
		`Fiber.new { Fiber.yield 1; 2 }.then { |f| [f.resume, f.resume] }`:                                                      "[1,2]", //nolint:misspell // the class
		`Enumerator.new { |y| y << 1 << 2 }.then { |e| [e.next, e.next] }`:                                                      "[1,2]",
		`[$stdout.sync, $stderr.sync]`:                                                                                          "[true,true]",
		`sleep(0.01).is_a?(Integer)`:                                                                                            "true",
		`GC.start; GC.compact; ObjectSpace.garbage_collect; GC.count > 0`:                                                       "true",
		`IO.for_fd(4, autoclose: false).close_on_exec?`:                                                                         "true",
		`spawn("test ! -e /proc/self/fd/4").then { |p| Process.wait(p); $?.success? }`:                                          "true",
		`Array.new(200_000) { |i| "s#{i}" }.size`:                                                                               "200000",
		`[ENV["A"], ENV["LD_PRELOAD"], ENV.size]`:                                                                               `["b",null,1]`,
		"`env`.lines(chomp: true).grep(/LD_|PIPSQUEAK/)":                                                                        "[]",
		`$LOAD_PATH.first`: `"/function"`,
		`Gem::Version.new("1.10") > Gem::Version.new("1.9")`: "true",
		`[__FILE__, ARGV]`:       `["(eval)",[]]`,
		`YAML.load("a: [1, 2]")`: `{"a":[1,2]}`,
		`BigDecimal("0.1") + BigDecimal("0.2") == BigDecimal("0.3")`:          "true",
		`require "rexml/document"; REXML::Document.new("<a>1</a>").root.text`: `"1"`,
	} {
		if got := eval(t, s, code); got != "R"+want {
			t.Errorf("%s\n\tis %.400s\n\twant R%s", code, got, want)
		}
	}
}

// Siblings share no random stream, whatever the zygote has drawn.
func TestRandomness(t *testing.T) {
	h := newHouse(t, evaluator)
	root := h.Root(t)
	z, _, err := h.Zygote(t, root, nil, "openssl", "securerandom", "tempfile")
	if err != nil {
		t.Fatal(err)
	}
	sources := []string{"rand(2**60)", "Random.rand(2**60)", "Random.new.rand(2**60)", "Random.new_seed", "(1..40).to_a.shuffle.join", "[*1..10**4].sample(4).join(' ')",
		"SecureRandom.uuid", "OpenSSL::Random.random_bytes(9).unpack1('H*')", "OpenSSL::BN.rand(64).to_s", "Random.urandom(9).unpack1('H*')", "Tempfile.new.path"}
	seen := map[string]string{}
	for n := range 8 {
		s := h.Instance(t, []*sandbox.Sandbox{root, z}[n%2], nil)
		for _, source := range sources {
			body := eval(t, s, source)
			if body[0] != 'R' {
				t.Fatalf("%s: %s", source, body)
			}
			if twin, twice := seen[source+body]; twice {
				t.Errorf("%s is %s in siblings %s and %d", source, body, twin, n)
			}
			seen[source+body] = fmt.Sprint(n)
		}
	}
}

// A library that is to be loaded at its first use is not loaded by a fork.
func TestForkLoadsNothing(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": `
def handler(event:, context:) = LAZY.map { |name| [name, Object.autoload?(name)] }.reject(&:last).map(&:first) + $LOADED_FEATURES.grep(/openssl/)
`,
		"lazy.rb": `
LAZY = %i[OpenSSL SecureRandom Digest Set Etc Tempfile Psych YAML Date Logger BigDecimal Zlib Concurrent].reject { |name| Object.const_defined?(name) && !Object.autoload?(name) }
raise "all are loaded" unless LAZY.include?(:OpenSSL) && LAZY.include?(:SecureRandom)
LAZY.each { |name| autoload name, "loaded" unless Object.autoload?(name) }
`,
		"loaded.rb": "LAZY.each { |name| Object.const_set(name, Module.new { const_set(:Random, Random) }) unless Object.const_defined?(name) }\n",
	})
	z, _, err := h.Zygote(t, h.Root(t), filesSet, "net/http", "lazy")
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := h.Zygote(t, z, filesSet)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []*sandbox.Sandbox{z, second} {
		if got := drivertest.Ask(t, h.Instance(t, from, nil), "1"); got != "R[]" {
			t.Errorf("loaded in an instance: %s", got)
		}
	}
}

// A zygote that is forked from a zygote has another pid, by which Ruby knows that its signals go another way.
func TestZygoteOfZygote(t *testing.T) {
	code := `
PIDS = [] unless defined?(PIDS)
raise "the pid is that of the parent: #{PIDS}" if PIDS.last == Process.pid
PIDS << Process.pid
got = []
trap("USR1") { got << 1 }
Process.kill("USR1", Process.pid)
sleep 0.01
raise "the signal is lost" if got.empty?
`
	h := newHouse(t, map[string]string{"handler.rb": "def handler(event:, context:) = PIDS\n", "one.rb": code, "two.rb": code, "three.rb": code})
	parent := h.Root(t)
	set := core.NewSet(core.Package{Name: "files", Version: "1", Digest: "any"})
	for _, module := range []string{"one", "two", "three"} {
		z, _, err := h.Zygote(t, parent, set, module)
		if err != nil {
			t.Fatal(err)
		}
		parent = z
	}
	if got := drivertest.Ask(t, h.Instance(t, parent, nil), "1"); got != "R[20001,20002,20003]" {
		t.Error(got)
	}
}

// A file that a gem opened when it was required is closed in the children, and its number hits nothing of
// theirs.
func TestFilesOfZygote(t *testing.T) {
	h := newHouse(t, map[string]string{
		"handler.rb": evaluator["handler.rb"],
		"opens.rb":   "FILES = Array.new(3) { File.open(__FILE__) }\n",
	})
	z, _, err := h.Zygote(t, h.Root(t), core.NewSet(core.Package{Name: "files", Version: "1", Digest: "any"}), "opens")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := h.Instance(t, z, nil)
		code := `mine = Array.new(8) { File.open("/function/handler.rb") }; closed = FILES.map(&:closed?); Object.send(:remove_const, :FILES); GC.start; [closed, mine.map { |f| f.read(1) }.uniq]`
		if got := eval(t, s, code); got != `R[[true,true,true],["\n"]]` {
			t.Error(got)
		}
	}
}

// What ends the process ends it with the status that it asked for.
func TestExits(t *testing.T) {
	h := newHouse(t, evaluator)
	root := h.Root(t)
	ends := func(code string) core.Exit {
		t.Helper()
		s := h.Instance(t, root, nil)
		event, _ := json.Marshal(code)
		if err := endpoint.New(endpoint.Open(s.Endpoint(), 3)).Send(core.Invocation{ID: "r1", Event: event}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		return s.Exit()
	}
	for code, want := range map[string]int{
		"exit 3": 3, "exit!(4)": 4, "abort 'no'": 1, "exit": 0, "Thread.new { exit 5 }.join": 5,
		"at_exit { exit!(6) }; exit 1": 6, "raise SystemExit.new(9)": 9, "Thread.main.kill": 0,
	} {
		if got := ends(code); got.Code != want {
			t.Errorf("%s: %+v, want %d", code, got, want)
		}
	}
	for code, want := range map[string]int{"raise Interrupt": 2, "raise SignalException, 'TERM'": 15, "Process.kill('TERM', Process.pid); sleep 5": 15} {
		if got := ends(code); got.Signal != want {
			t.Errorf("%s: %+v, want signal %d", code, got, want)
		}
	}
	// A process that the handler has forked and that comes back from it answers nothing.
	s := h.Instance(t, root, nil)
	if got := eval(t, s, "fork; Process.pid"); got != "R2" {
		t.Error(got)
	}
	if got := eval(t, s, "sleep 0.05; Process.wait; 2"); got != "R2" {
		t.Error(got)
	}
}

// A handler's exception is reported with type, message and the user's own frames.
func TestExceptions(t *testing.T) {
	h := newHouse(t, evaluator)
	s := h.Instance(t, h.Root(t), nil)
	for code, want := range map[string]string{
		`raise "no"`:                          `X{"type":"RuntimeError","message":"no","stack":["/function/handler.rb:3:in ` + "`handler'" + `"`,
		`def f = f; f`:                        `X{"type":"SystemStackError"`,
		`nil.no`:                              `X{"type":"NoMethodError"`,
		`throw :x`:                            `X{"type":"UncaughtThrowError"`,
		`raise Class.new(StandardError), "x"`: `X{"type":"#<Class:`,
		`raise "\xff"`:                        `X{"type":"RuntimeError","message":"` + "\ufffd" + `"`,
		`class Bad < StandardError; def message = raise; end; raise Bad`: `"its text cannot be had`,
		`"x" * (1 << 62)`:     `X{"type":"NoMemoryError"`,
		`eval("1 +\n* 2\n)")`: `X{"type":"SyntaxError"`,
		`Float::NAN`:          `L{"kind":"invalid"`,
		`["\xff"]`:            `L{"kind":"invalid"`,
		`a = []; a << a`:      `L{"kind":"invalid"`,
		`Class.new { def to_json(*) = raise("no") }.new`: `L{"kind":"invalid"`,
		`"x" * (50 << 20)`:               `L{"kind":"too_large"`,
		`"x" * (5 << 20)`:                `R"xxxx`,
		`Object`:                         `R"Object"`,
		`{ a: :b, 1 => Time.at(0).utc }`: `R{"a":"b","1":"1970-01-01 00:00:00 UTC"}`,
		`nil`:                            `Rnull`,
	} {
		got := eval(t, s, code)
		if !strings.HasPrefix(got, want) && !strings.Contains(got, strings.ReplaceAll(want, `"its`, "(its")) {
			t.Errorf("%s\n\tis %.300s\n\twant %s", code, got, want)
		}
		if strings.Contains(got, "/pipsqueak/") || strings.Contains(got, "<internal:") {
			t.Errorf("%s shows frames of the runtime: %.600s", code, got)
		}
		if len(got) > 350<<10 && got[0] == 'X' {
			t.Errorf("%s is told in %d bytes", code, len(got))
		}
	}
}
