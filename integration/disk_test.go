package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens when the disk is full?

// smallDisk starts a worker that alone sees a file system of that many MiB at its data directory. The returned folder is the
// data directory as others can reach it.
func smallDisk(t *testing.T, mebibytes int) (w *worker, data string) {
	t.Helper()
	system(t)
	requires(t, need{"unshare and mount", func() error {
		_, err := exec.LookPath("unshare")
		return errors.Join(err, exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run())
	}})
	dir := t.TempDir()
	const script = `mount -t tmpfs -o mode=755,size="$1"m tmpfs "$2" && exec "$3" serve --listen 127.0.0.1:0 --data "$2"`
	w, err := launch(exec.Command("unshare", "--mount", "sh", "-c", script, "sh", fmt.Sprint(mebibytes), dir, filepath.Join(programs(t), "pipsqueak")), dir)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	return w, filepath.Join("/proc", fmt.Sprint(w.cmd.Process.Pid), "root", dir)
}

// fill takes all the space that is left, and returns how to give it back.
func fill(t *testing.T, data string) (empty func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(data, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		n, err := file.Write(make([]byte, size))
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if n < size {
			size /= 2
		}
	}
	return func() {
		if err := os.Remove(file.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// expectFull checks an answer of a deploy, and that nothing half-done of it stayed.
func expectFull(t *testing.T, a answer, data string) {
	t.Helper()
	said := a.expectError(t, core.KindExhausted, core.FaultWorker, http.StatusInsufficientStorage)
	if !strings.Contains(said.Message, "disk of the worker is full") {
		t.Errorf("the error does not say what to do: %s", said.Message)
	}
	for _, folder := range []string{"staging", "functions", "index/*"} {
		left, err := filepath.Glob(filepath.Join(data, folder, ".*"))
		more, moreErr := filepath.Glob(filepath.Join(data, "staging", "*"))
		if err := errors.Join(err, moreErr); err != nil || len(left)+len(more) > 0 {
			t.Errorf("half done in %s: %v %v %v", folder, left, more, err)
		}
	}
}

// TestFullDisk fills the disk of a worker in the ways in which users do.
func TestFullDisk(t *testing.T) {
	w, data := smallDisk(t, 24)
	w.deploy(t, "served", handlerFile(echo))
	defer traffic(t, w)()

	random := make([]byte, 30<<20)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	expectFull(t, w.put(t, "large", handlerFile(echo).with("data.bin", string(random))), data)
	expectFull(t, w.put(t, "packages", pandas), data)

	empty := fill(t, data)
	expectFull(t, w.put(t, "small", handlerFile(echo)), data)
	expectFull(t, w.put(t, "served", handlerFile("def handler(event, context):\n    return 'second'\n")), data)
	if got := result[int](t, w, "served", `1`); got != 1 {
		t.Errorf("a deploy that failed for lack of space replaced the function: it answers %d", got)
	}
	empty()

	w.deploy(t, "small", handlerFile(echo))
	for _, name := range []string{"large", "packages"} {
		w.run(t, name, `1`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	}
}

// TestFullDiskAndLogs prints while there is no space: the lines are lost, and nothing else.
func TestFullDiskAndLogs(t *testing.T) {
	w, data := smallDisk(t, 8)
	w.deploy(t, "prints", handlerFile("def handler(event, context):\n    print(event, 'x' * 3000)\n    return event\n"))
	count := func(from int) {
		for n := from; n < from+10; n++ {
			if got := result[int](t, w, "prints", fmt.Sprint(n)); got != n {
				t.Errorf("event %d: answer %d", n, got)
			}
		}
	}
	count(0)
	empty := fill(t, data)
	count(10)
	if a := w.ask(t, http.MethodGet, "/v1/functions/prints/logs", nil); a.status != http.StatusOK {
		t.Errorf("logs with a full disk: %v", a)
	}
	empty()
	count(20)
	eventually(t, patience, "the lines before and after are there, and whole", func() bool {
		seen := map[string]bool{}
		lines := bufio.NewReader(bytes.NewReader(w.ask(t, http.MethodGet, "/v1/functions/prints/logs", nil).body))
		for {
			text, err := lines.ReadBytes('\n')
			if err == io.EOF {
				return seen["0"] && seen["9"] && seen["20"] && seen["29"]
			}
			var line core.LogLine
			if err := json.Unmarshal(text, &line); err != nil {
				t.Fatalf("a line of the log is no line: %v: %.100q", err, text)
			}
			first, _, _ := strings.Cut(line.Text, " ")
			seen[first] = true
		}
	})
}
