package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// TestLooks has libraries look at the function's files when they are loaded, there or not, and ask for the process's id.
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
