package main

import (
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
)

// TestHiddenNeeds loads handlers from a zygote that has hidden what its libraries need
// (runtime/loop/needs.h). Nobody may notice: neither a handler that takes a symbol from a library that it
// does not name, nor a plug-in of that kind, which is found besides where its caller's run path says.
func TestHiddenNeeds(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(h.Packages, "usr/lib", debian.Triplet())
	compileObject(t, dir+"/libinner.so.1", "int inner(void) { return 41; }", "-Wl,-soname,libinner.so.1")
	compileObject(t, dir+"/libouter.so.1", "int inner(void); int outer(void) { return inner() + 1; }", "-Wl,-soname,libouter.so.1", dir+"/libinner.so.1")
	compileObject(t, h.Code+"/plugins/plugin.so", "int inner(void); PS_EXPORT int plug(void) { return inner() + 2; }",
		"-Wl,--no-as-needed", dir+"/libouter.so.1", "-Wl,--allow-shlib-undefined")
	compileObject(t, h.Code+"/handler.so", `
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
int outer(void);
static int named(void)
{
	struct link_map *map;
	Dl_info info;
	int n = 0;
	if (!dladdr1((void *)outer, &info, (void **)&map, RTLD_DL_LINKMAP))
		return -1;
	for (ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++)
		n += d->d_tag == DT_NEEDED;
	return n;
}
PS_EXPORT void handler(ps_context *c, const char *event, size_t size)
{
	char text[100];
	int before = named();
	void *plugin = dlopen("plugin.so", RTLD_LAZY);
	if (!plugin) {
		ps_error(c, "dlopen", dlerror());
		return;
	}
	int (*plug)(void);
	*(void **)&plug = dlsym(plugin, "plug");
	ps_result(c, text, snprintf(text, sizeof text, "[%d,%s,%d,%d]", before, named() > 0 ? "true" : "false", outer(), plug()));
}`, dir+"/libouter.so.1", "-Wl,--allow-shlib-undefined,--enable-new-dtags,-rpath,$ORIGIN/plugins")
	compileObject(t, h.Code+"/careless.so", `int inner(void); PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { ps_result(c, inner() == 41 ? "true" : "false", 4); }`,
		"-Wl,--no-as-needed", dir+"/libouter.so.1", "-Wl,--allow-shlib-undefined")
	z, _, err := h.Zygote(t, h.Root(t), set, "libouter.so.1")
	if err != nil {
		t.Fatal(err)
	}
	for handler, want := range map[string]string{"handler.handler": "R[0,true,42,43]", "careless.handler": "Rtrue"} {
		s := h.Instance(t, z, set, func(load *core.HandlerLoad) { load.Handler, load.Packages = handler, nil })
		if got := drivertest.Ask(t, s, `1`); got != want {
			t.Errorf("%s: %s, want %s", handler, got, want)
		}
	}
}
