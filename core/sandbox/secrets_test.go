package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What lies where a secret is to be, or on the way there, is neither followed nor written to.
func TestSecretsFollowNothing(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err := errors.Join(os.Symlink(outside, filepath.Join(dir, "link")), os.Symlink(victim, filepath.Join(dir, "file")), os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "dangling")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Link(victim, filepath.Join(dir, "hard")))
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	for _, name := range []string{"file", "dangling", "fifo", "hard", "link/victim", "link/new", "../escape"} {
		if err := writeSecret(at, name, core.Secret("top secret")); err == nil {
			t.Errorf("%s is written", name)
		}
	}
	if fd, err := openBeneath(at, "link", unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
		unix.Close(fd)
		t.Error("a link in place of the directory is followed")
	}
	if text, err := os.ReadFile(victim); err != nil || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := writeSecret(at, "good", core.Secret("top secret")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "good")); err != nil || info.Mode() != 0o400 {
		t.Errorf("%v, %v", info, err)
	}
}

// As another user only that user's files can be made, and afterwards it is root's thread again.
func TestAs(t *testing.T) {
	coretest.Requires(t, root)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "file")
	if err := as(firstID, func() error { return os.WriteFile(name, nil, 0o600) }); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a user writes to a directory of root's: %v", err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Errorf("root does not any more: %v", err)
	}
	open := filepath.Join(os.TempDir(), "pipsqueak-as-"+filepath.Base(dir))
	defer os.Remove(open)
	if err := as(firstID, func() error { return os.WriteFile(open, nil, 0o600) }); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(open, &stat); err != nil || stat.Uid != firstID || stat.Gid != firstID {
		t.Errorf("the file is of %d:%d, %v", stat.Uid, stat.Gid, err)
	}
}
