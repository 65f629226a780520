package worker

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func openTestLogs(t *testing.T, dir string, names ...string) *logs {
	t.Helper()
	l, err := openLogs(dir, func(name string) bool { return strings.Contains(strings.Join(names, " "), name) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

func (l *logs) prints(version int, text string) {
	l.collect(core.SandboxConfig{Function: "f", Version: version}, "stdout", strings.NewReader(text+"\n"))
}

// What a process of a removed function prints is not in the log of the next function of its name, also when it has printed before.
func TestLogOfARemovedFunction(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	l.prints(1, "one")
	output, print := io.Pipe()
	ended := make(chan struct{})
	go func() {
		l.collect(core.SandboxConfig{Function: "f", Version: 2}, "stdout", output)
		close(ended)
	}()
	io.WriteString(print, "two\n")
	follower, err := l.read(context.Background(), "f", 2, true)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	l.remove("f", 2)
	io.WriteString(print, "two again\n")
	print.Close()
	<-ended
	l.prints(2, "two once more")
	l.prints(3, "three")
	if _, err := io.ReadAll(follower); err != nil { // ends
		t.Error(err)
	}
	if _, err := l.read(context.Background(), "f", 2, false); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("of the removed one: %v", err)
	}
	r, err := l.read(context.Background(), "f", 3, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, _ := io.ReadAll(r); strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"three"`) {
		t.Errorf("%s", text)
	}
}

// A worker that is killed may have removed a function and not its log.
func TestLogsAreSwept(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"f.log", "f.log.1", "gone.log", "gone.log.1", ".lang1.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openTestLogs(t, dir, "f")
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 3 || filepath.Base(left[0]) != ".lang1.log" || filepath.Base(left[1]) != "f.log" {
		t.Errorf("%v", left)
	}
}
