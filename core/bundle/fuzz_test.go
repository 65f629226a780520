package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// FuzzUnpack: whatever comes in, it is refused with an error that says so, or it can be committed; nothing
// else is touched.
func FuzzUnpack(f *testing.F) {
	entries := []entry{directory("d"), file("d/a", "1"), symlink("l", "d/a"), symlink("d/up", "../l")}
	f.Add(tarGz(f, append(entries, hardlink("h", "d/a"))...))
	f.Add(zipOf(f, entries...))
	f.Add(zipOf(f, file("../evil", "1"), symlink("e", "/etc")))
	f.Add(tarGz(f, symlink("l", "../.."), file("l/evil", "")))
	f.Add([]byte("PK\x05\x06" + string(make([]byte, 18))))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		above := t.TempDir()
		s, _, err := store.Open(filepath.Join(above, "data"))
		coretest.Must(t, err)
		defer s.Close()
		small := bounds{upload: 1 << 20, unpacked: 1 << 20, entries: 100, ratio: 200, ratioFloor: 64 << 10}
		dir, _, err := small.unpack(t.Context(), bytes.NewReader(data), s.Staging())
		if err == nil {
			_, _, err = s.CommitCode(dir)
			coretest.Must(t, err)
		}
		var e *core.Error
		if err != nil && (!errors.As(err, &e) || e.Fault != core.FaultCaller) {
			t.Errorf("%T %v", err, err)
		}
		wantNothing(t, s.Staging())
		if above, err := os.ReadDir(above); err != nil || len(above) != 1 {
			t.Errorf("there is more beside the data directory: %v %v", above, err)
		}
	})
}

// FuzzSettings: whatever comes in, it is refused with an error that says so, or within all ranges.
func FuzzSettings(f *testing.F) {
	f.Add([]byte("name: f\nruntime: fake1\nhandler: a.b\nmemory_mb: 512\ntimeout_ms: 5\nenv: {A: 1, B: yes}\nmax_instances: 5\nidle_timeout: 5m\nreuse: false\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {x: y}\n: <<: !!binary x"))
	f.Add([]byte("---\n...\n---"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseSettings(data)
		var e *core.Error
		if err != nil {
			if !errors.As(err, &e) || e.Fault != core.FaultCaller {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		l := m.Limits
		if l.Memory < 16<<20 || l.Memory > 1<<40 || l.Timeout <= 0 || l.MaxInstances < 1 || l.MaxInstances > 10000 || l.IdleTimeout <= 0 {
			t.Errorf("%+v", l)
		}
		if m.Name != "" && core.ValidName(m.Name) != nil {
			t.Errorf("the name %q", m.Name)
		}
	})
}

// FuzzLock: whatever comes in, it is refused with an error that says so, or every package has a digest and a
// directory of its own.
func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"runtime":"fake1","inputs":"sha256:1","packages":[{"name":"p","version":"1","archives":["sha256:1"],"requires":["q==2"]}],"files":{"a/b":"x"}}`))
	f.Add([]byte(`{"packages":[{"name":"@a/b","version":"1-x","archives":["sha512:1"],"purl":"pkg:npm/%40a/b@1","scripts":true}]}`))
	f.Add([]byte(`{"packages":[{"name":"..","version":"/../x","archives":["sha256:1"]}],"files":{"../x":""}}`))
	f.Add([]byte(`{"packages":null,"PACKAGES":[{"Name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		coretest.Must(t, os.WriteFile(filepath.Join(dir, LockFile), data, 0o600))
		lock, err := LoadLock(dir)
		if err != nil {
			var e *core.Error
			if !errors.As(err, &e) || e.Fault != core.FaultCaller {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		for _, p := range lock.Packages {
			if len(p.Archives) == 0 || filepath.Clean(filepath.Join("/packages", p.Base())) == "/packages" || !filepath.IsLocal(p.Base()) {
				t.Errorf("the package %+v", p)
			}
		}
		for name := range lock.Files {
			if !filepath.IsLocal(name) {
				t.Errorf("the file %q", name)
			}
		}
	})
}
