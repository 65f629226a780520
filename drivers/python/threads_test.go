package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// compile makes a shared object of a file of C.
func compile(t *testing.T, dir, source, library string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", filepath.Join(dir, library), filepath.Join(dir, source)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestProcessors has libraries like those for numerical work, which are told how many threads to use when
// they are loaded, in a zygote one: an instance uses as many as its function has processors, or as its
// environment says.
func TestProcessors(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.py": "import numerical\ndef handler(event, context): return numerical.asked()\n"})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"numerical.py": `
import ctypes, os
here = os.path.dirname(__file__)
libraries = [ctypes.CDLL(f"{here}/{name}") for name in ("libscipy_openblas64_-x.so", "libgomp.so.1")]
def asked(): return [library.asked() for library in libraries]
`, "torch.py": "threads = 1\ndef set_num_threads(n):\n    global threads\n    threads = n\n",
		"openblas.c": "#include <stdlib.h>\nstatic int n;\n__attribute__((constructor)) static void begin(void) { char *v = getenv(\"OPENBLAS_NUM_THREADS\"); n = v ? atoi(v) : 99; }\n" +
			"void scipy_openblas_set_num_threads64_(int to) { n = to; }\nint asked(void) { return n; }\n",
		"omp.c": "#include <stdlib.h>\nstatic int n;\n__attribute__((constructor)) static void begin(void) { char *v = getenv(\"OMP_NUM_THREADS\"); n = v ? atoi(v) : 99; }\n" +
			"void omp_set_num_threads(int to) { n = to; }\nint asked(void) { return n; }\n"})
	for source, library := range map[string]string{"openblas.c": "libscipy_openblas64_-x.so", "omp.c": "libgomp.so.1"} {
		compile(t, h.Packages, source, library)
	}
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, "numerical")
	if err != nil {
		t.Fatal(err)
	}
	machine := fmt.Sprintf("R[%d,%d]", runtime.NumCPU(), runtime.NumCPU())
	for _, c := range []struct {
		processors int
		env        map[string]string
		fork, cold string // 99 is what the libraries take when nobody says anything
	}{
		{0, nil, machine, "R[99,99]"}, {0, map[string]string{"OPENBLAS_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"}, "R[5,7]", "R[5,7]"},
		{0, map[string]string{"OMP_NUM_THREADS": "3,1"}, "R[3,3]", "R[99,3]"}, {0, map[string]string{"OMP_NUM_THREADS": "0"}, machine, "R[99,0]"},
		{64, nil, "R[64,64]", "R[64,64]"}, {64, map[string]string{"OMP_NUM_THREADS": "3"}, "R[3,3]", "R[3,3]"},
	} {
		with := func(l *core.HandlerLoad) { l.Env, l.Processors = c.env, c.processors }
		apart := func(l *core.HandlerLoad) { l.Modules = []string{"numerical"} }
		fork, cold, before := drivertest.Ask(t, h.Instance(t, zygote, theFiles, with), `1`), drivertest.Ask(t, h.Instance(t, root, theFiles, with), `1`), drivertest.Ask(t, h.Instance(t, root, theFiles, with, apart), `1`)
		if fork != c.fork || cold != c.cold || before != c.cold {
			t.Errorf("with %v and %d processors: %s in a fork, want %s; %s in a cold start, and %s with modules that are imported before the handler, want %s",
				c.env, c.processors, fork, c.fork, cold, before, c.cold)
		}
	}
}
