// Package netns has functions run in other network namespaces than the worker's.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// own is the network namespace of the calling thread.
const own = "/proc/thread-self/ns/net"

// Do runs f on a thread that is in the network namespace of fd: a file of it, or the pidfd of a process in
// it. It fails when that is the namespace of the caller. Sockets that f makes stay there, and programs that
// it starts run there; the thread is there for no longer than f.
func Do(fd int, f func() error) error {
	return away(func(before os.FileInfo) error {
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("joining a network namespace: %w", err)
		}
		there, err := os.Stat(own)
		if err != nil {
			return err
		}
		if os.SameFile(before, there) {
			return errors.New("it has no network of its own")
		}
		return f()
	})
}

// New makes a network namespace, which ends with the file and with what is in it. The caller closes the file.
func New() (made *os.File, err error) {
	err = away(func(os.FileInfo) error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		made, err = os.Open(own)
		return err
	})
	return made, err
}

// away runs f on a thread that may go to another network namespace, and brings it back.
func away(f func(before os.FileInfo) error) error {
	runtime.LockOSThread()
	home, err := os.Open(own)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	before, err := home.Stat()
	if err == nil {
		err = f(before)
	}
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// Locked it stays: the thread ends with the goroutine, and nothing else ever runs in that network.
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}
