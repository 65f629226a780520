package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does doctor say, and does it leave anything?

// doctor runs the real program and returns its findings and its exit status.
func doctor(t *testing.T, as *syscall.SysProcAttr, flags ...string) ([]core.Finding, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), append([]string{"doctor", "-o", "json", "--data", t.TempDir()}, flags...)...)
	cmd.SysProcAttr = as
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var found []core.Finding
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), errs.String())
	}
	for _, f := range found {
		if f.Name == "" || f.Detail == "" || (f.Fix == "") != (f.Status == core.StatusOK) {
			t.Errorf("%+v", f)
		}
	}
	return found, cmd.ProcessState.ExitCode()
}

func statusOf(found []core.Finding, name string) core.Status {
	i := slices.IndexFunc(found, func(f core.Finding) bool { return f.Name == name })
	if i < 0 {
		return "not looked at"
	}
	return found[i].Status
}

// TestDoctor runs it where the other tests run workers, so nothing may fail.
func TestDoctor(t *testing.T) {
	system(t)
	left := func() (all []string) {
		all = append(all, mounts()...)
		for _, pattern := range []string{"/run/pipsqueak-doctor-*", os.TempDir() + "/pipsqueak-doctor-*"} {
			names, _ := filepath.Glob(pattern)
			all = append(all, names...)
		}
		return append(all, groupsNamed("pipsqueak-doctor")...)
	}
	before := left()
	found, status := doctor(t, nil)
	for _, f := range found {
		if f.Status == core.StatusFail {
			t.Errorf("%+v", f)
		}
	}
	if i := slices.IndexFunc(found, func(f core.Finding) bool { return strings.Contains(f.Detail, "a fork of it in") }); status != 0 || i < 0 {
		t.Errorf("status %d, %+v", status, found)
	}
	if after := left(); !slices.Equal(after, before) {
		t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// TestDoctorWithoutRoot runs it where no worker can run: it has to say so, and to go on.
func TestDoctorWithoutRoot(t *testing.T) {
	system(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	coretest.Requires(t, coretest.Need{Name: "programs that everybody may run", Met: func() error {
		cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), "version")
		cmd.SysProcAttr = nobody
		return cmd.Run()
	}})
	for name, as := range map[string]*syscall.SysProcAttr{
		"nobody": nobody,
		"root of a user namespace": {Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			found, status := doctor(t, as)
			if status != 1 || statusOf(found, "user") != core.StatusFail || statusOf(found, "sandbox") != core.StatusWarn || statusOf(found, "kernel") == core.StatusFail {
				t.Errorf("status %d, %+v", status, found)
			}
		})
	}
}
