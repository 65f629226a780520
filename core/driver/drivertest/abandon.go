package drivertest

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Abandon checks that a process which runs a zygote loop (core/driver/kit/zygote) waits when its driver is
// gone, for its descendants would die with it: idle, with a word of its own unread, and in the import of a
// module. It needs no sandbox for that. Command makes the command of such a process, whose descriptor 3
// becomes the control socket.
func Abandon(t *testing.T, command func() *exec.Cmd, module string) {
	t.Helper()
	for name, leave := range map[string]func(t *testing.T, control int){
		"idle":               func(t *testing.T, control int) { hear(t, control, 0) },
		"with a word unread": func(t *testing.T, control int) { hear(t, control, syscall.MSG_PEEK) },
		"in an import": func(t *testing.T, control int) {
			hear(t, control, 0)
			if err := syscall.Sendmsg(control, []byte(`{"op":"import","modules":["`+module+`"]}`), nil, nil, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
			defer ours.Close()
			cmd := command()
			cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
			err = cmd.Start()
			theirs.Close()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait()
			}()
			defer func() {
				_ = cmd.Process.Kill()
				<-ended
			}()
			leave(t, pair[0])
			ours.Close()
			select {
			case <-ended:
				t.Errorf("the zygote ended: %v", cmd.ProcessState)
			case <-time.After(500 * time.Millisecond):
			}
		})
	}
}

// hear waits for a word of the process's.
func hear(t *testing.T, control, flags int) {
	t.Helper()
	if n, _, err := syscall.Recvfrom(control, make([]byte, 1024), flags); n <= 0 {
		t.Fatalf("the zygote said nothing: %v", err)
	}
}
