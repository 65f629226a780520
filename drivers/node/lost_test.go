package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A zygote that loses its driver waits: its descendants would die with it. It needs no sandbox to do so.
func TestZygoteOutlivesItsDriver(t *testing.T) {
	found, problems := find(t.Context())
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("requires Node.js: ", problems)
		}
		t.Skip("requires Node.js: ", problems)
	}
	files := filepath.Join(libexec(t), "node")
	addon := filepath.Join(files, filepath.Base(addonPath))
	for _, test := range []struct {
		name string
		lose func(t *testing.T, control int)
	}{
		{"idle", func(t *testing.T, control int) { hear(t, control) }},
		{"with an answer unread", func(t *testing.T, control int) { time.Sleep(300 * time.Millisecond) }},
		{"in an import", func(t *testing.T, control int) {
			hear(t, control)
			if err := unix.Send(control, []byte(`{"op":"import","modules":["no-such-package"]}`), 0); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			theirs := os.NewFile(uintptr(pair[1]), "control")
			cmd := exec.Command(found[0].Executable, "--single-threaded", "--v8-pool-size=0", filepath.Join(files, "zygote.js"), addon)
			cmd.Env = []string{"LD_PRELOAD=" + addon}
			cmd.ExtraFiles = []*os.File{theirs}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			theirs.Close()
			test.lose(t, pair[0])
			unix.Close(pair[0])
			select {
			case err := <-ended:
				t.Errorf("the zygote ended: %v", err)
			case <-time.After(500 * time.Millisecond):
				_ = cmd.Process.Kill()
				<-ended
			}
		})
	}
}

func hear(t *testing.T, control int) {
	t.Helper()
	if n, err := unix.Read(control, make([]byte, 1024)); n <= 0 {
		t.Fatalf("the zygote said nothing: %v", err)
	}
}
