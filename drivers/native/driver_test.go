package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// newHouse has packages in a directory of their own, for what is in them is compiled.
func newHouse(t testing.TB) *drivertest.House {
	t.Helper()
	h := drivertest.NewHouse(t, newDriver(slog.Default()), nil)
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, nil)
	return h
}

var set = core.NewSet(core.Package{Name: "p", Version: "1", Digest: "any"})

// compileObject makes a shared object of a source in C.
func compileObject(t testing.TB, to, source string, arguments ...string) {
	t.Helper()
	_, err := exec.LookPath("cc")
	coretest.Requires(t, coretest.Found("cc", err == nil))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("cc", append([]string{"-D_GNU_SOURCE", "-xc", "-", "-shared", "-fPIC", "-Iruntime/include", "-o", to, "-xnone"}, arguments...)...)
	cc.Stdin = strings.NewReader("#include <pipsqueak.h>\n" + source)
	if said, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

func TestForkedInstanceAnswers(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.Code+"/handler.so", `
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
		(int)c->function_version, (int)(c->memory >> 20), c->deadline_ms > 1000000000000, environ[0], environ[1] == NULL, (int)c->depth, initialised, ++events + event[size]));
}`)
	root := h.Root(t)
	for range 3 {
		s := h.Instance(t, root, nil)
		for i := range 2 {
			if got, want := drivertest.Ask(t, s, `{"x":1}`), fmt.Sprintf(`R[{"x":1},"r1","f",1,128,1,"A=b",1,2,1,%d]`, i+1); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

// TestLibraries has a zygote load a library of a package, which needs another one there: a child has it, and
// what it holds, before its handler comes. A library that starts a thread is found out.
func TestLibraries(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(h.Packages, "usr/lib", debian.Triplet())
	compileObject(t, dir+"/libinner.so.1", "int inner(void) { return 41; }", "-Wl,-soname,libinner.so.1")
	compileObject(t, dir+"/libouter.so.1", "int inner(void); int count; __attribute__((constructor)) void begin(void) { count = inner() + 1; }",
		"-Wl,-soname,libouter.so.1", dir+"/libinner.so.1")
	compileObject(t, dir+"/libthread.so.1", "#include <pthread.h>\n#include <unistd.h>\nstatic void *wait_(void *p) { pause(); return p; }\n"+
		"__attribute__((constructor)) void begin(void) { pthread_t t; pthread_create(&t, 0, wait_, 0); }", "-Wl,-soname,libthread.so.1")
	compileObject(t, h.Code+"/handler.so", `extern int count; PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { int good = count++ == 42; ps_result(c, good ? "true" : "false", good ? 4 : 5); }`,
		dir+"/libouter.so.1", "-Wl,--allow-shlib-undefined")
	root := h.Root(t)
	z, report, err := h.Zygote(t, root, set, "libouter.so.1")
	if _, told := report.Modules["libouter.so.1"]; err != nil || !told || report.Threads != 1 {
		t.Fatal(report, err)
	}
	loaded := func(load *core.HandlerLoad) { load.Packages = nil }
	direct := func(load *core.HandlerLoad) { load.Modules = []string{"libouter.so.1"} }
	for name, s := range map[string]*sandbox.Sandbox{"from the zygote": h.Instance(t, z, set, loaded), "from the root": h.Instance(t, root, set, direct)} {
		if got := drivertest.Ask(t, s, `1`); got != "Rtrue" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for module, want := range map[string]string{"libthread.so.1": "", "libabsent.so.1": "libabsent.so.1"} {
		_, report, err := h.Zygote(t, root, set, module)
		if want == "" && (err != nil || report.Threads != 2) || want != "" && (!core.IsKind(err, core.KindException) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", module, report, err)
		}
	}
}

// TestRandomness draws numbers in siblings: no two draw the same.
func TestRandomness(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.Code+"/handler.so", `
#include <stdio.h>
#include <stdlib.h>
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
	char text[100];
	ps_result(c, text, snprintf(text, sizeof text, "[%d,%ld,%ld]", rand(), random(), lrand48()));
}`)
	root := h.Root(t)
	seen := map[string]bool{}
	for range 8 {
		s := h.Instance(t, root, nil)
		for number := range strings.SplitSeq(strings.Trim(drivertest.Ask(t, s, `1`), "R[]"), ",") {
			if seen[number] {
				t.Errorf("%s was drawn twice", number)
			}
			seen[number] = true
		}
	}
}

func TestHandlerFiles(t *testing.T) {
	for handler, want := range map[string][]string{"handler.handler": {"handler", "handler"}, "a.b/c.d.e": {"a.b/c", "d.e", "a.b/c.d", "e"}, "x": nil, "x.": nil,
		"app.main.run": {"app", "main.run", "app.main", "run", "app/main", "run"}} {
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
	compileObject(b, h.Code+"/handler.so", "PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { ps_result(c, event, size); }")
	h.BenchmarkFork(b)
}

// TestLargeEventIsForgotten sends the largest event and then a small one: the instance does not hold the
// memory of the large one.
func TestLargeEventIsForgotten(t *testing.T) {
	h := newHouse(t)
	compileObject(t, h.Code+"/handler.so", `
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
	s := h.Instance(t, h.Root(t), nil)
	held := func(event string) (kb int) {
		answer := drivertest.Ask(t, s, event)
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

// TestWatch loads libraries that ask for environment variables, in their constructors.
func TestWatch(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(h.Packages, "usr/lib", debian.Triplet())
	compileObject(t, dir+"/libreads.so.1", `#include <stdlib.h>
static char *mode; __attribute__((constructor)) void begin(void) { mode = getenv("MODE"); secure_getenv("SECURE"); getenv("MODE"); } char *later(void) { return getenv("LATER"); }`)
	compileObject(t, dir+"/liblocal.so.1", `#include <time.h>
__attribute__((constructor)) void begin(void) { struct tm tm; time_t zero = 0; localtime_r(&zero, &tm); }`)
	compileObject(t, dir+"/libzone.so.1", `#include <time.h>
static long zone; __attribute__((constructor)) void begin(void) { tzset(); zone = timezone; }`)
	compileObject(t, dir+"/liblocale.so.1", `#include <locale.h>
__attribute__((constructor)) void begin(void) { setlocale(LC_NUMERIC, ""); }`)
	compileObject(t, dir+"/libwords.so.1", `#include <libintl.h>
static const char *word; __attribute__((constructor)) void begin(void) { word = dgettext("words", "word"); }`)
	compileObject(t, dir+"/libquiet.so.1", `#include <locale.h>
#include <time.h>
static char text[9]; __attribute__((constructor)) void begin(void) { time_t zero = 0; setlocale(LC_ALL, "C"); strftime(text, sizeof text, "%Y%%Z", gmtime(&zero)); }`)
	root := h.Root(t)
	for module, want := range map[string][]string{"libreads.so.1": {"MODE", "SECURE"}, "libquiet.so.1": nil, "liblocal.so.1": {"TZ"}, "libzone.so.1": {"TZ"},
		"liblocale.so.1": {"LOCPATH", "LC_ALL", "LANG", "LC_NUMERIC"}, "libwords.so.1": {"LANGUAGE"}} {
		for _, watch := range []bool{true, false} {
			z, _, err := h.Zygote(t, root, set)
			if err != nil {
				t.Fatal(err)
			}
			report, err := h.Import(t.Context(), z.Door().ID, core.Load{Packages: []string{core.PackageDir(set[0])}, Modules: []string{module}, Watch: watch})
			if err != nil || watch && !slices.Equal(report.Reads, want) || !watch && report.Reads != nil {
				t.Errorf("%s reads %q, want %q: %v", module, report.Reads, want, err)
			}
		}
	}
}

// TestAsks loads a library that looks for others when it is loaded: by their names, there or not, and by a
// path, which leads to one file whatever there is.
func TestAsks(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(h.Packages, "usr/lib", debian.Triplet())
	compileObject(t, dir+"/libasks.so.1", `#include <dlfcn.h>
__attribute__((constructor)) void begin(void) { dlopen("libgone.so.2", RTLD_LAZY); dlopen("libquiet.so.1", RTLD_NOW); dlopen("/nowhere/libpath.so", RTLD_NOW); dlopen(0, RTLD_NOW); }
void later(void) { dlopen("liblater.so", RTLD_LAZY); }`)
	compileObject(t, dir+"/libquiet.so.1", "int quiet = 1;")
	found := h.Probe(t, []drivertest.Probed{{Name: "libquiet.so.1"}, {Name: "libasks.so.1"}})
	if got, want := found["libasks.so.1"].Asks, []string{"libasks.so.1", "libgone.so.2", "libquiet.so.1"}; !slices.Equal(got, want) {
		t.Errorf("it asks for %q, want %q", got, want)
	}
}

// TestThreadCounts has a library like OpenBLAS and OpenMP, of a zygote or of the function: it uses what the
// function may have, or what it asks for.
func TestThreadCounts(t *testing.T) {
	h := newHouse(t)
	library := filepath.Join(h.Packages, "usr/lib", debian.Triplet(), "libopenblas.so.0")
	compileObject(t, library, "int blas_threads = 1, omp_threads = 1; void openblas_set_num_threads(int n) { blas_threads = n; } void omp_set_num_threads(int n) { omp_threads = n; }", "-Wl,-soname,libopenblas.so.0")
	compileObject(t, h.Code+"/app/main.so", `#include <stdio.h>
extern int blas_threads, omp_threads;
PS_EXPORT void run(ps_context *c, const char *event, size_t size) { char text[50]; ps_result(c, text, snprintf(text, sizeof text, "[%d,%d]", blas_threads, omp_threads)); }`, library)
	root := h.Root(t)
	z, _, err := h.Zygote(t, root, set, "libopenblas.so.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []*sandbox.Sandbox{root, z} {
		for _, c := range []struct {
			env  map[string]string
			want string
		}{{nil, "R[3,3]"}, {map[string]string{"OMP_NUM_THREADS": "5"}, "R[5,5]"}, {map[string]string{"OPENBLAS_NUM_THREADS": "2"}, "R[2,3]"}} {
			s := h.Instance(t, parent, set, func(load *core.HandlerLoad) {
				load.Handler, load.Modules, load.Processors, load.Env = "app.main.run", []string{"libopenblas.so.0"}, 3, c.env
			})
			if got := drivertest.Ask(t, s, "1"); got != c.want {
				t.Errorf("with %v it has %s threads, want %s", c.env, got, c.want)
			}
		}
	}
}
