package integration

import (
	"debug/elf"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exports are the names that our objects show to all of a process, by their files in libexec: functions of the C library that they replace, what
// a language looks for in an extension, and the one object that is a library. Any other name could be taken for one of a package's.
var exports = map[string][]string{
	"libpipsqueak-enter.so": {"ps_enter", "ps_fork_begin", "ps_fork_end", "ps_receive", "ps_reply", "ps_send", "ps_zygote"},
	"native/host":           {"clearenv", "dlopen", "getenv", "putenv", "secure_getenv", "setenv", "unsetenv"},
	"native/once":           {},
	"native/rehearsal.so":   {"handler", "pipsqueak_abi"},
	"node/pipsqueak.node":   {"napi_register_module_v1", "node_api_module_get_api_version_v1"},
	"node/preload.so":       {"__register_atfork", "madvise", "pipsqueak_preload", "pthread_create"},
	"pipsqueak-enter":       {},
	"python/preload.so":     {"getenv", "ps_watch", "ps_watched", "secure_getenv"},
	"ruby/zygote.so":        {"Init_zygote", "fork", "getenv", "pthread_cond_timedwait", "secure_getenv"},
}

// notOurs are built by others, and loaded into no process of a function.
var notOurs = []string{"uv", "esbuild", "attestations"}

func TestExports(t *testing.T) {
	dir := filepath.Join(programs(t), "libexec")
	seen := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || slices.Contains(notOurs, strings.Split(name, "/")[0]) || !entry.Type().IsRegular() {
			return err
		}
		object, err := elf.Open(path)
		if err != nil {
			return nil // a script
		}
		defer object.Close()
		seen++
		want, known := exports[name]
		if got := exportsOf(t, object); !known || !slices.Equal(got, want) {
			t.Errorf("%s exports %v, want %v", name, got, want)
		}
		return nil
	})
	if err != nil || seen != len(exports) {
		t.Errorf("%d objects, want %d: %v", seen, len(exports), err)
	}
}

// exportsOf are the names in order that an object defines for others, without the variables of the C library that a program has a copy of.
func exportsOf(t *testing.T, object *elf.File) (names []string) {
	t.Helper()
	symbols, err := object.DynamicSymbols()
	if err != nil && object.Section(".dynsym") != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && elf.ST_BIND(s.Info) != elf.STB_LOCAL && !strings.HasPrefix(s.Version, "GLIBC_") {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}
