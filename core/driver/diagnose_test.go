package driver_test

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

// compile makes a file of C with the compiler of the machine, as `cc -o path FLAGS source.c`.
func compile(t *testing.T, path, source string, flags ...string) error {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs a C compiler, and CI must have it: %v", err)
		}
		t.Skipf("needs a C compiler: %v", err)
	}
	file := filepath.Join(t.TempDir(), "source.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("cc", append([]string{"-o", path, file}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return os.Chmod(path, 0o755)
}

// TestDoctorExplains has Examine look at programs that are really broken. Each finding names the file and
// says what to do.
func TestDoctorExplains(t *testing.T) {
	script := func(text string) func(*testing.T, string) error {
		return func(_ *testing.T, path string) error { return os.WriteFile(path, []byte(text), 0o755) }
	}
	const nothing = "int main(void) { return 0; }"
	for _, c := range []struct {
		name    string
		make    func(t *testing.T, path string) error
		says    string // in the detail
		remedy  string // in the detail or in how to fix it
		asRoot  bool
		machine bool // what it lacks is the machine's, so nothing has to be tried by hand
	}{
		{"mode", func(_ *testing.T, path string) error { return os.WriteFile(path, nil, 0o644) }, "not executable (mode 0644)", "chmod 755", false, true},
		{"world-writable", func(_ *testing.T, path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o755), os.Chmod(path, 0o757))
		}, "written by everybody", "chmod 755", false, true},
		{"group-writable", func(_ *testing.T, path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o755), os.Chown(path, 0, 12345), os.Chmod(path, 0o775))
		}, "the group 12345", "chmod 755", true, true},
		{"owner", func(_ *testing.T, path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o755), os.Chown(path, 12345, 0))
		}, "user 12345", "chown", true, true},
		{"link", func(_ *testing.T, path string) error { return os.Symlink("/opt/none/driver", path) }, "a link to /opt/none/driver", "remove the link", false, true},
		{"machine", script(otherMachine()), "another machine (EM_RISCV", "install the one for this machine", false, true},
		{"object", func(t *testing.T, path string) error { return compile(t, path, nothing, "-c") }, "another kind of ELF file (ET_REL)", "install it again", false, true},
		{"no interpreter", func(t *testing.T, path string) error {
			return compile(t, path, nothing, "-Wl,--dynamic-linker=/lib/ld-none.so")
		}, "needs /lib/ld-none.so", "install it", false, true},
		{"no interpreter of a script", script("#!/usr/bin/none -x\n"), "needs /usr/bin/none to run", "install it", false, true},
		{"line ends", script("#!/bin/sh\r\nexit 0\r\n"), "carriage return", "line ends of Unix", false, true},
		{"no library", func(t *testing.T, path string) error {
			dir := t.TempDir()
			lib := filepath.Join(dir, "libnowhere.so")
			err := compile(t, lib, "int nowhere(void) { return 0; }", "-shared", "-fPIC")
			return errors.Join(err, compile(t, path, "int nowhere(void); int main(void) { return nowhere(); }", "-L"+dir, "-lnowhere"), os.Remove(lib))
		}, "cannot be loaded: libnowhere.so", "install the package that has it", false, true},
		{"no symbol", func(t *testing.T, path string) error {
			dir := t.TempDir()
			lib := filepath.Join(dir, "libold.so")
			err := compile(t, lib, "int old(void) { return 0; }", "-shared", "-fPIC")
			err = errors.Join(err, compile(t, path, "int old(void); int main(void) { return old(); }", "-L"+dir, "-lold", "-Wl,-rpath,"+dir))
			return errors.Join(err, compile(t, lib, "int other(void) { return 0; }", "-shared", "-fPIC"))
		}, "undefined symbol: old", "built for this system", false, true},
		{"newer version", script("#!/bin/sh\necho \"1|4|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|\"\nexec sleep 9\n"), "version 4 of the driver protocol", "install a newer Pipsqueak", false, false},
		{"older version", script("#!/bin/sh\necho \"1|0|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|\"\nexec sleep 9\n"), "version 0 of the driver protocol", "build the driver again", false, false},
		{"crashes", script("#!/bin/sh\necho about to crash >&2\nkill -SEGV $$\n"), "segmentation fault", "--describe` does by hand", false, false},
		{"exits", script("#!/bin/sh\nexit 9\n"), "exit status 9", "--describe` does by hand", false, false},
		{"babbles", script("#!/bin/sh\nwhile echo hello; do :; done\n"), `wrote "hello" to its standard output`, "log to standard error", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.asRoot && os.Geteuid() != 0 {
				if os.Getenv("CI") != "" {
					t.Fatal("needs root, and CI must have it")
				}
				t.Skip("needs root")
			}
			dir := t.TempDir()
			path := filepath.Join(dir, driver.Prefix+"broken")
			if err := c.make(t, path); err != nil {
				t.Fatal(err)
			}
			f := examineBroken(t, dir)
			if f.Status != core.StatusFail || !strings.Contains(f.Detail, path) || !strings.Contains(f.Detail, c.says) || !strings.Contains(f.Detail+f.Fix, c.remedy) {
				t.Errorf("%+v\nwant %q and %q", f, c.says, c.remedy)
			}
			if byHand := strings.Contains(f.Fix, "by hand"); byHand == c.machine {
				t.Errorf("%+v", f)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		t.Parallel() // it takes all the time that a driver may take
		dir := t.TempDir()
		if err := script("#!/bin/sh\necho waiting for nothing >&2\nexec sleep 60\n")(t, filepath.Join(dir, driver.Prefix+"broken")); err != nil {
			t.Fatal(err)
		}
		if f := examineBroken(t, dir); !strings.Contains(f.Detail, "not get ready in time") || !strings.Contains(f.Detail, "waiting for nothing") {
			t.Errorf("%+v", f)
		}
	})
}

func examineBroken(t *testing.T, dir string) core.Finding {
	t.Helper()
	found := driver.Examine(t.Context(), dir, driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)}, nil)
	if len(found) != 1 || found[0].Name != "driver-broken" {
		t.Fatalf("%+v", found)
	}
	return found[0]
}

// A directory in which others may put programs is worth a warning, whatever is in it now.
func TestDoctorLooksAtTheDirectory(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "plain")
	options := driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)}
	if found := driver.Examine(t.Context(), dir, options, nil); found[0].Name != "driver-plain" {
		t.Errorf("%+v", found[0])
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	found := driver.Examine(t.Context(), dir, options, nil)
	if f := found[0]; f.Status != core.StatusWarn || !strings.Contains(f.Detail, dir) || !strings.Contains(f.Fix, "chmod 755") {
		t.Errorf("%+v", f)
	}
}
