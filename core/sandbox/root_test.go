package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestRootShows(t *testing.T) {
	h := newRig(t)
	hidden := filepath.Join(programs.dir, "shown") // shown and then hidden: the last mount counts
	config := h.config(core.RoleInstaller)
	writable := t.TempDir()
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	config.Runtime.Mounts = append(config.Runtime.Mounts, core.Mount{Source: hidden, Target: "/opt/hidden"})
	config.Runtime.Hidden = []string{"/opt/hidden", "/usr/share", "/usr/there/is/no/such"}
	config.Mounts = []core.Mount{{Source: writable, Target: core.OutDir, Writable: true}}
	c := h.launch(t, config)

	names := func(dir string) []string {
		var out []string
		for line := range strings.Lines(c.ask(t, "ls "+dir)) {
			name, _, _ := strings.Cut(line, " ")
			out = append(out, name)
		}
		return slices.Sorted(slices.Values(out))
	}
	want := map[string]bool{"dev": true, "etc": true, "function": true, "proc": true, "tmp": true, "opt": true, "out": true, "run": true, "var": true}
	for _, dir := range systemDirs {
		if _, err := os.Stat(dir); err == nil {
			want[dir[1:]] = true
		}
	}
	if got := names("/"); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("/ shows %v and not %v", got, want)
	}
	if got := names("/etc"); slices.Contains(got, "shadow") || !slices.Contains(got, "resolv.conf") || !slices.Contains(got, "passwd") {
		t.Errorf("/etc shows %v", got)
	}
	for _, dir := range []string{"/opt/hidden", "/usr/share"} {
		if got := c.ask(t, "ls "+dir); got != "empty" {
			t.Errorf("%s shows %s", dir, got)
		}
	}
	wantDev := "fd 120777 0:0 /proc/self/fd\nfull 20666 1:7 -\nnull 20666 1:3 -\nptmx 120777 0:0 pts/ptmx\npts 40755 0:0 -\nrandom 20666 1:8 -\nshm 120777 0:0 /tmp\n" +
		"stderr 120777 0:0 /proc/self/fd/2\nstdin 120777 0:0 /proc/self/fd/0\nstdout 120777 0:0 /proc/self/fd/1\nurandom 20666 1:9 -\nzero 20666 1:5 -\n"
	if got := slices.Sorted(strings.Lines(c.ask(t, "ls /dev"))); strings.Join(got, "") != wantDev {
		t.Errorf("/dev shows %v", got)
	}
	for path, flags := range map[string]int{"/dev/null": unix.O_RDWR, "/dev/urandom": unix.O_RDONLY, "/tmp/a": unix.O_CREAT | unix.O_RDWR, core.OutDir + "/a": unix.O_CREAT | unix.O_RDWR} {
		if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, path, flags, 0o600); err != nil {
			t.Errorf("opening %s: %v", path, err)
		}
	}
	for _, path := range []string{"/a", "/etc/a", "/dev/a", "/usr/a", "/opt/a"} {
		if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_CREAT|unix.O_RDWR, 0o600); err == nil {
			t.Errorf("%s was made", path)
		}
	}
	if got := c.ask(t, "ls /tmp"); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "a ") {
		t.Errorf("/tmp shows %s", got)
	}
	for _, gone := range []string{"/sys", "/root", "/home", "/var/lib", "/boot", "/.oldroot"} {
		if got := c.ask(t, "ls "+gone); got != "error: No such file or directory" {
			t.Errorf("%s shows %s", gone, got)
		}
	}
}

// An instance's root lies on its zygote's. The zygote shows a directory that the instance does not, and no
// path leads the instance to it.
func TestNothingBelowTheRoot(t *testing.T) {
	h := newRig(t)
	of := h.config(core.RoleZygote)
	of.Mounts = []core.Mount{{Source: filepath.Join(h.store, "p1"), Target: "/zygotes"}}
	zygote := h.launch(t, of)
	if got := zygote.ask(t, "ls /zygotes"); !strings.HasPrefix(got, "open ") {
		t.Fatalf("the zygote's directory shows %s", got)
	}
	c := h.fork(t, zygote, h.config(core.RoleInstance))
	for _, path := range []string{"/..", "/../..", "/proc/self/root/..", "/proc/self/cwd/../..", "/tmp/../.."} {
		if got := c.ask(t, "ls "+path); got != c.ask(t, "ls /") || strings.Contains(got, "zygotes") {
			t.Errorf("%s shows %s", path, got)
		}
	}
	if got := c.ask(t, "cat /proc/self/mountinfo"); strings.Contains(got, "zygotes") || len(linesWith(got, "")) == 0 {
		t.Errorf("its mounts are %s", got)
	}
	for what, err := range map[string]error{"umount2": c.call(t, unix.SYS_UMOUNT2, "/", unix.MNT_DETACH), "chroot": c.call(t, unix.SYS_CHROOT, "/tmp")} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// openTestRoots returns roots of its own in an empty directory.
func openTestRoots(t *testing.T, links map[string]string) *roots {
	t.Helper()
	coretest.Requires(t, root)
	r, err := openRoots(t.TempDir(), links)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// look lists a directory and counts mounts, as the thread sees them.
func look(t *testing.T, r *roots, dir string) (names []string, mounts int) {
	t.Helper()
	err := r.do(func() error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		text, e := os.ReadFile("/proc/thread-self/mountinfo")
		mounts = strings.Count(string(text), r.dir)
		if err == nil {
			err = e
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, mounts
}

func hides(dir string) *specs.Spec {
	return &specs.Spec{Linux: &specs.Linux{}, Mounts: []specs.Mount{{Destination: dir, Type: "tmpfs", Options: []string{"ro"}}}}
}

func TestRootsAreKeptAndGivenUp(t *testing.T) {
	r := openTestRoots(t, nil)
	take := func(i int) {
		t.Helper()
		fd, err := copyOf(r, hides(fmt.Sprintf("/d%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	for i := range maxRoots {
		take(i)
	}
	take(0) // now 1 is the oldest
	first, second := r.known[len(r.known)-1].dir, r.known[0].dir
	_, before := look(t, r, r.dir)
	take(maxRoots)
	names, after := look(t, r, r.dir)
	if len(names) != maxRoots || len(r.known) != maxRoots || before != after {
		t.Errorf("%d directories, %d known, %d mounts and then %d", len(names), len(r.known), before, after)
	}
	if !slices.Contains(names, filepath.Base(first)) || slices.Contains(names, filepath.Base(second)) {
		t.Error("what went is not what was used longest ago")
	}
}

func TestFailingMountLeavesNothing(t *testing.T) {
	r := openTestRoots(t, nil)
	for _, m := range []specs.Mount{
		{Destination: "/x", Type: "bind", Source: "/there/is/no/such"},
		{Destination: "/usr/there/is/no/such", Type: "tmpfs", Options: []string{"ro"}},
		{Destination: "/dev/null/x", Type: "bind", Source: "/usr"},
	} {
		spec := hides("/before")
		spec.Linux.Devices = devices
		spec.Mounts = append(spec.Mounts, m)
		before := descriptors(t)
		for range 2 {
			if _, err := copyOf(r, spec); err == nil || !strings.Contains(err.Error(), m.Destination) {
				t.Errorf("mounting %s: %v", m.Destination, err)
			}
		}
		if names, mounts := look(t, r, r.dir); len(names) > 0 || mounts != 1 || descriptors(t) > before {
			t.Errorf("after %s there are %v, %d mounts, %d descriptors and then %d", m.Destination, names, mounts, before, descriptors(t))
		}
	}
}

// A link in the root directory must not lead a mount to the host's directory of that name.
func TestMountsStayInside(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := openTestRoots(t, map[string]string{"lib": outside, "up": "../../../../.." + outside})
	for _, name := range []string{"/lib", "/up"} {
		spec := hides(name)
		if fd, err := copyOf(r, spec); err == nil {
			unix.Close(fd)
			t.Errorf("mounted over what %s leads to", name)
		}
	}
	if names, _ := look(t, r, outside); len(names) != 1 {
		t.Errorf("the host's directory shows %v", names)
	}
}

func TestHostSeesNoMount(t *testing.T) {
	read := func() string {
		text, err := os.ReadFile("/proc/1/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	coretest.Requires(t, root)
	before := read()
	h := newRig(t)
	c := h.launch(t, h.config(core.RoleZygote))
	h.fork(t, c, h.config(core.RoleInstance))
	if now := read(); now != before || strings.Contains(now, h.dir) {
		t.Errorf("the host's mounts were\n%s\nand are\n%s", before, now)
	}
	if entries, err := os.ReadDir(h.rootsDir()); err != nil || len(entries) != 0 {
		t.Errorf("the host sees %v, %v in the directory of roots", entries, err)
	}
}

// TestRootOfAnotherDirectory has a directory removed, and another one made at its path: a root that was
// prepared before does not show it.
func TestRootOfAnotherDirectory(t *testing.T) {
	r := openTestRoots(t, nil)
	source := filepath.Join(t.TempDir(), "package")
	spec := &specs.Spec{Linux: &specs.Linux{}, Mounts: []specs.Mount{{Destination: "/p", Type: "bind", Source: source, Options: []string{"ro"}}}}
	for _, name := range []string{"first", "second"} {
		if err := errors.Join(os.RemoveAll(source), os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		fd, err := copyOf(r, spec)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if names, _ := look(t, r, filepath.Join(r.known[len(r.known)-1].dir, "p")); !slices.Equal(names, []string{name}) {
			t.Errorf("%s is shown as %v", name, names)
		}
	}
}

// copyOf returns a copy of the root directory that a Spec describes, with the host's root as its owner.
func copyOf(r *roots, spec *specs.Spec) (int, error) {
	key, err := keyOf(spec)
	if err != nil {
		return -1, err
	}
	return r.copyFor(spec, key, 0)
}
