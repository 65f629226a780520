package main

import (
	"path/filepath"
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
