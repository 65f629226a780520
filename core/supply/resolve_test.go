package supply

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

func TestManifests(t *testing.T) {
	dir := fstest.MapFS{"b.lock": {}, "m.json": {}, "x/m.json": {}, "x/y/m.json": {}, "x/b.lock": {}, "x/m.json.orig": {}}
	for _, test := range []struct{ wanted, found []string }{
		{nil, nil},
		{[]string{"m.json", "b.lock", "c.lock"}, []string{"b.lock", "c.lock", "m.json"}},
		{[]string{"**/m.json", "b.lock", "m.json"}, []string{"b.lock", "m.json", "x/m.json", "x/y/m.json"}},
	} {
		if got, err := manifests(dir, test.wanted); err != nil || !slices.Equal(got, test.found) {
			t.Errorf("%v: %v %v, want %v", test.wanted, got, err, test.found)
		}
	}
}

// TestInputsOfWhatIsBrought: a function that brings its packages along has another lock than one with the
// same manifests that does not. Links that a driver has made are not brought.
func TestInputsOfWhatIsBrought(t *testing.T) {
	runtime := core.Runtime{ID: "snake3.11", Manifests: []string{"package.json"}}
	of := func(make func(dir string) error) string {
		dir := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}"), 0o644), os.MkdirAll(filepath.Join(dir, "node_modules/@scope/.bin"), 0o755), make(dir)); err != nil {
			t.Fatal(err)
		}
		d := &deployment{dir: dir, runtime: runtime}
		asked, err := d.inputs()
		if err != nil {
			t.Fatal(err)
		}
		return asked
	}
	none := of(func(dir string) error { return os.RemoveAll(filepath.Join(dir, "node_modules")) })
	if links := of(func(dir string) error {
		return errors.Join(os.Symlink("/packages/a", filepath.Join(dir, "node_modules/a")), os.Symlink("/packages/b", filepath.Join(dir, "node_modules/@scope/b")))
	}); links != none {
		t.Error("links count")
	}
	for _, name := range []string{"node_modules/a", "node_modules/@scope/a"} {
		if brought := of(func(dir string) error { return os.Mkdir(filepath.Join(dir, name), 0o755) }); brought == none {
			t.Errorf("%s does not count", name)
		}
	}
}

// TestNothingToResolve takes a function that asks for no packages as resolved, and no other.
func TestNothingToResolve(t *testing.T) {
	w := newWorld(t, nil)
	runtime := core.Runtime{ID: "snake3.11", Manifests: []string{"needs.txt", "**/parcel.json"}}
	for _, test := range []struct {
		file   string
		debian []string
		none   bool
	}{
		{"", nil, true}, {"handler.sn", nil, true}, {"deep/needs.txt", nil, true}, {"needs.txt.old", nil, true},
		{"needs.txt", nil, false}, {"parcel.json", nil, false}, {"deep/er/parcel.json", nil, false}, {"", []string{"libx"}, false},
	} {
		dir := t.TempDir()
		if test.file != "" {
			path := filepath.Join(dir, test.file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		for _, again := range []bool{false, true} {
			d := w.deployment(core.DeployRequest{Again: again}, dir, nil)
			d.runtime, d.settings.Debian = runtime, test.debian
			lock, asked, err := d.knownLock()
			if err != nil || test.none != (lock != nil) || test.none != (asked == "") {
				t.Errorf("%+v: %+v, %q, %v", test, lock, asked, err)
			}
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, bundle.LockFile), []byte(`{"runtime":"snake3.11","inputs":"sha256:other","packages":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	d := w.deployment(core.DeployRequest{}, dir, nil)
	d.runtime = runtime
	if lock, _, err := d.knownLock(); !core.IsKind(err, core.KindInstall) {
		t.Errorf("a lock of other manifests than there are: %+v, %v", lock, err)
	}
}
