package integration

import (
	"debug/elf"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Do the libraries in every process export only what they must?

// exports are the names that our objects show to all of a process, by their files in libexec: functions of
// the C library that they replace, what a language looks for in an extension, and the one object that is a
// library. Any other name could be taken for one of a package's.
var exports = map[string][]string{
	"libpipsqueak-enter.so": watched("__register_atfork", "arc4random", "arc4random_buf", "arc4random_uniform", "getauxval", "getentropy",
		"getrandom", "ps_enter", "ps_fork_begin", "ps_fork_end", "ps_look", "ps_look_at", "ps_look_past", "ps_looked", "ps_may_rehearse", "ps_receive",
		"ps_reply", "ps_send", "ps_watch", "ps_watched", "ps_zygote"),
	"native/loop/host": watched("_ZNSt13random_device9_M_getvalEv", "__register_atfork", "arc4random", "arc4random_buf", "arc4random_uniform",
		"chdir", "clearenv", "dlopen", "fchdir", "getauxval", "getentropy", "getrandom", "putenv", "setenv", "unsetenv"),
	"native/once":              {},
	"native/loop/rehearsal.so": {"handler", "pipsqueak_abi"},
	"node/loop/pipsqueak.node": {"napi_register_module_v1", "node_api_module_get_api_version_v1"},
	"node/loop/preload.so":     asked("__register_atfork", "madvise", "pipsqueak_preload", "pthread_create"),
	"pipsqueak-enter":          {},
	"python/loop/preload.so":   watched("ps_look", "ps_look_at", "ps_look_past", "ps_looked", "ps_watch", "ps_watched"),
	"ruby/loop/zygote.so": watched("Init_zygote", "fork", "getentropy", "getrandom", "pthread_cond_timedwait", "rb_genrand_int32", "rb_genrand_real",
		"rb_genrand_ulong_limited", "rb_random_bytes", "rb_random_int32", "rb_random_real", "rb_random_ulong_limited"),
}

// asked returns names besides the functions by which code asks for variables (watch.c), in order.
func asked(more ...string) []string {
	return slices.Sorted(slices.Values(append(more, strings.Fields(`catopen ctime ctime_r dcgettext dcngettext dgettext dngettext getenv gettext localtime
		localtime_r mktime newlocale ngettext secure_getenv setlocale strftime strftime_l tempnam timelocal tzset wcsftime wcsftime_l`)...)))
}

// watched returns names besides those and the functions by which code looks at files (look.c), in order.
func watched(more ...string) []string {
	return asked(append(more, strings.Fields(`__fxstatat __fxstatat64 __lxstat __lxstat64 __open64_2 __open_2 __openat64_2
		__openat_2 __readlink_chk __readlinkat_chk __realpath_chk __xstat __xstat64 access eaccess euidaccess faccessat fdopendir fopen fopen64
		freopen freopen64 fstatat fstatat64 getpid glob glob64 lstat lstat64 nftw nftw64 open open64 openat openat64 opendir readlink readlinkat
		realpath scandir scandir64 stat stat64 statx`)...)...)
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

// exportsOf are the names in order that an object defines for others, without the variables of the C library
// that a program has a copy of.
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
