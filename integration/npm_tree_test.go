package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does a function get what its own tool would have installed: the same packages, and the same version
// wherever one is required?

// testedNodes are the versions of Node.js that the tests were started with: some tests give a worker others.
var testedNodes = filepath.SplitList(os.Getenv("PIPSQUEAK_NODE"))

// packageManagers are the directories of npm and pnpm, "…/npm/11.19.1", that make has put somewhere.
func packageManagers() []string { return filepath.SplitList(os.Getenv("PIPSQUEAK_NPMS")) }

// PackageManagers needs several versions of npm and pnpm, as make has them.
var PackageManagers = coretest.Need{Name: "npm and pnpm in PIPSQUEAK_NPMS, as make test has them", Met: func() error {
	for _, dir := range packageManagers() {
		if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
			return err
		}
	}
	if len(packageManagers()) == 0 || len(testedNodes) == 0 {
		return errors.New("the variable is empty")
	}
	return nil
}}

// manager is a version of npm or pnpm.
type manager struct{ tool, version, dir string }

func managers(tool string) (all []manager) {
	for _, dir := range packageManagers() {
		if filepath.Base(filepath.Dir(dir)) == tool {
			all = append(all, manager{tool, filepath.Base(dir), dir})
		}
	}
	return all
}

// node is what the tool runs on: some need a recent one, and old npms are older than those.
func (m manager) node() string {
	if m.tool == "npm" && len(m.version) < len("10.0.0") {
		return testedNodes[0]
	}
	return testedNodes[len(testedNodes)-1]
}

// run runs the tool in a directory, with the test's registry alone.
func (m manager) run(t testing.TB, r *npmIndex, dir string, args ...string) {
	t.Helper()
	argv := []string{m.node(), filepath.Join(m.dir, "node_modules/npm/bin/npm-cli.js"), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}
	if m.tool == "pnpm" {
		argv = []string{m.node(), filepath.Join(m.dir, "node_modules/pnpm/bin/pnpm.cjs"), "--ignore-scripts"}
		if native, _ := filepath.Glob(filepath.Join(m.dir, "node_modules/@pnpm/exe.*/pnpm")); len(native) > 0 { // since pnpm 12
			argv = []string{native[0], "--ignore-scripts"}
		}
	}
	argv = append(argv, args...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	home := filepath.Join(filepath.Dir(dir), "home")
	cmd.Env = []string{"PATH=" + filepath.Dir(m.node()) + ":/usr/bin:/bin", "HOME=" + home, "XDG_DATA_HOME=" + home, "npm_config_registry=" + r.URL + "/", "npm_config_cache=" + home + "/cache",
		"npm_config_store_dir=" + home + "/store", "pnpm_config_registry=" + r.URL + "/", "npm_config_minimum_release_age=0", "pnpm_config_minimum_release_age=0", "CI=true"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s %v: %v\n%s", m.tool, m.version, args, err, out)
	}
}

// laid lays out files in a directory of its own.
func laid(t *testing.T, f files) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "function")
	f.write(t, dir)
	return dir
}

// nodeSurvey tells, of each directory of the function and each package that is found from there, which
// directory it finds by each name. It is a handler here and a program beside what the tool has laid out.
const nodeSurvey = `
const fs = require('fs'), path = require('path'), { createRequire } = require('module');
exports.handler = ({ root, directories, names }) => {
  const found = {};
  const find = (directory, name) => {
    try { return fs.realpathSync(path.dirname(createRequire(directory + '/x.js').resolve(name + '/package.json'))); } catch { return ''; }
  };
  const queue = directories.map((one) => fs.realpathSync(path.join(root, one)));
  const own = new Set(queue);
  for (const directory of queue) {
    if (found[directory]) continue;
    const { name, version, dependencies, optionalDependencies, peerDependencies } = JSON.parse(fs.readFileSync(directory + '/package.json', 'utf8'));
    const asked = own.has(directory) ? names : Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
    const finds = Object.fromEntries(asked.map((one) => [one, find(directory, one)]).filter(([, to]) => to));
    found[directory] = { is: name + '@' + version, asked, finds };
    queue.push(...Object.values(finds));
  }
  return found;
};
`

// surveyed is what nodeSurvey returns, by directory.
type surveyed map[string]struct {
	Is    string            `json:"is"`
	Asked []string          `json:"asked"`
	Finds map[string]string `json:"finds"`
}

// differences returns where two surveys differ, as a path of names to what each finds there.
func (s surveyed) differences(fromRoot string, other surveyed, otherRoot string, directories []string) (found []string) {
	type pair struct{ a, b, way string }
	var queue []pair
	for _, directory := range directories {
		queue = append(queue, pair{filepath.Join(fromRoot, directory), filepath.Join(otherRoot, directory), directory})
	}
	seen := map[[2]string]bool{}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[[2]string{p.a, p.b}] {
			continue
		}
		seen[[2]string{p.a, p.b}] = true
		a, b := s[p.a], other[p.b]
		if a.Is != b.Is {
			found = append(found, fmt.Sprintf("%s is %q here, and %q there", p.way, a.Is, b.Is))
			continue
		}
		for _, name := range a.Asked {
			way := p.way + " > " + name
			if !slices.Contains(b.Asked, name) || a.Finds[name] == "" && b.Finds[name] == "" {
				continue
			}
			if a.Finds[name] == "" || b.Finds[name] == "" {
				found = append(found, fmt.Sprintf("%s is %q here, and %q there", way, a.Finds[name], b.Finds[name]))
				continue
			}
			queue = append(queue, pair{a.Finds[name], b.Finds[name], way})
		}
	}
	return found
}

// laidOut returns the packages that a tool has put below a directory: "name@version", once each.
func laidOut(t testing.TB, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != "package.json" || !isPackage(filepath.Dir(path)) {
			return err
		}
		var manifest struct{ Name, Version string }
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &manifest)
		}
		if !strings.HasPrefix(manifest.Name, "own-") { // pnpm has copies of the function's directories
			found = append(found, manifest.Name+"@"+manifest.Version)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// isPackage reports whether a directory is one of node_modules, or of a scope there.
func isPackage(dir string) bool {
	above := filepath.Dir(dir)
	if strings.HasPrefix(filepath.Base(above), "@") {
		above = filepath.Dir(above)
	}
	return filepath.Base(above) == "node_modules"
}

// billed returns the packages of a function's bill of materials: "name@version", once each, with those that
// lie in others.
func billed(t testing.TB, w *worker, name string) []string {
	t.Helper()
	type component struct {
		PURL       string
		Components []component
	}
	var bill component
	if err := json.Unmarshal(w.ask(t, "GET", "/v1/functions/"+name+"/sbom", nil).body, &bill); err != nil {
		t.Fatal(err)
	}
	var found []string
	var add func([]component)
	add = func(all []component) {
		for _, c := range all {
			if spelled, is := strings.CutPrefix(c.PURL, "pkg:npm/"); is {
				plain, err := url.PathUnescape(spelled)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, plain)
			}
			add(c.Components)
		}
	}
	add(bill.Components)
	slices.Sort(found)
	return slices.Compact(found)
}

// sameTree deploys the files, and compares what the function has with what a tool has laid out in a directory
// for the same files.
func sameTree(t testing.TB, w *worker, r *npmIndex, id string, f files, tools string) {
	t.Helper()
	directories := []string{"."}
	for name := range f {
		if filepath.Base(name) == "package.json" && strings.Contains(f["package.json"]+f["pnpm-workspace.yaml"], "packages/") { // pnpm has copies of others
			directories = append(directories, filepath.Dir(name))
		}
	}
	slices.Sort(directories)
	directories = slices.Compact(directories)
	event := func(root string) string {
		text, err := json.Marshal(map[string]any{"root": root, "directories": directories, "names": append(slices.Sorted(maps.Keys(r.packages)), "own-a", "own-b")})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	w.deploy(t, id, f.with("index.js", nodeSurvey))
	here := result[surveyed](t, w, id, event(core.CodeDir))
	var there surveyed
	tools, err := filepath.EvalSymlinks(tools)
	if err != nil {
		t.Fatal(err)
	}
	program := nodeSurvey + "\nconsole.log(JSON.stringify(exports.handler(JSON.parse(process.argv[1]))));"
	out, err := exec.CommandContext(t.Context(), manager{}.node(), "-e", program, event(tools)).Output()
	if err == nil {
		err = json.Unmarshal(out, &there)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, difference := range here.differences(core.CodeDir, there, tools, directories) {
		t.Error(difference)
	}
	if got, want := billed(t, w, id), laidOut(t, tools); !slices.Equal(got, want) {
		t.Errorf("the function has %v, and the tool installs %v", got, want)
	}
}

// TestSameAsTool compares them for each shape of project: with a lock file of the oldest and the newest
// version of the tool, and without one.
func TestSameAsTool(t *testing.T) {
	system(t)
	coretest.Requires(t, Node, PackageManagers)
	r := shapesIndex(t)
	npms := managers("npm")
	newest := npms[len(npms)-1] // the worker's own npm too, for functions without a lock file
	t.Setenv("PIPSQUEAK_NODE", newest.besideNode(t))
	w := r.worker(t)
	for _, shape := range shapes {
		for _, m := range shape.managers() {
			t.Run(shape.name+"/"+m.tool+" "+m.version, func(t *testing.T) {
				dir := laid(t, shape.files)
				lock := m.lock(t, r, dir)
				m.install(t, r, dir)
				f := shape.files.with(m.lockFile(), lock)
				sameTree(t, w, r, "same", f, dir)
			})
		}
		if !shape.pnpm {
			t.Run(shape.name+"/no lock", func(t *testing.T) {
				dir := laid(t, shape.files)
				newest.run(t, r, dir, "install", "--omit=dev")
				sameTree(t, w, r, "same", shape.files, dir)
			})
		}
	}
}

func (m manager) lockFile() string {
	return map[string]string{"npm": "package-lock.json", "pnpm": "pnpm-lock.yaml"}[m.tool]
}

// lock makes the tool's lock file, and returns its text.
func (m manager) lock(t testing.TB, r *npmIndex, dir string) string {
	t.Helper()
	if m.tool == "npm" {
		m.run(t, r, dir, "install") // with the packages: of bundled ones only their archives tell all
	} else {
		m.run(t, r, dir, "install", "--lockfile-only")
	}
	text, err := os.ReadFile(filepath.Join(dir, m.lockFile()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// install installs what the lock file says, and what functions get: not what is for development.
func (m manager) install(t testing.TB, r *npmIndex, dir string) {
	t.Helper()
	if m.tool == "npm" {
		m.run(t, r, dir, "ci", "--omit=dev")
	} else {
		m.run(t, r, dir, "install", "--frozen-lockfile", "--prod")
	}
}
