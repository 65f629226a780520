package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// secretsIn is the directory of secrets below the scratch, which SecretsDir leads to.
const secretsIn = "secrets"

// giveSecrets writes the secrets of an instance into its scratch, which is in memory and nobody else's, as
// files of its user. The process is inside and has not got its handler yet. What forked it could have put
// anything in its place, so nothing is followed on the way, nothing is opened that is there already, and
// everything is done with the rights of its user: there is nothing to be gained.
func (s *Sandbox) giveSecrets() error {
	if len(s.config.Secrets) == 0 {
		return nil
	}
	user, err := userOf(s.pid)
	if err != nil {
		return err
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the root directory of the process: %w", err)
	}
	defer unix.Close(root)
	if err := unix.PidfdSendSignal(s.pidfd, 0, nil, 0); err != nil { // else the number may be another process's
		return fmt.Errorf("the process for its secrets: %w", err)
	}
	return as(user, func() error {
		scratch, err := openBeneath(root, core.ScratchDir[1:], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(scratch)
		if err := unix.Mkdirat(scratch, secretsIn, 0o700); err != nil {
			return fmt.Errorf("making %s: %w", core.SecretsDir, err)
		}
		dir, err := openBeneath(scratch, secretsIn, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		for name, value := range s.config.Secrets {
			if err := writeSecret(dir, name, value); err != nil {
				return fmt.Errorf("writing %s/%s: %w", core.SecretsDir, name, err)
			}
		}
		return unix.Fchmod(dir, 0o500)
	})
}

func writeSecret(dir int, name string, value core.Secret) error {
	fd, err := openBeneath(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = file.Write(value)
	return errors.Join(err, file.Close())
}

// openBeneath opens a path below a directory, on which there is no link.
func openBeneath(dir int, path string, flags, mode uint64) (int, error) {
	return unix.Openat2(dir, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
}

// userOf returns the user of the host that a process is.
func userOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("\nUid:"))
	if words := bytes.Fields(rest); len(words) > 0 {
		return strconv.Atoi(string(words[0]))
	}
	return 0, fmt.Errorf("process %d has no user", pid)
}

// as calls f with the rights that a user of the host has on files, and none more. Files that it makes are the
// user's. A file system of a user namespace takes files of its own users only.
func as(user int, f func() error) error {
	runtime.LockOSThread()
	_, group := unix.SetfsgidRetGid(user)
	_, err := unix.SetfsuidRetUid(user)
	if err = errors.Join(err, group); err == nil {
		err = f()
	}
	// The user last: only with the rights of root may the group be any.
	_, last := unix.SetfsuidRetUid(0)
	_, group = unix.SetfsgidRetGid(0)
	if now, _ := unix.SetfsuidRetUid(-1); now == 0 && last == nil && group == nil {
		runtime.UnlockOSThread() // else the thread ends with the goroutine
	}
	return err
}
