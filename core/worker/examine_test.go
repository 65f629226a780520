package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
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
			if got.Status != c.status || !strings.Contains(got.Detail, c.says) || (got.Mend == "") != (c.status == core.StatusOK) {
				t.Errorf("%+v", got)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("it made the directory")
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
			if (f.Mend == "") != (f.Status == core.StatusOK) {
				t.Errorf("%+v", f)
			}
		}
	}
	want(core.StatusFail, core.StatusFail)
	dir := filepath.Join(drivers, "libexec")
	launcher := filepath.Join(dir, zygote.Launcher)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{launcher, filepath.Join(dir, zygote.Library)} {
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
