package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Can a stranger add a language? These tests have what a stranger has: the programs, the documents and the
// examples.

// driverDir returns a directory of drivers without any, which has what drivers need beside them.
func driverDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	libexec := filepath.Join(dir, "libexec")
	if err := os.Mkdir(libexec, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipsqueak-enter", "libpipsqueak-enter.so"} {
		if err := os.Symlink(filepath.Join(programs(t), "libexec", name), filepath.Join(libexec, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// luaDriver builds the Lua driver of the examples, and returns the directory it is in.
func luaDriver(t testing.TB) string {
	t.Helper()
	coretest.Requires(t, Runtime("luajit"))
	dir := driverDir(t)
	succeed(t, "go", "build", "-C", repositoryRoot(t), "-o", filepath.Join(dir, "pipsqueak-driver-lua"), "./examples/driver-lua")
	if err := os.CopyFS(filepath.Join(dir, "libexec", "lua"), os.DirFS(filepath.Join(repositoryRoot(t), "examples/driver-lua/runtime"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

const luaFunction = `
local mod = require "lib.mod"
return { handler = function(event, context)
  print("called")
  if event == "raise" then error("on purpose") end
  if event == "exit" then os.exit(3) end
  if event == "function" then return print end
  return { event = event, random = math.random(), environment = os.getenv("A") or "", module = mod.answer,
    id = context.request_id, remaining = context.remaining_ms() }
end }`

func TestDriverLua(t *testing.T) {
	system(t)
	drivers := luaDriver(t)
	conforms(t, filepath.Join(drivers, "pipsqueak-driver-lua"), filepath.Join(repositoryRoot(t), "examples/driver-lua/fixtures"))
	w := startWorker(t, t.TempDir(), "--drivers", drivers)
	f := w.deploy(t, "lua", files{"handler.lua": luaFunction, "lib/mod.lua": "return {answer = 42}",
		"pipsqueak.yaml": "reuse: false\nenv: {A: b}\n"})
	if f.Runtime != "luajit2.1" || f.Handler != "handler.handler" {
		t.Errorf("deployed as %+v", f)
	}
	random := map[float64]bool{}
	for n := range 5 {
		a := w.run(t, "lua", `{"a": [1, "é", null]}`)
		if start := a.header.Get("Pipsqueak-Start"); a.status != http.StatusOK || n > 0 && start != string(core.StartFork) {
			t.Fatalf("a %s start of %v", start, a)
		}
		got := decode[struct {
			Event       map[string]any
			Random      float64
			Environment string
			Module      int
			ID          string
			Remaining   float64
		}](t, a)
		if got.Environment != "b" || got.Module != 42 || got.ID != a.header.Get("X-Request-Id") || got.Remaining <= 0 || len(got.Event["a"].([]any)) != 3 {
			t.Errorf("%+v", got)
		}
		random[got.Random] = true
	}
	if len(random) != 5 {
		t.Errorf("5 siblings drew %v", random)
	}
	raised := w.run(t, "lua", `"raise"`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	if raised.Exception == nil || !strings.Contains(raised.Exception.Message, "on purpose") || len(raised.Exception.Stack) != 1 ||
		!strings.HasPrefix(raised.Exception.Stack[0], "/function/handler.lua:5") {
		t.Errorf("%+v", raised.Exception)
	}
	w.run(t, "lua", `"exit"`).expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
	w.run(t, "lua", `"function"`).expectError(t, core.KindInvalid, core.FaultHandler, http.StatusBadGateway)
	if logs := w.ask(t, http.MethodGet, "/v1/functions/lua/logs", nil); !strings.Contains(string(logs.body), "called") {
		t.Errorf("the log has no print: %v", logs)
	}

	for name, bad := range map[string]struct {
		code   string
		kind   core.Kind
		status int
		says   string
	}{
		"lua-exits":  {"os.exit(1)", core.KindException, http.StatusInternalServerError, "os.exit(1)"},
		"lua-raises": {"error({type = 'Mine', message = 'typed'})", core.KindException, http.StatusInternalServerError, "typed"},
		"lua-none":   {"return {}", core.KindInvalid, http.StatusBadGateway, "no function handler"},
		"lua-syntax": {"return {", core.KindException, http.StatusInternalServerError, "handler.lua"},
	} {
		w.force(t, name, files{"handler.lua": bad.code})
		if e := w.run(t, name, `{}`).expectError(t, bad.kind, core.FaultHandler, bad.status); !strings.Contains(e.Message, bad.says) {
			t.Errorf("%s: %s", name, e.Message)
		}
	}
}

// succeed runs a program that has to succeed.
func succeed(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// conforms runs the conformance kit on a driver.
func conforms(t testing.TB, program, handlers string) {
	t.Helper()
	succeed(t, filepath.Join(programs(t), "drivercheck"), program, "--handlers", handlers)
}

// TestDriverNew makes a driver with each SDK as the tutorial says, and uses it where it was built and where
// it is installed.
func TestDriverNew(t *testing.T) {
	system(t)
	for sdk, flags := range map[string][]string{"go": {"--source", repositoryRoot(t)}, "python": {"--sdk", "python"}} {
		t.Run(sdk, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			succeed(t, filepath.Join(programs(t), "pipsqueak"), append([]string{"driver", "new", "perl", dir}, flags...)...)
			succeed(t, "make", "-C", dir, "build")
			program := filepath.Join(dir, "build/pipsqueak-driver-perl")
			saysItsVersion(t, program)
			conforms(t, program, filepath.Join(dir, "fixtures"))
			python, err := exec.Command("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2], end='')").Output()
			if err != nil {
				t.Fatal(err)
			}
			runtime := core.RuntimeID("perl" + string(python))
			tryExampleLoop(t, filepath.Join(dir, "build"), runtime)
			home := driverDir(t)
			succeed(t, "make", "-C", dir, "install", "PIPSQUEAK="+home)
			if err := os.RemoveAll(filepath.Join(dir, "build")); err != nil {
				t.Fatal(err)
			}
			tryExampleLoop(t, home, runtime)
		})
	}
}

// TestDriverOfVersion2 uses a driver of the previous version of the protocol, which is frozen in testdata.
func TestDriverOfVersion2(t *testing.T) {
	system(t)
	root := repositoryRoot(t)
	frozen := filepath.Join(root, "integration/testdata/driver-v2")
	dir := driverDir(t)
	program := filepath.Join(dir, "pipsqueak-driver-old")
	script := fmt.Sprintf("#!/bin/sh\nexec %s/.deps/grpc/bin/python -B %s/driver.py \"$0\" \"$@\"\n", root, frozen)
	if err := errors.Join(os.WriteFile(program, []byte(script), 0o755), os.Symlink(frozen, filepath.Join(dir, "libexec/old"))); err != nil {
		t.Fatal(err)
	}
	// The handlers of today, for its context, which had the time in seconds.
	fixtures := t.TempDir()
	if err := os.CopyFS(fixtures, os.DirFS(filepath.Join(root, "cmd/pipsqueak/newdriver/language/fixtures"))); err != nil {
		t.Fatal(err)
	}
	handler := filepath.Join(fixtures, "conform/handler.py")
	text, err := os.ReadFile(handler)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, handler, strings.ReplaceAll(string(text), "context.remaining_ms()", "context.remaining_seconds() * 1000"))
	conforms(t, program, fixtures)
	d := tryExampleLoop(t, dir, "old3")
	if len(d.Capabilities) != 0 || !reflect.DeepEqual(d.Runtimes[0].Extensions, []string{".py"}) {
		t.Errorf("it is taken to be %+v", d)
	}
}

// tryExampleLoop has a worker use a driver whose processes run the loop that is in Python, and returns what
// it knows of it.
func tryExampleLoop(t *testing.T, drivers string, runtime core.RuntimeID) core.DriverInfo {
	w := startWorker(t, t.TempDir(), "--drivers", drivers)
	f := w.deploy(t, "tried", files{"handler.py": `
import random, sys
def handler(event, context):
    if event == "raise":
        raise KeyError("on purpose")
    if event == "exit":
        sys.exit(3)
    return [event, context.request_id, random.random()]
`, "pipsqueak.yaml": "reuse: false\n"})
	if f.Runtime != runtime {
		t.Errorf("deployed as %+v", f)
	}
	random := map[float64]bool{}
	for n := range 5 {
		a := w.run(t, "tried", `{"ü": [1.5]}`)
		if start := a.header.Get("Pipsqueak-Start"); a.status != http.StatusOK || n > 0 && start != string(core.StartFork) {
			t.Fatalf("a %s start of %v", start, a)
		}
		got := decode[[3]any](t, a)
		if !reflect.DeepEqual(got[0], map[string]any{"ü": []any{1.5}}) || got[1] != a.header.Get("X-Request-Id") {
			t.Errorf("%v", a)
		}
		random[got[2].(float64)] = true
	}
	if len(random) != 5 {
		t.Errorf("5 siblings drew %v", random)
	}
	raised := w.run(t, "tried", `"raise"`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	if raised.Exception == nil || raised.Exception.Type != "KeyError" || len(raised.Exception.Stack) != 1 {
		t.Errorf("%+v", raised.Exception)
	}
	w.run(t, "tried", `"exit"`).expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
	w.force(t, "untried", files{"handler.py": "raise ValueError('at import')"})
	w.run(t, "untried", `1`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	d := w.snapshot(t).Drivers[0]
	if d.Restarts != 0 {
		t.Errorf("the driver was started again %d times", d.Restarts)
	}
	return d
}
