package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// misbehaving are libraries by name, with what is told of them, "" for nothing.
var misbehaving = []struct{ name, source, told string }{
	{"libgood.so", "int good(void) { return 1; }", ""},
	{"libstarts.so", `#include <pthread.h>
#include <unistd.h>
static void *run(void *nothing) { for (;;) pause(); return nothing; }
__attribute__((constructor)) static void start(void) { pthread_t t; pthread_create(&t, NULL, run, NULL); }`, "^starts 1 thread at import$"},
	{"libopens.so", `#include <fcntl.h>
__attribute__((constructor)) static void start(void) { open("/usr/bin/env", O_RDONLY); }`, "^leaves open /usr/bin/env at import$"},
	{"libcrashes.so", `#include <stdlib.h>
__attribute__((constructor)) static void start(void) { abort(); }`, "ended"},
}

// TestProbe has libraries that do, when they are loaded, what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	h := newHouse(t)
	var packages []core.Installed
	for _, p := range misbehaving {
		compileObject(t, filepath.Join(h.packaged, "usr/lib", p.name), p.source, "-pthread")
		packages = append(packages, core.Installed{Package: core.Package{Name: p.name, Version: "1", Digest: p.name}, Receipt: core.Receipt{Modules: []string{p.name}}})
	}
	machine := probe.Machine{Driver: h, Runtime: h.runtime, Create: func(ctx context.Context, config core.SandboxConfig) (probe.Sandbox, error) {
		h.next++
		config.ID = core.NodeID(fmt.Sprintf("n%d", h.next))
		return h.host.Create(ctx, config)
	}}
	found := map[string]core.Probe{}
	if err := probe.Run(t.Context(), machine, packages, func(p core.Package, probe core.Probe) { found[p.Name] = probe }); err != nil {
		t.Fatal(err)
	}
	for _, p := range misbehaving {
		got, ok := found[p.name]
		told := got.Unforkable + got.Errors[p.name]
		if !ok || (told == "") != (p.told == "") || !regexp.MustCompile(p.told).MatchString(told) {
			t.Errorf("%s: %+v, want %q", p.name, got, p.told)
		}
	}
}
