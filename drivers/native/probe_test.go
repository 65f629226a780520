package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

var misbehaving = []drivertest.Probed{
	{Name: "libgood.so", Source: "int good(void) { return 1; }"},
	{Name: "libstarts.so", Source: `#include <pthread.h>
#include <unistd.h>
static void *run(void *nothing) { for (;;) pause(); return nothing; }
__attribute__((constructor)) static void start(void) { pthread_t t; pthread_create(&t, NULL, run, NULL); }`, Told: "^starts 1 thread at import$"},
	{Name: "libopens.so", Source: `#include <fcntl.h>
__attribute__((constructor)) static void start(void) { open("/usr/bin/env", O_RDONLY); }`, Told: "^leaves open /usr/bin/env at import$"},
	{Name: "libcrashes.so", Source: `#include <stdlib.h>
__attribute__((constructor)) static void start(void) { abort(); }`, Told: "ended"},
}

// TestProbe has libraries that do, when they are loaded, what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	h := newHouse(t)
	for _, p := range misbehaving {
		compileObject(t, filepath.Join(h.Packages, "usr/lib", p.Name), p.Source, "-pthread")
	}
	h.Probe(t, misbehaving)
}

// TestLooks has libraries look at the function's files when they are loaded, there or not, and ask for the
// process's id.
func TestLooks(t *testing.T) {
	h := newHouse(t)
	const constructor = "#include <dirent.h>\n#include <dlfcn.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include <sys/stat.h>\n#include <unistd.h>\n" +
		"struct stat s;\n__attribute__((constructor)) static void begin(void) { "
	looks := map[string][2]string{
		"libopens.so":   {`open("/function/config/x", O_RDONLY); fopen("/function/.env", "r");`, "./.env ./config"},
		"libthere.so":   {`access("/function/one", F_OK); stat("/function/a/../two", &s);`, "./one ./two"},
		"liblists.so":   {`opendir("/function");`, "./"},
		"libloads.so":   {`dlopen("/function/libown.so", RTLD_NOW);`, "./libown.so"},
		"libnothing.so": {`stat("/function", &s); access("/functions/x", F_OK); chdir("/function");`, ""},
		"libid.so":      {`volatile pid_t id = getpid(); (void)id;`, "@pid"},
	}
	var packages []drivertest.Probed
	for name, one := range looks {
		compileObject(t, filepath.Join(h.Packages, "usr/lib", name), constructor+one[0]+" }", "-Wno-unused-result")
		packages = append(packages, drivertest.Probed{Name: name, Told: map[string]string{"liblists.so": "leaves open"}[name]})
	}
	found := h.Probe(t, packages)
	for name, one := range looks {
		if got := strings.Join(slices.DeleteFunc(found[name].Asks, func(ask string) bool { return ask == name }), " "); got != one[1] {
			t.Errorf("%s looks at %q, want %q", name, got, one[1])
		}
	}
}

// TestDraws has libraries draw random numbers when they are loaded, which each process would draw for itself.
// A library that has a function called at a fork draws again there, but not what it has drawn for another
// one.
func TestDraws(t *testing.T) {
	_, err := exec.LookPath("c++")
	coretest.Requires(t, coretest.Found("c++", err == nil))
	h := newHouse(t)
	const c = "#include <fcntl.h>\n#include <pthread.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <sys/auxv.h>\n#include <sys/random.h>\n#include <time.h>\n#include <unistd.h>\n" +
		"char key[16];\nstatic void again(void) { getentropy(key, 16); }\n__attribute__((constructor)) static void begin(void) { "
	draws := map[string][2]string{
		"libdevice.so":   {"#include <random>\nstatic std::mt19937 numbers(std::random_device{}()); int next() { return numbers(); }", "@random"},
		"libkernel.so":   {c + "getrandom(key, 16, 0); }", "@random"},
		"libentropy.so":  {c + "getentropy(key, 16); }", "@random"},
		"libfile.so":     {c + `FILE *f = fopen("/dev/urandom", "r"); fread(key, 1, 16, f); fclose(f); }`, "@random"},
		"libstart.so":    {c + "volatile char first = *(char *)getauxval(AT_RANDOM); key[0] = first; }", "@random"},
		"libagain.so":    {c + "pthread_atfork(NULL, NULL, again); again(); }\nvoid ps_key(char *to) { getrandom(to, 16, 0); }", ""},
		"libnothing.so":  {c + "srand(1); key[0] = rand(); getauxval(AT_PAGESZ); }", ""},
		"libthrough.so":  {"#include <unistd.h>\nvoid ps_key(char *); char key[16];\n__attribute__((constructor)) static void begin(void) { ps_key(key); key[0]++; }", "@random"},
		"libalways.so":   {"#include <time.h>\n#include <stdlib.h>\nstruct tm *began;\n__attribute__((constructor)) static void begin(void) { time_t now = time(NULL); began = localtime(&now); began++; }", ""},
		"libtemplate.so": {"#include <random>\nint next() { static std::mt19937 numbers(std::random_device{}()); return numbers(); }", ""},
	}
	lib := filepath.Join(h.Packages, "usr/lib")
	if err := os.MkdirAll(lib, 0o755); err != nil {
		t.Fatal(err)
	}
	var packages []drivertest.Probed
	for _, name := range slices.Sorted(maps.Keys(draws)) { // libagain.so before libthrough.so, which is linked with it
		source, args := draws[name][0], []string{"-Wno-unused-result", "-pthread", "-Wl,-soname," + name}
		if name == "libthrough.so" {
			args = append(args, filepath.Join(lib, "libagain.so"))
		}
		if strings.Contains(source, "<random>") {
			cmd := exec.Command("c++", "-xc++", "-", "-shared", "-fPIC", "-o", filepath.Join(lib, name))
			cmd.Stdin = strings.NewReader(source)
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", name, err, said)
			}
		} else {
			compileObject(t, filepath.Join(lib, name), source, args...)
		}
		packages = append(packages, drivertest.Probed{Name: name})
	}
	found := h.Probe(t, packages)
	for name, one := range draws {
		if got := strings.Join(slices.DeleteFunc(found[name].Asks, func(ask string) bool { return ask == name }), " "); got != one[1] {
			t.Errorf("%s asks for %q, want %q", name, got, one[1])
		}
	}
	if reads := found["libalways.so"].Reads; !slices.Contains(reads, "TZ") {
		t.Errorf("localtime reads %q, without TZ", reads)
	}
}
