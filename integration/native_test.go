package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do compiled functions build, run, fail and crash as documented?

// Compiled functions: what is deployed, how a build fails, and how a handler does.

const echoC = `#include <pipsqueak.h>
PS_EXPORT void handler(ps_context *context, const char *event, size_t size) { ps_result(context, event, size); }
`

// cmark is a library that this machine has only as a package of a function.
const cmarkCC = `#include <cmark.h>
#include <pipsqueak.hpp>
static std::string version(std::string_view, pipsqueak::context &) { return std::string("\"") + cmark_version_string() + "\""; }
PIPSQUEAK_HANDLER(handler, version)
`

// program skips a test that needs a program of the machine's, except where everything has to be there.
func program(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("requires ", name)
		}
		t.Skip("requires ", name)
	}
}

// compiled returns a shared object of a source in C.
func compiled(t *testing.T, source string) string {
	t.Helper()
	program(t, "cc")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.c"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("cc", "-shared", "-fPIC", "-I", filepath.Join(repositoryRoot(t), "drivers/native/runtime/include"), "-o", dir+"/a.so", dir+"/a.c")
	if said, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(dir + "/a.so")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNativeBuildsOnce deploys the same again: what was built is used again, and only then. Each build
// compiles in the time at which it runs.
func TestNativeBuildsOnce(t *testing.T) {
	system(t)
	program(t, "make")
	w := startWorker(t, t.TempDir())
	source := files{
		"Makefile":       "handler.so: handler.c\n\t$(CC) $(CFLAGS) -shared -DBUILT=\\\"$$(date +%s%N)\\\" -o $@ $<\n",
		"pipsqueak.yaml": "runtime: native\n",
		"handler.c":      "#include <pipsqueak.h>\nPS_EXPORT void handler(ps_context *context, const char *event, size_t size) { (void)event, (void)size; ps_result(context, BUILT, sizeof BUILT - 1); }\n",
	}
	deploy := func(f files, query string) (core.Function, string) {
		t.Helper()
		a := w.ask(t, http.MethodPut, "/v1/functions/built"+query, f.archive(t))
		if a.status/100 != 2 {
			t.Fatal(a)
		}
		return decode[core.Function](t, a), string(w.run(t, "built", `{}`).body)
	}
	first, built := deploy(source, "")
	again, same := deploy(source, "")
	if again.Version != 2 || again.Code != first.Code || same != built {
		t.Errorf("the same again: version %d, built at %s, and before at %s", again.Version, same, built)
	}
	// A build that fails leaves nothing to be used.
	broken := source.with("handler.c", "int x = ;\n")
	for range 2 {
		w.put(t, "built", broken).expectError(t, core.KindBuild, core.FaultHandler, http.StatusUnprocessableEntity)
	}
	if third, same := deploy(source, ""); third.Version != 3 || same != built {
		t.Errorf("after builds that failed: version %d, built at %s, and before at %s", third.Version, same, built)
	}
	last := built
	for _, other := range []struct {
		what  string
		f     files
		query string
	}{
		{"another file", source.with("notes.txt", "1"), ""},
		{"as it was before", source, ""}, // only the version that is replaced is used again
		{"again", source, "?anew=true"},
		{"another manifest", source.with("pipsqueak.yaml", "runtime: native\nhandler: handler.handler\nenv: {A: \"1\"}\n"), ""},
	} {
		if _, got := deploy(other.f, other.query); got == last {
			t.Errorf("%s: it was not built", other.what)
		} else {
			last = got
		}
	}
	// What is whole is used after a restart too; what is damaged is built.
	data := w.data
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data)
	kept := source.with("pipsqueak.yaml", "runtime: native\nhandler: handler.handler\nenv: {A: \"1\"}\n")
	fn, got := deploy(kept, "")
	if got != last {
		t.Error("after a restart it is built")
	}
	object := filepath.Join(data, "code", strings.TrimPrefix(fn.Code, "sha256:"), "handler.so")
	if err := os.WriteFile(object, []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.verify(t)
	if _, got := deploy(kept, ""); got == last {
		t.Error("code that is damaged is used again")
	}
}

func TestNativeForms(t *testing.T) {
	system(t)
	program(t, "c++")
	w := shared(t)
	inner := files{"a.c": strings.Replace(echoC, "ps_result(", "extern int b(void); if (b()) ps_result(", 1), "b.c": "int c(void);\nint b(void) { return c(); }\n", "c.c": "int c(void) { return 1; }\n"}
	tests := map[string]files{
		"c": {"handler.c": echoC},
		"cmake libraries": inner.with("CMakeLists.txt", "cmake_minimum_required(VERSION 3.10)\nproject(f C)\nadd_library(c SHARED c.c)\nset_target_properties(c PROPERTIES VERSION 1.2 SOVERSION 1)\nadd_subdirectory(deep)\nadd_library(handler SHARED a.c)\ntarget_link_libraries(handler b)\n").
			with("deep/CMakeLists.txt", "add_library(b SHARED ../b.c)\ntarget_link_libraries(b c)\n"),
		"make libraries": inner.with("Makefile", "handler.so: a.c b.c\n\tmkdir out\n\t$(CC) $(CFLAGS) -shared -o out/libc1.so c.c\n\t$(CC) $(CFLAGS) -shared -o out/libb.so b.c -Lout -lc1\n\t$(CC) $(CFLAGS) -shared -o $@ a.c -Lout -lb -Wl,--allow-shlib-undefined\n"),
		"cpp":            {"handler.cpp": strings.ReplaceAll(echoC, "NULL", "nullptr")},
		"compiled":       {"handler.so": compiled(t, echoC)},
		"named":          {"src/app.v2.c": strings.ReplaceAll(echoC, "handler(", "echo("), "pipsqueak.yaml": "handler: src/app.v2.echo\n"},
		"make":           {"Makefile": "handler.so: a.c\n\t$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $<\n", "a.c": echoC, "handler.so": "stale, and of another machine"},
		"cmake":          {"CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(f C)\nadd_library(handler SHARED a.c)\n", "a.c": echoC},
		"own": {"Makefile": "handler.so: a.c b.c\n\t$(CC) $(CFLAGS) -shared -o libb.so b.c\n\t$(CC) $(CFLAGS) -shared -o $@ a.c -L. -lb '-Wl,-rpath,$$ORIGIN'\n",
			"a.c": strings.Replace(echoC, "ps_result(", "extern int b(void); if (b()) ps_result(", 1), "b.c": "int b(void) { return 1; }\n"},
		"beside": {"Makefile": "handler.so: a.c b.c\n\tmkdir parts\n\t$(CC) $(CFLAGS) -shared -o parts/libb.so b.c\n\t$(CC) $(CFLAGS) -shared -o $@ a.c -Lparts -lb '-Wl,-rpath,$$ORIGIN/parts'\n",
			"a.c": strings.Replace(echoC, "ps_result(", "extern int b(void); if (b()) ps_result(", 1), "b.c": "int b(void) { return 1; }\n"},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "cmake") {
				program(t, "cmake")
			}
			name := "native-" + strings.ReplaceAll(name, " ", "-")
			w.deploy(t, name, f)
			if got := string(w.run(t, name, `{"a": [1, "é"]}`).body); got != `{"a": [1, "é"]}` {
				t.Errorf("answer %s", got)
			}
		})
	}
}

// TestNativeRefused deploys what cannot work, and reads why.
func TestNativeRefused(t *testing.T) {
	system(t)
	program(t, "c++")
	w := shared(t)
	foreign := []byte(compiled(t, echoC))
	foreign[18] ^= 1 // e_machine
	const made = "handler.so:\n\techo 'void handler(void) {}' | $(CC) -xc - -fPIC -shared -o handler.so\n"
	tests := map[string]struct {
		files
		kind core.Kind
		says string
	}{
		"compiler":    {files{"handler.c": "#include <pipsqueak.h>\nint x = y;\n"}, core.KindBuild, "handler.c:2:9: error: ‘y’ undeclared"},
		"make":        {files{"Makefile": "all:\n\t@echo the reason; exit 3\n"}, core.KindBuild, "the reason"},
		"makes none":  {files{"Makefile": "all:\n\ttrue\n"}, core.KindBuild, "handler.so"},
		"makes fifo":  {files{"Makefile": "all:\n\tmkfifo handler.so\n"}, core.KindBuild, "handler.so, is no file"},
		"leaves fifo": {files{"Makefile": made + "\tmkfifo beside\n"}, core.KindInvalid, "\"beside\" is a fifo"},
		"waits":       {files{"Makefile": made + "\tmkfifo libb.so\n\tcat libb.so\n"}, core.KindInstall, "has made \"libb.so\", which is a fifo"},
		"too large":   {files{"Makefile": made + "\ttruncate -s 600M large\n"}, core.KindTooLarge, "more than 512 MiB"},
		"too many":    {files{"Makefile": made + "\tmkdir many; cd many; seq 20001 | xargs touch\n"}, core.KindTooLarge, "more than 20000 files"},
		"cmakes none": {files{"CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(f C)\nadd_library(other SHARED a.c)\n", "a.c": echoC, "handler.so": compiled(t, echoC)}, core.KindBuild, "there is no shared object"},
		"symbol":      {files{"handler.c": "static void handler(void) {}\nvoid *used = handler;\n"}, core.KindBuild, "PS_EXPORT"},
		"machine":     {files{"handler.so": string(foreign)}, core.KindBuild, "this worker is EM_"},
		"no object":   {files{"handler.so": "#!/bin/sh\n"}, core.KindBuild, "no shared object"},
		"library":     {files{"Makefile": "handler.so:\n\techo 'int n;' | $(CC) -xc - -fPIC -shared -Wl,-soname,libnowhere.so.7 -o libnowhere.so\n\techo 'void handler(void) {}' | $(CC) -xc - -fPIC -shared -o handler.so -Wl,--no-as-needed libnowhere.so\n\trm libnowhere.so\n"}, core.KindBuild, "libnowhere.so.7"},
		"undefined":   {files{"handler.c": strings.Replace(echoC, "ps_result(", "extern int nobody(int); if (nobody(1)) ps_result(", 1)}, core.KindBuild, "needs nobody, which nothing defines"},
		"mangled":     {files{"handler.cc": "#include <pipsqueak.h>\nnamespace app { int nobody(int); }\nPS_EXPORT void handler(ps_context *c, const char *event, size_t size) { ps_result(c, event, app::nobody(1)); }\n"}, core.KindBuild, "needs app::nobody(int)"},
		"in library":  {files{"Makefile": "handler.so:\n\techo 'int nobody(void); int b(void) { return nobody(); }' | $(CC) -xc - -fPIC -shared -o libb.so\n\techo 'int b(void); void handler(void) { b(); }' | $(CC) -xc - -fPIC -shared -o handler.so -xnone -L. -lb -Wl,--allow-shlib-undefined\n"}, core.KindBuild, "needs nobody"},
		"sanitizer":   {files{"Makefile": "handler.so: a.c\n\t$(CC) $(CFLAGS) -fsanitize=address -shared -o $@ $<\n", "a.c": echoC}, core.KindBuild, "AddressSanitizer"},
		"fetches": {files{"CMakeLists.txt": "cmake_minimum_required(VERSION 3.14)\nproject(f C)\ninclude(FetchContent)\nFetchContent_Declare(json\n  URL https://files.invalid/json.tar.xz)\nFetchContent_MakeAvailable(json)\nadd_library(handler SHARED a.c)\ntarget_link_libraries(handler json::json)\n",
			"a.c": echoC}, core.KindBuild, "A build has no network, and this one would fetch json (FetchContent_Declare in CMakeLists.txt)"},
		"no package": {files{"handler.c": echoC, "pipsqueak.yaml": "debian: [no-such-package-at-all]\n"}, core.KindInstall, "no-such-package-at-all"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "cmakes none" || name == "fetches" {
				program(t, "cmake")
			}
			a := w.put(t, "native-refused", test.files)
			if e := a.expectError(t, test.kind, "", a.status); !strings.Contains(e.Message, test.says) || a.status < 400 || a.status > 499 {
				t.Errorf("%d %s, want %q", a.status, e.Message, test.says)
			}
		})
	}
}

const crashes = `#include <pipsqueak.hpp>
#include <cstdlib>
#include <cstring>
#include <thread>
namespace app {
__attribute__((noinline)) int look(volatile int *p) { return *p + 1; }
__attribute__((noinline)) int deep(volatile int n) { volatile char b[1000]; b[0] = (char)n; return deep(n + 1) + b[0]; }
__attribute__((noinline)) int divide(volatile int n) { return 1 % n; }
struct odd : std::runtime_error { using std::runtime_error::runtime_error; };
}
static std::string fine(std::string_view, pipsqueak::context &) { throw app::odd("by the wrapper"); }
PIPSQUEAK_HANDLER(wrapped, fine)
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
    auto is = [&](const char *what) { return strstr(event, what) != nullptr; };
    if (is("segv")) app::look(nullptr);
    if (is("deep")) app::deep(0);
    if (is("divide")) app::divide(0);
    if (is("trap")) __builtin_trap();
    if (is("abort")) abort();
    if (is("nowhere")) ((void (*)())nullptr)();
    if (is("throw")) throw app::odd("past the end");
    if (is("free")) { char *volatile p = (char *)malloc(64); free(p); free(p); }
    if (is("thread")) std::thread([] { app::look(nullptr); }).join();
    if (is("leave")) exit(7);
    if (is("wrap")) return wrapped(c, event, size);
    if (is("broken")) return ps_result(c, "{\"a\":", 5);
    if (is("bytes")) return ps_result(c, "\"\xff\"", 3);
    if (is("large")) { std::string s(7 << 20, '1'); return ps_result(c, s.data(), s.size()); }
    ps_result(c, "1", 1);
}
`

// TestNativeCrashes has a handler do what C can do. Each answer says what happened and where, and the next
// event is served.
func TestNativeCrashes(t *testing.T) {
	system(t)
	program(t, "c++")
	w := shared(t)
	w.deploy(t, "native-crashes", files{"handler.cc": crashes})
	tests := map[string]struct {
		kind  core.Kind
		of    string // the exception's type
		where string // in its stack
	}{
		"segv":    {core.KindExit, "SIGSEGV", "app::look(int volatile*)"},
		"thread":  {core.KindExit, "SIGSEGV", "app::look(int volatile*)"},
		"deep":    {core.KindExit, "SIGSEGV", "app::deep(int)"},
		"divide":  {core.KindExit, "SIGFPE", "app::divide(int)"},
		"trap":    {core.KindExit, "SIGILL", "handler"},
		"abort":   {core.KindExit, "SIGABRT", "handler"},
		"nowhere": {core.KindExit, "SIGSEGV", "handler"},
		"throw":   {core.KindExit, "SIGABRT", "handler"},
		"free":    {core.KindExit, "SIGABRT", "free"},
		"leave":   {core.KindExit, "exit", ""},
		"wrap":    {core.KindException, "app::odd", ""},
		"broken":  {core.KindInvalid, "", ""},
		"bytes":   {core.KindInvalid, "", ""},
		"large":   {core.KindTooLarge, "", ""},
	}
	for do, test := range tests {
		t.Run(do, func(t *testing.T) {
			a := w.run(t, "native-crashes", `"`+do+`"`)
			e := a.expectError(t, test.kind, core.FaultHandler, a.status)
			switch {
			case test.of == "" && e.Exception != nil:
				t.Errorf("an exception: %+v", e.Exception)
			case test.of != "" && (e.Exception == nil || e.Exception.Type != test.of || !strings.Contains(strings.Join(e.Exception.Stack, "\n"), test.where)):
				t.Errorf("%+v of %+v, want %s in %s", e.Exception, e, test.of, test.where)
			case do == "throw" && !strings.Contains(e.Message, "app::odd"):
				t.Errorf("message %q", e.Message)
			}
			if got := result[int](t, w, "native-crashes", `"fine"`); got != 1 {
				t.Errorf("the next event got %d", got)
			}
		})
	}
}

// TestNativeFails loads handlers that cannot be loaded, or do not want to.
func TestNativeFails(t *testing.T) {
	system(t)
	program(t, "c++")
	w := shared(t)
	begin := "#include <pipsqueak.hpp>\n" + strings.TrimPrefix(echoC, "#include <pipsqueak.h>\n")
	tests := map[string]struct {
		source string
		kind   core.Kind
		says   string
	}{
		"init":  {begin + "PS_EXPORT int pipsqueak_init(ps_context *c) { ps_error(c, \"Cold\", \"too cold\"); return 1; }\n", core.KindException, "too cold"},
		"crash": {begin + "int *volatile nothing = nullptr; int n = *nothing;\n", core.KindExit, "SIGSEGV"},
		"newer": {"#define pipsqueak_abi other\n" + begin + "#undef pipsqueak_abi\nPS_EXPORT const uint32_t pipsqueak_abi; const uint32_t pipsqueak_abi = 99;\n", core.KindUnsupported, "99"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w.force(t, "native-fails", files{"handler.cc": test.source})
			a := w.run(t, "native-fails", `1`)
			e := a.expectError(t, test.kind, "", a.status)
			if said := e.Message; !strings.Contains(said, test.says) && (e.Exception == nil || e.Exception.Type != test.says) {
				t.Errorf("%s, %+v, want %q", said, e.Exception, test.says)
			}
		})
	}
}

// TestNativePackages deploys a function with a Debian package: its library is loaded in a zygote, and nothing
// of it is on the host.
func TestNativePackages(t *testing.T) {
	system(t)
	program(t, "c++")
	program(t, "apt-get")
	w := shared(t)
	fn := w.deploy(t, "native-packages", files{"handler.cc": cmarkCC, "pipsqueak.yaml": "debian: [libcmark-dev]\nreuse: false\n"})
	if len(fn.Packages) != 2 || len(fn.Imports) != 1 || !strings.HasPrefix(fn.Imports[0], "libcmark.so") {
		t.Errorf("packages %v, imports %v", fn.Packages, fn.Imports)
	}
	forkStart(t, w, "native-packages", `1`)
	if got := result[string](t, w, "native-packages", `1`); !strings.Contains(got, ".") {
		t.Errorf("version %q", got)
	}
}

// TestNativeInvokes has a compiled function invoke others.
func TestNativeInvokes(t *testing.T) {
	system(t)
	program(t, "c++")
	w := shared(t)
	w.deploy(t, "native-callee", files{"handler.cc": strings.Replace(crashes, `ps_result(c, "1", 1)`, `ps_result(c, event, size)`, 1)})
	w.deploy(t, "native-caller", files{"handler.cc": `#include <pipsqueak.hpp>
static std::string call(std::string_view event, pipsqueak::context &context)
{
    try {
        return "[" + context.invoke("native-callee", event) + "," + context.invoke("native-callee", event) + "]";
    } catch (const pipsqueak::invoke_error &e) {
        return "\"" + e.kind + " " + e.exception_type + "\"";
    }
}
PIPSQUEAK_HANDLER(handler, call)
`})
	for event, want := range map[string]string{`{"a":1}`: `[{"a":1},{"a":1}]`, `"wrap"`: `"exception app::odd"`, `"segv"`: `"exit SIGSEGV"`} {
		if a := w.run(t, "native-caller", event); string(a.body) != want {
			t.Errorf("%s: %v, want %s", event, a, want)
		}
	}
}

// TestNativeRust deploys the example in Rust, compiled here: Pipsqueak itself has no Rust compiler.
func TestNativeRust(t *testing.T) {
	system(t)
	coretest.Requires(t, coretest.Need{Name: "rustc", Met: func() error {
		_, err := exec.LookPath("rustc")
		return err
	}})
	w := shared(t)
	object := filepath.Join(t.TempDir(), "handler.so")
	if said, err := exec.Command("rustc", "--edition", "2021", "--crate-type", "cdylib", "-O", "-C", "panic=abort", "-o", object,
		filepath.Join(repositoryRoot(t), "examples/rust/handler.rs")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "native-rust", files{"handler.so": string(text)})
	if a := w.run(t, "native-rust", `"the pip, the squeak"`); string(a.body) != `[["the",2],["pip",1],["squeak",1]]` {
		t.Errorf("answer %v", a)
	}
	if e := w.run(t, "native-rust", `1`).expectError(t, core.KindException, core.FaultHandler, 500); e.Exception == nil || e.Exception.Type != "NoWords" {
		t.Errorf("%+v", e)
	}
}
