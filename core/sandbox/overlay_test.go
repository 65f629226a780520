package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// overlaying returns a configuration with two packages that are parts of a system and one that only looks so.
func (h *rig) overlaying(t *testing.T, role core.Role) core.SandboxConfig {
	t.Helper()
	for name, text := range map[string]string{
		"s1/usr/share/s1/data": "first", "s1/usr/share/both": "first", "s1/etc/s1/conf": "first", "s1/etc/hosts": "a package's", "s1/var/lib/s1/data": "first", "s1/opt/s1": "first",
		"s1/usr/lib/os-release": "a package's", "s2/usr/share/s2/data": "second", "s2/usr/share/both": "second", "s2/etc/fonts/own.conf": "second", "s2/dev/null": "a package's", "o1/usr/share/o1": "another",
	} {
		path := filepath.Join(h.store, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	config := h.config(role)
	config.Runtime.Overlay = "system+"
	config.Packages = core.NewSet(core.Package{Name: "system+one", Version: "1", Digest: "s1"}, core.Package{Name: "system+two", Version: "1", Digest: "s2"},
		core.Package{Name: "other", Version: "1", Digest: "o1"})
	return config
}

// TestOverlay looks for the files of packages where their programs do.
func TestOverlay(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	second := h.fork(t, zygote, h.overlaying(t, core.RoleZygote))
	for _, c := range []child{second, h.fork(t, zygote, h.overlaying(t, core.RoleInstance)), h.fork(t, second, h.overlaying(t, core.RoleInstance))} {
		for path, want := range map[string]string{"/usr/share/s1/data": "first", "/usr/share/s2/data": "second", "/usr/share/both": "first", "/etc/s1/conf": "first",
			"/etc/fonts/own.conf": "second", "/var/lib/s1/data": "first", "/opt/s1": "first", "/usr/lib/os-release": "a package's", "/packages/system+one-1/usr/share/both": "first"} {
			if got := c.ask(t, "cat "+path); got != want {
				t.Errorf("%s has %q, want %q", path, got, want)
			}
		}
		if hosts := c.ask(t, "cat /etc/hosts"); !strings.Contains(hosts, "localhost") {
			t.Errorf("/etc/hosts has %q", hosts)
		}
		if got := c.ask(t, "ls /usr/share"); !strings.Contains(got, "zoneinfo ") || strings.Contains(got, "o1 ") {
			t.Errorf("/usr/share shows %q", got)
		}
		if got := c.ask(t, "ls /var"); !strings.Contains(got, "tmp 120777 0:0 /tmp") {
			t.Errorf("/var shows %q", got)
		}
		for _, path := range []string{"/usr/share/a", "/usr/share/s1/data", "/etc/a", "/var/lib/s1/data", "/opt/a"} {
			if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_CREAT|unix.O_RDWR, 0o600); err == nil {
				t.Errorf("%s can be written to", path)
			}
		}
	}
	if got := h.launch(t, h.overlaying(t, core.RoleInstaller)).ask(t, "cat /usr/share/both"); !strings.HasPrefix(got, "error") {
		t.Errorf("an installer sees %q", got)
	}
}

// TestOverlayOfMany has more packages than their paths could be told in a page, and one that is replaced.
func TestOverlayOfMany(t *testing.T) {
	r := openTestRoots(t, nil)
	var layers []string
	for range 200 {
		layer := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
		if err := os.MkdirAll(filepath.Join(layer, "opt", filepath.Base(filepath.Dir(layer))), 0o755); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, layer)
	}
	spec := &specs.Spec{Linux: &specs.Linux{}, Mounts: overlaid(nil, layers)}
	for _, more := range []string{"first", "second"} {
		opt := filepath.Join(layers[0], "opt")
		if err := errors.Join(os.RemoveAll(opt), os.MkdirAll(filepath.Join(opt, more), 0o755)); err != nil {
			t.Fatal(err)
		}
		fd, err := copyOf(r, spec)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if names, _ := look(t, r, filepath.Join(r.known[len(r.known)-1].dir, "opt")); !slices.Contains(names, more) || len(names) < 2 {
			t.Errorf("/opt shows %v, not %s", names, more)
		}
	}
	if names, _ := look(t, r, r.dir); len(names) != len(r.known) {
		t.Errorf("beside the roots there is %v", names)
	}
}
