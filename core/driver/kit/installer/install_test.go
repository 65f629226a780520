package installer

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// TestMain makes the test program its own launcher, which enters no sandbox: it ends with the status that it
// is asked for.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == launch.Launcher {
		code, _ := strconv.Atoi(os.Args[1])
		_, _ = os.Stderr.WriteString("a reason\n")
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestInstallerEnds has an installer end before it answers: the error says how. TestProgramEnds of launch has
// all ways.
func TestInstallerEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	libexec := t.TempDir()
	if err := os.Symlink(self, filepath.Join(libexec, launch.Launcher)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIPSQUEAK_LIBEXEC", libexec)
	gate := filepath.Join(t.TempDir(), "gate")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: gate, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = Program{Argv: []string{"137"}, Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), core.Door{ID: "i1", Gate: gate}, nil, nil, new(struct{}))
	want := "the installer ended without an answer: it was ended by signal 9 (killed) (a reason)"
	if e := core.AsError(err); err == nil || e.Kind != core.KindInstall || !strings.HasSuffix(e.Message, want) {
		t.Errorf("%v, want %q", err, want)
	}
}
