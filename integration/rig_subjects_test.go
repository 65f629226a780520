package integration

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// subject is what the benchmarks run in one language: two functions below testdata/bench, NAME-bare, which
// returns its event, and NAME-heavy, which imports packages that take their time. Times are floors of the
// median, in ms; ratios are to a new process.
type subject struct {
	name              string
	bare, bareRatio   float64
	heavy, heavyRatio float64
	heavyMeans        string
	private           float64 // MB of one more idle instance of the heavy function
	process           func(t testing.TB, w *worker, dir, function string) *exec.Cmd
	needs             []coretest.Need
}

// subjects are in the order of the report. A process runs the handler of a deployed function, whose source is
// in dir, once with the event {} outside of any sandbox, as its author would, with the packages that the
// worker has installed; then it says so and waits for the end of its standard input.
var subjects = []subject{
	{
		name: "python", bare: 4, bareRatio: 0, heavy: 6, heavyRatio: 40, heavyMeans: "pandas", private: 7,
		needs: []coretest.Need{Runtime("python3")},
		process: func(t testing.TB, w *worker, dir, _ string) *exec.Cmd {
			digest := strings.Repeat("?", 64)
			packages, err := filepath.Glob(filepath.Join(w.data, "packages", digest+"."+digest)) // their compiled copies
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command("/usr/bin/python3", "-c", "import handler, sys; handler.handler({}, None); print('done', flush=True); sys.stdin.read()")
			command.Env = []string{"PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + strings.Join(append([]string{dir}, packages...), ":"), "OPENBLAS_NUM_THREADS=1"}
			return command
		},
	},
	{
		name: "node", bare: 6, bareRatio: 10, heavy: 10, heavyRatio: 30, heavyMeans: "typescript, @aws-sdk/client-s3 and express", private: 10,
		needs: []coretest.Need{Runtime("npm")},
		process: func(t testing.TB, w *worker, dir, function string) *exec.Cmd {
			command := exec.Command(w.interpreter(t, function), "-e", "require(process.argv[1]).handler({}).then(() => { console.log('done'); process.stdin.resume().on('end', () => process.exit(0)) })", installed(t, dir))
			command.Env = []string{}
			return command
		},
	},
	{
		name: "ruby", bare: 4, bareRatio: 10, heavy: 5, heavyRatio: 50, heavyMeans: "active_support/all, sequel and nokogiri", private: 10,
		needs: []coretest.Need{Runtime("ruby")},
		process: func(t testing.TB, w *worker, dir, function string) *exec.Cmd {
			command, libraries := exec.Command(w.interpreter(t, function), "-I", dir), map[string]bool{}
			indexes, err := filepath.Glob(filepath.Join(w.data, "packages", "*", "pipsqueak.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range indexes { // what the installer has found in each package
				var index struct {
					Paths     []string
					Libraries map[string]struct{ Path string }
				}
				text, err := os.ReadFile(path)
				if err != nil || json.Unmarshal(text, &index) != nil {
					t.Fatal(path, err)
				}
				for _, p := range index.Paths {
					command.Args = append(command.Args, "-I", filepath.Join(filepath.Dir(path), p))
				}
				for _, l := range index.Libraries {
					libraries[filepath.Join(filepath.Dir(path), filepath.Dir(l.Path))] = true
				}
			}
			command.Args = append(command.Args, "-e", `require "handler"; handler(event: {}, context: nil); puts "done"; $stdout.flush; $stdin.read`)
			command.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(slices.Sorted(maps.Keys(libraries)), ":")}
			return command
		},
	},
	{
		name: "native", bare: 2.5, bareRatio: 0, heavy: 3, heavyRatio: 10, heavyMeans: "OpenCV (core, imgproc, imgcodecs)", private: 10,
		needs: []coretest.Need{Runtime("c++")},
		process: func(t testing.TB, w *worker, _, function string) *exec.Cmd {
			f := w.function(t, function)
			stored := func(kind, digest string) string {
				return filepath.Join(w.data, kind, strings.TrimPrefix(digest, "sha256:"))
			}
			var libraries []string
			for _, p := range f.Packages {
				found, err := filepath.Glob(filepath.Join(stored("packages", p.Digest), "usr", "lib", "*-linux-gnu"))
				if err != nil {
					t.Fatal(err)
				}
				libraries = append(libraries, append(found, filepath.Join(stored("packages", p.Digest), "usr", "lib"))...)
			}
			command := exec.Command(filepath.Join(programs(t), "libexec", "native", "once"), filepath.Join(stored("code", f.Code), "handler.so"), "{}", "wait")
			command.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"), "OPENBLAS_NUM_THREADS=1"}
			return command
		},
	},
}

// function returns what the worker knows of a function.
func (w *worker) function(t testing.TB, name string) (f core.Function) {
	t.Helper()
	a := w.ask(t, http.MethodGet, "/v1/functions/"+name, nil)
	if err := json.Unmarshal(a.body, &f); a.status != http.StatusOK || err != nil {
		t.Fatalf("%s: %v %v", name, a, err)
	}
	return f
}

func (l subject) dir(kind string) string {
	return filepath.Join("integration", "testdata", "bench", l.name+"-"+kind)
}

// interpreter returns the program that runs the function's language.
func (w *worker) interpreter(t testing.TB, function string) string {
	t.Helper()
	id := w.function(t, function).Runtime
	for _, d := range w.snapshot(t).Drivers {
		for _, runtime := range d.Runtimes {
			if runtime.ID == id {
				return runtime.Path
			}
		}
	}
	t.Fatalf("no driver has %s", id)
	return ""
}

// installed returns a copy of a function's directory with its packages as npm installs them, which is made
// once.
func installed(t testing.TB, dir string) string {
	t.Helper()
	copies.Lock()
	defer copies.Unlock()
	if to, found := copies.of[dir]; found {
		return to
	}
	to, err := os.MkdirTemp("", "pipsqueak-bench-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "package-lock.json")); err == nil {
		command := exec.Command("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund")
		command.Dir = to
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v: %s", err, out)
		}
	}
	copies.of[dir], temporary = to, append(temporary, to)
	return to
}

// copies are those that installed has made.
var copies = struct {
	sync.Mutex
	of map[string]string
}{of: map[string]string{}}
