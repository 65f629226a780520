package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// house is a sandbox host and a driver in one process, without the wire between them. The one package of every set is the
// directory packaged.
type house struct {
	*native
	host           *sandbox.Host
	runtime        core.Runtime
	code, packaged string
	next           int
}

func (h *house) CodePath(string) (string, error)                    { return h.code, nil }
func (h *house) PackagePath(core.RuntimeID, string) (string, error) { return h.packaged, nil }

func needs(t testing.TB, ok bool, what string) {
	t.Helper()
	if !ok && os.Getenv("CI") != "" {
		t.Fatal("requires ", what)
	}
	if !ok {
		t.Skip("requires ", what)
	}
}

func newHouse(t testing.TB) *house {
	t.Helper()
	needs(t, os.Geteuid() == 0, "root")
	libexec, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("PIPSQUEAK_BIN"), "../../bin"), "libexec"))
	if err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(libexec, "native/host")) {
		t.Fatal("run make build first")
	}
	t.Setenv("PIPSQUEAK_LIBEXEC", libexec)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h := &house{native: newDriver(log), code: t.TempDir(), packaged: t.TempDir()}
	if err := errors.Join(os.Chmod(h.code, 0o755), os.Chmod(h.packaged, 0o755)); err != nil {
		t.Fatal(err)
	}
	h.host, err = sandbox.Open(sandbox.Config{Dir: filepath.Join(t.TempDir(), "run"), Name: fmt.Sprintf("pipsqueak-native-%d", os.Getpid()), Store: h, Log: log,
		Output: func(config core.SandboxConfig, stream string, output io.Reader) {
			text, _ := io.ReadAll(output)
			if len(text) > 0 {
				fmt.Fprintf(os.Stderr, "%s %s: %s", config.ID, stream, text)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.host.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := h.Describe(context.Background())
	if err != nil || len(d.Runtimes) == 0 {
		t.Fatal(d.Problems, err)
	}
	h.runtime = d.Runtimes[0]
	return h
}

// compileObject makes a shared object of a source in C.
func compileObject(t testing.TB, to, source string, arguments ...string) {
	t.Helper()
	_, err := exec.LookPath("cc")
	needs(t, err == nil, "cc")
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("cc", append([]string{"-D_GNU_SOURCE", "-xc", "-", "-shared", "-fPIC", "-Iruntime/include", "-o", to, "-xnone"}, arguments...)...)
	cc.Stdin = strings.NewReader("#include <pipsqueak.h>\n" + source)
	if said, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

var set = core.NewSet(core.Package{Name: "p", Version: "1", Digest: "any"})

func (h *house) sandbox(t testing.TB, role core.Role, packages core.Set) *sandbox.Sandbox {
	t.Helper()
	h.next++
	config := core.SandboxConfig{ID: core.NodeID(fmt.Sprintf("n%d", h.next)), Role: role, Runtime: h.runtime, Packages: packages, Limits: core.DefaultLimits()}
	if role == core.RoleInstance {
		config.Code = "code"
	}
	s, err := h.host.Create(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *house) preload(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	s := h.sandbox(t, core.RoleZygote, nil)
	err := h.Preload(t.Context(), s.Ref().ID, h.runtime.ID, s.Ref())
	if _, _, entered := s.Entered(); entered != nil || err != nil {
		t.Fatal(err, entered)
	}
	return s
}

func (h *house) fork(t testing.TB, parent *sandbox.Sandbox, role core.Role, packages core.Set) *sandbox.Sandbox {
	t.Helper()
	s := h.sandbox(t, role, packages)
	err := h.Fork(t.Context(), s.Ref().ID, parent.Ref().ID, s.Ref())
	if _, _, entered := s.Entered(); entered != nil || err != nil {
		t.Fatal(err, entered)
	}
	return s
}

var load = core.HandlerLoad{Function: "f", Version: 3, Handler: "handler.handler", Memory: 128 << 20, Env: map[string]string{"A": "b"}}

func call(t testing.TB, conn net.Conn, event string) string {
	t.Helper()
	x := endpoint.New(conn)
	defer x.Free()
	if err := x.Send(core.Invocation{ID: "r1", Event: []byte(event), Depth: 2}, time.UnixMilli(12345)); err != nil {
		t.Fatal(err)
	}
	kind, body, err := x.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return string(kind) + string(body)
}

func TestForkedInstanceAnswers(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.code+"/handler.so", `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
static int initialised, events;
PS_EXPORT int pipsqueak_init(ps_context *c) { initialised++; return *c->request_id; }
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
	char text[1000];
	ps_answer answer;
	ps_result(c, text, snprintf(text, sizeof text, "[%.*s,\"%s\",\"%s\",%d,%d,%d,\"%s\",%d,%d,%d,%d]", (int)size, event, c->request_id, c->function,
		(int)c->function_version, (int)(c->memory >> 20), (int)c->deadline_ms, environ[0], environ[1] == NULL, (int)c->depth, initialised, ++events + event[size]));
}`)
	root := h.preload(t)
	for range 3 {
		s := h.fork(t, root, core.RoleInstance, nil)
		if _, err := endpoint.Import(t.Context(), s.Endpoint(), load); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if got, want := call(t, s.Endpoint(), `{"x":1}`), fmt.Sprintf(`R[{"x":1},"r1","f",3,128,12345,"A=b",1,2,1,%d]`, i+1); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

// TestLibraries has a zygote load a library of a package, which needs another one there: a child has it, and what it holds, before its
// handler comes. A library that starts a thread is found out.
func TestLibraries(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(h.packaged, "usr/lib", debian.Triplet())
	compileObject(t, dir+"/libinner.so.1", "int inner(void) { return 41; }", "-Wl,-soname,libinner.so.1")
	compileObject(t, dir+"/libouter.so.1", "int inner(void); int count; __attribute__((constructor)) void begin(void) { count = inner() + 1; }",
		"-Wl,-soname,libouter.so.1", dir+"/libinner.so.1")
	compileObject(t, dir+"/libthread.so.1", "#include <pthread.h>\n#include <unistd.h>\nstatic void *wait_(void *p) { pause(); return p; }\n"+
		"__attribute__((constructor)) void begin(void) { pthread_t t; pthread_create(&t, 0, wait_, 0); }", "-Wl,-soname,libthread.so.1")
	compileObject(t, h.code+"/handler.so", `extern int count; PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { int good = count++ == 42; ps_result(c, good ? "true" : "false", good ? 4 : 5); }`,
		dir+"/libouter.so.1", "-Wl,--allow-shlib-undefined")
	root := h.preload(t)
	z := h.fork(t, root, core.RoleZygote, set)
	packages := []string{core.PackageDir(set[0])}
	report, err := h.Import(t.Context(), z.Ref().ID, core.Load{Packages: packages, Modules: []string{"libouter.so.1"}})
	if _, told := report.Modules["libouter.so.1"]; err != nil || !told || report.Threads != 1 {
		t.Fatal(report, err)
	}
	direct := load
	direct.Packages, direct.Modules = packages, []string{"libouter.so.1"}
	for name, from := range map[string]struct {
		parent *sandbox.Sandbox
		load   core.HandlerLoad
	}{"from the zygote": {z, load}, "from the root": {root, direct}} {
		s := h.fork(t, from.parent, core.RoleInstance, set)
		if _, err := endpoint.Import(t.Context(), s.Endpoint(), from.load); err != nil {
			t.Fatal(name, err)
		}
		if got := call(t, s.Endpoint(), `1`); got != "Rtrue" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for module, want := range map[string]string{"libthread.so.1": "", "libabsent.so.1": "libabsent.so.1"} {
		other := h.fork(t, root, core.RoleZygote, set)
		report, err := h.Import(t.Context(), other.Ref().ID, core.Load{Packages: packages, Modules: []string{module}})
		if want == "" && (err != nil || report.Threads != 2) || want != "" && (!core.IsKind(err, core.KindException) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", module, report, err)
		}
	}
}

// TestRandomness draws numbers in siblings: no two draw the same.
func TestRandomness(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.code+"/handler.so", `
#include <stdio.h>
#include <stdlib.h>
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
	char text[100];
	ps_result(c, text, snprintf(text, sizeof text, "[%d,%ld,%ld]", rand(), random(), lrand48()));
}`)
	root := h.preload(t)
	seen := map[string]bool{}
	for range 8 {
		s := h.fork(t, root, core.RoleInstance, nil)
		if _, err := endpoint.Import(t.Context(), s.Endpoint(), load); err != nil {
			t.Fatal(err)
		}
		for number := range strings.SplitSeq(strings.Trim(call(t, s.Endpoint(), `1`), "R[]"), ",") {
			if seen[number] {
				t.Errorf("%s was drawn twice", number)
			}
			seen[number] = true
		}
	}
}

func TestHandlerFiles(t *testing.T) {
	for handler, want := range map[string][]string{"handler.handler": {"handler", "handler"}, "a.b/c.d.e": {"a.b/c", "d.e", "a.b/c.d", "e"}, "x": nil, "x.": nil} {
		files, symbols := handlerFiles(handler)
		var got []string
		for i := range files {
			got = append(got, files[i], symbols[i])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", handler, got, want)
		}
	}
}

func BenchmarkFork(b *testing.B) {
	h := newHouse(b)
	compileObject(b, h.code+"/handler.so", "PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { ps_result(c, event, size); }")
	root := h.preload(b)
	var phases [3][]float64
	for b.Loop() {
		at := time.Now()
		step := func(i int) { phases[i] = append(phases[i], float64(time.Since(at).Microseconds())); at = time.Now() }
		s := h.fork(b, root, core.RoleInstance, nil)
		step(0)
		if _, err := endpoint.Import(b.Context(), s.Endpoint(), load); err != nil {
			b.Fatal(err)
		}
		step(1)
		call(b, s.Endpoint(), `{"x":1}`)
		step(2)
		s.Endpoint().Close()
		s.Kill()
		<-s.Done()
	}
	for i, name := range []string{"fork", "import", "event"} {
		slices.Sort(phases[i])
		b.ReportMetric(phases[i][len(phases[i])/2], name+"-µs")
	}
}

// TestLargeEventIsForgotten sends the largest event and then a small one: the instance does not hold the memory of the large one.
func TestLargeEventIsForgotten(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.code+"/handler.so", `
#include <stdio.h>
#include <string.h>
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
	char line[256], text[32];
	FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
	for (long kb; rollup && fgets(line, sizeof line, rollup);)
		if (sscanf(line, "Private_Dirty: %ld", &kb) == 1)
			ps_result(c, text, snprintf(text, sizeof text, "%ld", kb));
	if (rollup)
		fclose(rollup);
}`)
	s := h.fork(t, h.preload(t), core.RoleInstance, nil)
	if _, err := endpoint.Import(t.Context(), s.Endpoint(), load); err != nil {
		t.Fatal(err)
	}
	held := func(event string) (kb int) {
		answer := call(t, s.Endpoint(), event)
		if n, err := fmt.Sscanf(answer, "R%d", &kb); n != 1 || err != nil {
			t.Fatal(answer)
		}
		return kb
	}
	before, during, after := held("1"), held(`"`+strings.Repeat("x", 6<<20-2)+`"`), held("1")
	if during < before+6000 || after > before+1000 {
		t.Errorf("it holds %d KiB, then under a large event %d, then %d", before, during, after)
	}
}

// TestKnownLock resolves with a lock: nothing is run for that.
func TestKnownLock(t *testing.T) {
	one := core.Locked{Name: "debian+libone", Version: "1", Archives: []string{"sha256:1"}}
	one.URL = debian.PackageURL(one)
	lock := &core.Lock{Packages: []core.Locked{one}}
	got, err := newDriver(slog.Default()).Resolve(t.Context(), core.ResolveRequest{Runtime: runtimeID, Debian: []string{"libone"}, Lock: lock})
	if err != nil || len(got.Packages) != 1 || got.Packages[0].String() != "debian+libone==1" {
		t.Errorf("%+v, %v", got, err)
	}
}
