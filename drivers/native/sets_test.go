package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestWatchedSets has handlers whose own code sets variables when it is loaded: in constructors, of a library
// beside it too, and in pipsqueak_init. What libraries of packages set when they are loaded does not count;
// what they set when they are called does.
func TestWatchedSets(t *testing.T) {
	h := newHouse(t)
	packages := core.NewSet(core.Package{Name: debian.Marker + "p", Version: "1", Digest: "any"}) // where the loader looks
	const head, constructor = "#include <stdlib.h>\n", "__attribute__((constructor)) static void begin(void)"
	library := filepath.Join(h.Packages, "usr/lib", debian.Triplet(), "libmode.so.1")
	compileObject(t, library, head+"char *mode; "+constructor+" { mode = getenv(\"MODE\"); setenv(\"BY_LIBRARY\", \"1\", 1); unsetenv(\"LANG\"); }\n"+
		"void library_sets(void) { setenv(\"BY_CALL\", \"1\", 1); }", "-Wl,-soname,libmode.so.1")
	compileObject(t, h.Code+"/libown.so", head+"int own; "+constructor+" { setenv(\"MODE\", \"x\", 1); }", "-O2", "-Wl,-soname,libown.so")
	const handler = "void library_sets(void); extern char *mode; PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { ps_result(c, mode ? \"true\" : \"false\", mode ? 4 : 5); }\n"
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, packages, "libmode.so.1")
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"":                                   "",
		"extern int own; int *needs = &own;": "MODE",
		constructor + " { setenv(\"OF_IT\", \"1\", 1); setenv(\"A\", \"c\", 0); putenv(\"OF_PUT=1\"); }": "OF_IT OF_PUT",
		"volatile int done; " + constructor + " { library_sets(); done = 1; }":                           "BY_CALL",
		"PS_EXPORT int pipsqueak_init(ps_context *c) { return setenv(\"OF_INIT\", \"1\", 1); }":          "OF_INIT",
		"PS_EXPORT int pipsqueak_init(ps_context *c) { library_sets(); return 0; }":                      "BY_CALL",
		constructor + " { clearenv(); }": "*",
		"int chdir(const char *); volatile int moved; " + constructor + " { moved = chdir(\"/tmp\"); }":                         "./",
		"int chdir(const char *); PS_EXPORT int pipsqueak_init(ps_context *c) { int failed = chdir(\"/tmp\"); return failed; }": "./",
	} {
		for _, level := range []string{"-O0", "-O2"} {
			compileObject(t, h.Code+"/handler.so", head+handler+code, level, library, h.Code+"/libown.so")
			for start, parent := range map[string]*sandbox.Sandbox{"cold": root, "forked": zygote} {
				got := h.Sets(t, parent, packages)
				if slices.Sort(got); strings.Join(got, " ") != want {
					t.Errorf("%s, %s, %q sets %q, want %q", start, level, code, got, want)
				}
			}
		}
	}
	// A library beside the handler is initialised before one that was named before it: the latter finds what
	// it sets.
	compileObject(t, h.Code+"/handler.so", head+handler+"extern int own; int *needs = &own;", library, h.Code+"/libown.so")
	for start, want := range map[*sandbox.Sandbox]string{root: "Rtrue", zygote: "Rfalse"} {
		if got := drivertest.Ask(t, h.Instance(t, start, packages), "1"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestMoves: a handler stays where its constructor or pipsqueak_init has gone, as a program does, and its
// constructors run after those of the libraries that it is linked with, and before pipsqueak_init, in each
// kind of start.
func TestMoves(t *testing.T) {
	h := newHouse(t)
	packages := core.NewSet(core.Package{Name: debian.Marker + "p", Version: "1", Digest: "any"})
	const head = "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nextern char order[100];\n"
	library := filepath.Join(h.Packages, "usr/lib", debian.Triplet(), "liborder.so.1")
	compileObject(t, library, "#include <string.h>\nchar order[100];\n__attribute__((constructor)) static void begin(void) { strcat(order, \"library \"); }", "-Wl,-soname,liborder.so.1")
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, packages, "liborder.so.1")
	if err != nil {
		t.Fatal(err)
	}
	for where, code := range map[string]string{
		"/function": `__attribute__((constructor)) static void begin(void) { strcat(order, "handler "); }
PS_EXPORT int pipsqueak_init(ps_context *c) { strcat(order, "init"); return 0; }`,
		"/tmp": `__attribute__((constructor)) static void begin(void) { strcat(order, "handler "); if (chdir("/tmp")) _exit(1); }
PS_EXPORT int pipsqueak_init(ps_context *c) { strcat(order, "init"); return 0; }`,
		"/usr": `__attribute__((constructor)) static void begin(void) { strcat(order, "handler "); }
PS_EXPORT int pipsqueak_init(ps_context *c) { strcat(order, "init"); return chdir("/usr"); }`,
	} {
		compileObject(t, h.Code+"/handler.so", head+code+`
PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { char at[100], all[300]; getcwd(at, 100); snprintf(all, 300, "\"%s: %s\"", at, order); ps_result(c, all, strlen(all)); }`,
			library, "-Wno-unused-result")
		for start, parent := range map[string]*sandbox.Sandbox{"cold": root, "forked": zygote} {
			if got, want := drivertest.Ask(t, h.Instance(t, parent, packages), "1"), `R"`+where+`: library handler init"`; got != want {
				t.Errorf("%s: %s, want %s", start, got, want)
			}
		}
	}
}
