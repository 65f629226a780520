package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

func TestExamineData(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, dir string
		status    core.Status
		says      string
	}{
		{"there", dir, core.StatusOK, "MiB free"},
		{"to be made", filepath.Join(dir, "a", "b"), core.StatusOK, filepath.Join("a", "b")},
		{"a file", file, core.StatusFail, "no directory"},
		{"below a file", filepath.Join(file, "a"), core.StatusFail, "not a directory"},
		{"not writable", "/proc/self", core.StatusFail, "/proc/self"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := examineData(c.dir)
			if c.status == core.StatusOK && got.Status == core.StatusWarn {
				if os.Getenv("CI") != "" {
					t.Fatal("needs a disk with a gigabyte free")
				}
				t.Skip("needs a disk with a gigabyte free")
			}
			if got.Status != c.status || !strings.Contains(got.Detail, c.says) || (got.Fix == "") != (c.status == core.StatusOK) {
				t.Errorf("%+v", got)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("it made the directory")
	}
}

// What an examination has left that was killed the next one removes, and nothing of one that runs.
func TestDoctorDir(t *testing.T) {
	place := t.TempDir()
	one, done, err := doctorDir(place)
	if err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(place, "pipsqueak-doctor-1")
	other := filepath.Join(place, "pipsqueak-0123abcd")
	for _, dir := range []string{killed, other} {
		if err := os.MkdirAll(filepath.Join(dir, "sandboxes"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	two, doneToo, err := doctorDir(place)
	if err != nil {
		t.Fatal(err)
	}
	for dir, stays := range map[string]bool{one: true, two: true, other: true, killed: false} {
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("%s: %v", dir, err)
		}
	}
	done()
	doneToo()
	if left, err := os.ReadDir(place); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

func TestExamineLibexec(t *testing.T) {
	t.Setenv("PIPSQUEAK_LIBEXEC", "")
	drivers := t.TempDir()
	want := func(launcher, library core.Status) {
		t.Helper()
		got := examineLibexec(drivers)
		if len(got) != 2 || got[0].Status != launcher || got[1].Status != library {
			t.Errorf("%+v", got)
		}
		for _, f := range got {
			if (f.Fix == "") != (f.Status == core.StatusOK) {
				t.Errorf("%+v", f)
			}
		}
	}
	want(core.StatusFail, core.StatusFail)
	dir := filepath.Join(drivers, "libexec")
	launcher := filepath.Join(dir, launch.Launcher)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{launcher, filepath.Join(dir, launch.Library)} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want(core.StatusFail, core.StatusOK) // the launcher is not executable
	if err := os.Chmod(launcher, 0o755); err != nil {
		t.Fatal(err)
	}
	want(core.StatusOK, core.StatusOK)
}
