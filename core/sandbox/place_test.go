package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What programs expect of the place they run in.
func TestPlace(t *testing.T) {
	h := newRig(t)
	for role, c := range everyRole(t, h) {
		if got := words(t, c, "Umask"); len(got) != 1 {
			t.Errorf("%s: %v", role, got)
		}
		directory := core.CodeDir
		if role == core.RoleInstaller {
			directory = "/"
		}
		if got := linesWith(c.ask(t, "ls /proc/self"), "cwd "); !strings.HasSuffix(got, " "+directory+"\n") {
			t.Errorf("%s: the working directory is %s", role, got)
		}
		for _, path := range []string{"/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/dev/null", "/tmp/a", "/var/tmp/b", "/run/c", "/var/run/d", "/dev/shm/e"} {
			if got := c.ask(t, "write "+path+" 1"); got != "written" {
				t.Errorf("%s: writing to %s: %s", role, path, got)
			}
		}
		if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/stdin", unix.O_RDONLY, 0); err != nil {
			t.Errorf("%s: opening /dev/stdin: %v", role, err)
		}
		for _, path := range []string{"/etc/passwd", "/etc/hosts", "/usr/a", "/dev/a"} {
			if got := c.ask(t, "write "+path+" 1"); got == "written" {
				t.Errorf("%s writes to %s", role, path)
			}
		}
		if got := c.ask(t, "cat /etc/hosts"); !strings.Contains(got, " "+c.spec.Hostname+"\n") || strings.TrimSpace(c.ask(t, "cat /etc/hostname")) != c.spec.Hostname {
			t.Errorf("%s: its own host name is not in /etc/hosts: %s", role, got)
		}
		if got := c.ask(t, "cat /etc/nsswitch.conf"); got != nsswitch {
			t.Errorf("%s: %s", role, got)
		}
		if got := linesWith(c.ask(t, "ls /etc"), "localtime "); !strings.Contains(got, "/Etc/UTC") {
			t.Errorf("%s: the local time is %s", role, got)
		}
		comparePlace(t, c)
	}
}

func comparePlace(t *testing.T, c child) {
	t.Helper()
	uid, gid, role := words(t, c, "Uid")[0], words(t, c, "Gid")[0], c.config.Role
	name := core.UserName
	if got := linesWith(c.ask(t, "cat /etc/passwd"), name+":"); !strings.HasPrefix(got, fmt.Sprintf("%s:x:%s:%s:%s:/tmp:", name, uid, gid, name)) {
		t.Errorf("%s: the user %s has the account %q", role, uid, got)
	}
	if got := linesWith(c.ask(t, "cat /etc/group"), name+":"); got != fmt.Sprintf("%s:x:%s:\n", name, gid) {
		t.Errorf("%s: the group %s is %q", role, gid, got)
	}
	if role == core.RoleZygote {
		return
	}
	if got := c.ask(t, "ls /tmp"); strings.Contains(got, "passwd") {
		t.Errorf("%s: /tmp has what is not its own: %s", role, got)
	}
	if got := c.ask(t, "terminal"); got != "/dev/pts/0" {
		t.Errorf("%s: a terminal of its own: %s", role, got)
	}
}

// Files of a sandbox are bounded for themselves: what does not fit is told to who writes, and it ends nobody,
// whatever memory is in use.
func TestFullScratch(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	config := h.config(core.RoleInstance)
	config.Limits.Memory = 64 << 20
	c := h.fork(t, zygote, config)
	if got := c.ask(t, "fill 50000000"); got != "filled" {
		t.Fatal(got)
	}
	if got := c.ask(t, "write /tmp/a 40000000"); got != "written" {
		t.Error(got)
	}
	for _, path := range []string{"/var/tmp/b", "/run/c", "/dev/shm/d", "/tmp/e"} {
		if got := c.ask(t, "write "+path+" 40000000"); got != "No space left on device" {
			t.Errorf("too much in %s: %s", path, got)
		}
	}
	if got := c.ask(t, "fill 5000000"); got != "filled" {
		t.Error(got)
	}
	if own, outside := c.cgroup.outOfMemory(); own || outside {
		t.Error("files were taken for memory")
	}
}
