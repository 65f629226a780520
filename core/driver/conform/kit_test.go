package conform_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/conform"
)

// built returns the directory of the programs that `make build` makes.
func built(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(cmp.Or(os.Getenv("PIPSQUEAK_BIN"), "../../../bin"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// handlers returns the directory of the kit's handlers in a language.
func handlers(language string) string {
	return filepath.Join("../../../drivers", language, "testdata/handlers")
}

// TestDrivers runs the kit on every driver that is built.
func TestDrivers(t *testing.T) {
	t.Parallel() // most cases of the kit wait
	programs, err := filepath.Glob(filepath.Join(built(t), driver.Prefix+"*"))
	if err != nil || len(programs) == 0 {
		t.Fatalf("there are no drivers in %s (%v); run make build first", built(t), err)
	}
	for _, program := range programs {
		language := strings.TrimPrefix(filepath.Base(program), driver.Prefix)
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			kit := open(t, conform.Options{Program: program, Handlers: handlers(language)})
			for _, c := range conform.Cases() {
				t.Run(c.Name, func(t *testing.T) {
					switch o := kit.Run(t.Context(), c); o.Status {
					case conform.Skipped:
						t.Skip(o.Seen[0])
					case conform.Failed:
						var b strings.Builder
						if err := o.WriteLine(&b); err != nil {
							t.Error(err)
						}
						t.Error(b.String())
					}
				})
			}
		})
	}
}

// opening is held by who opens a kit: the library of cgroups finds out at its first use, without a lock,
// which files the kernel has.
var opening sync.Mutex

func open(t *testing.T, options conform.Options) *conform.Kit {
	t.Helper()
	opening.Lock()
	kit, err := conform.Open(options)
	opening.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kit.Close(); err != nil {
			t.Error(err)
		}
	})
	return kit
}

// flawed returns options that examine the test binary as the Python driver with a flaw (flawed_test.go).
func flawed(t *testing.T, flaw string, env ...string) conform.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), driver.Prefix+"python")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "kf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	return conform.Options{Program: program, Handlers: handlers("python"),
		Env: append(env, realEnv+"="+filepath.Join(built(t), driver.Prefix+"python"), flawEnv+"="+flaw, socketsEnv+"="+sockets)}
}

// sameRandomness returns a copy of libexec whose Python zygotes give every child the same random state.
func sameRandomness(t *testing.T) string {
	return brokenRuntime(t, "zygote.py", "\ndef after_fork():\n", "\nimport random\n\n\ndef after_fork():\n    random.seed(7)\n    forget()\n\n\ndef forget():\n")
}

// brokenRuntime returns a copy of libexec with other texts in one file of Python's loop: before and after,
// any number of times.
func brokenRuntime(t *testing.T, file string, texts ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(built(t), "libexec"))); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "python/loop", file)
	text, err := os.ReadFile(loop)
	if err != nil {
		t.Fatal(err)
	}
	flawed := string(text)
	for i := 0; i < len(texts); i += 2 {
		if !strings.Contains(flawed, texts[i]) {
			t.Fatalf("%s has no %q to break", loop, texts[i])
		}
		flawed = strings.Replace(flawed, texts[i], texts[i+1], 1)
	}
	if err := os.WriteFile(loop, []byte(flawed), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// failures runs all cases, or those whose names begin so, and returns the names of those that fail.
func failures(t *testing.T, options conform.Options, prefix ...string) (failed []string) {
	t.Helper()
	kit := open(t, options)
	for _, c := range conform.Cases() {
		if !strings.HasPrefix(c.Name, strings.Join(prefix, "")) {
			continue
		}
		o := kit.Run(t.Context(), c)
		if o.Status == conform.Failed {
			failed = append(failed, c.Name)
			t.Logf("%s: %.300q", c.Name, o.Seen)
		}
	}
	return failed
}

// TestKitPassesOn shows that a driver behind another one is judged as the one behind: what the flawed ones
// fail in is their flaw.
func TestKitPassesOn(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	t.Parallel()
	if failed := failures(t, flawed(t, "none")); len(failed) > 0 {
		t.Errorf("without a flaw it fails in %q", failed)
	}
}

func TestKitFindsLeaks(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	t.Parallel()
	failed := failures(t, flawed(t, "leaky", "PIPSQUEAK_LIBEXEC="+sameRandomness(t)))
	if want := []string{"sibling/randomness", "sibling/randomness-after-draws-in-zygotes", "sibling/randomness-after-a-draw-in-the-root", "leak/driver-over-forks", "leak/driver-over-failures"}; !slices.Equal(failed, want) {
		t.Errorf("it fails in %q, and has flaws that should fail in %q", failed, want)
	}
}

// TestKitFindsSharedGenerators has zygotes that renew the generator of their language, and none that a
// package has made.
func TestKitFindsSharedGenerators(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	t.Parallel()
	options := flawed(t, "none", "PIPSQUEAK_LIBEXEC="+brokenRuntime(t, "_pipsqueak/fresh.py", "for found in _renewable:", "for found in []:"))
	if failed := failures(t, options, "sibling/"); !slices.Equal(failed, lateCases) {
		t.Errorf("it fails in %q, want %q", failed, lateCases)
	}
}

// lateCases are those in which zygotes have drawn before.
var lateCases = []string{"sibling/randomness-after-draws-in-zygotes", "sibling/randomness-after-a-draw-in-the-root"}

// lateGenerator makes a generator of Python's runtime that seeds itself when it is first asked, as Perl's
// does: nothing can be seen of it where no zygote has drawn.
const lateGenerator = `
class Late:
    state = None

    def random(self):
        if self.state is None:
            self.state = int.from_bytes(os.urandom(8), "big")
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state / 2**64


import random

late = Late()
random.random = late.random


def after_fork():
`

func TestKitFindsLateSeeds(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	define := []string{"\ndef after_fork():\n", lateGenerator}
	for name, c := range map[string]struct {
		texts []string
		fails []string
	}{
		"renewed by nobody":         {define, lateCases},
		"renewed in instances only": {append(define, "after_fork()\n            return", "late.state = None; after_fork()\n            return"), lateCases},
		"renewed in zygotes only":   {append(define, "after_fork()\n            _signal", "late.state = None; after_fork()\n            _signal"), lateCases},
		"renewed after each fork":   {append(define, "def after_fork():\n", "def after_fork():\n    late.state = None\n"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := flawed(t, "none", "PIPSQUEAK_LIBEXEC="+brokenRuntime(t, "zygote.py", c.texts...))
			if failed := failures(t, options, "sibling/"); !slices.Equal(failed, c.fails) {
				t.Errorf("it fails in %q, want %q", failed, c.fails)
			}
		})
	}
}

// TestKitFindsWhatIsNoJSON has instances that write results in ways that are close to JSON.
func TestKitFindsWhatIsNoJSON(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	const encoding = `json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()`
	for after, want := range map[string][]string{
		`json.dumps(value, ensure_ascii=False).encode()`:                                                        {"answer/numbers-that-JSON-has-not"},
		`json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass")`:               {"answer/bytes-that-are-no-text"},
		`json.dumps(value, allow_nan=False, ensure_ascii=False, default=str).encode()`:                          {"answer/result-is-no-JSON"},
		`(repr(value) if callable(value) else json.dumps(value, allow_nan=False, ensure_ascii=False)).encode()`: {"answer/values-that-JSON-has-not"},
	} {
		t.Run(want[0], func(t *testing.T) {
			t.Parallel()
			options := flawed(t, "none", "PIPSQUEAK_LIBEXEC="+brokenRuntime(t, "_pipsqueak/instance.py", encoding, after))
			if failed := failures(t, options, "answer/"); !slices.Equal(failed, want) {
				t.Errorf("with %s it fails in %q, want %q", after, failed, want)
			}
		})
	}
}

// TestKitFindsUnsharedPackages has zygotes that see which files code looks at, and yet keep each package for
// themselves.
func TestKitFindsUnsharedPackages(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	const names = "        self.names.update(os.fsdecode"
	for name, c := range map[string]struct {
		after string
		fails []string
	}{
		"for an id":   {`        self.names.add("@pid"); self.names.update(os.fsdecode`, []string{"import/packages-are-shared"}},
		"for nothing": {`        self.names.add("./"); self.names.update(os.fsdecode`, nil}, // it does not see the files
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := flawed(t, "none", "PIPSQUEAK_LIBEXEC="+brokenRuntime(t, "_pipsqueak/asked.py", names, c.after))
			if failed := failures(t, options, "import/"); !slices.Equal(failed, c.fails) {
				t.Errorf("it fails in %q, want %q", failed, c.fails)
			}
		})
	}
}

func TestKitFindsCarelessness(t *testing.T) {
	coretest.Requires(t, coretest.Root())
	t.Parallel()
	failed := failures(t, flawed(t, "careless"))
	// Without its kind the conflict with a node whose end the driver has not seen yet is no reason to try
	// again: now and then it fails.
	failed = slices.DeleteFunc(failed, func(name string) bool { return name == "fork/id-again" })
	want := []string{
		// It forgets the kinds of errors.
		"preload/unknown-runtime", "preload/id-that-lives", "preload/no-gate", "preload/turned-away",
		// It does not hear that a call is given up.
		"preload/deadline", "preload/canceled",
		// The kinds again.
		"fork/of-an-instance", "fork/of-the-unknown", "fork/of-the-dead", "fork/of-the-threaded", "fork/id-that-lives", "fork/no-gate",
		// Calls that are given up.
		"fork/deadline", "fork/canceled",
		// The kinds again.
		"fork/parent-dies-under-it", "gate/impossible-orders", "gate/turned-away",
		"import/raises", "import/raises-with-a-cause", "import/asks-for-the-end", "import/ends-the-process", "import/unknown-module",
		"import/failed-is-never-used-again",
		// Calls that are given up.
		"import/deadline", "import/canceled",
		// The kinds again.
		"import/by-an-instance", "import/by-the-unknown",
		// It forgets what imported code looks for.
		"import/tells-what-is-looked-for", "import/tells-which-files-are-looked-for",
		// The kinds again.
		"resolve/what-cannot-be", "resolve/unknown-runtime", "resolve/no-gate",
		"death/of-a-zygote", "death/new-driver-knows-nobody", "leak/driver-over-failures",
		// It prints.
		"last/stdout-has-handshakes-alone",
	}
	if !slices.Equal(failed, want) {
		t.Errorf("it fails in %q, and has flaws that should fail in %q", failed, want)
	}
}
