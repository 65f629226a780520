package launch

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestMain makes the test program its own launcher, which enters no sandbox: it ends with the status that it
// is asked for.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == Launcher {
		code, _ := strconv.Atoi(os.Args[1])
		_, _ = os.Stderr.WriteString("a reason\n")
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestProgramEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	libexec := t.TempDir()
	if err := os.Symlink(self, filepath.Join(libexec, Launcher)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIPSQUEAK_LIBEXEC", libexec)
	gate := filepath.Join(t.TempDir(), "gate")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: gate, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for code, want := range map[string]string{
		"0": "it exited with status 0 (a reason)", "3": "it exited with status 3 (a reason)", "127": "it exited with status 127 (a reason)",
		"125": "it did not get into its sandbox (a reason)", "137": "it was ended by signal 9 (killed) (a reason)", "159": "it was ended by signal 31 (bad system call) (a reason)",
	} {
		control, ended, err := Start(core.Door{ID: "i1", Gate: gate}, []string{code}, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got != want {
			t.Errorf("status %s: %q, want %q", code, got, want)
		}
		control.Close()
	}
}
