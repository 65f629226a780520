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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What happens when the disk is full?

// smallDisk starts a worker that alone sees a file system of that many MiB at its data directory. The
// returned folder is the data directory as others can reach it.
func smallDisk(t *testing.T, mebibytes int, flags ...string) (w *worker, data string) {
	t.Helper()
	system(t)
	coretest.Requires(t, coretest.Need{Name: "unshare and mount", Met: func() error {
		_, err := exec.LookPath("unshare")
		return errors.Join(err, exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run())
	}})
	dir := t.TempDir()
	const script = `mount -t tmpfs -o mode=755,size="$1"m tmpfs "$2"; shift 2; exec "$@"`
	command := append([]string{"--mount", "sh", "-ec", script, "sh", fmt.Sprint(mebibytes), dir, filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", dir}, flags...)
	w, err := launch(exec.Command("unshare", command...), dir)
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
	eventually(t, 10*time.Second, "nothing half done is left", func() bool { // what collects has a directory in staging too, for a moment
		for _, pattern := range []string{"staging/*", "staging/.*", "functions/.*", "index/*/.*"} {
			if left, err := filepath.Glob(filepath.Join(data, pattern)); err != nil || len(left) > 0 {
				return false
			}
		}
		return true
	})
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

// deployWithLittle deploys a function with ever more room on the disk, from none on, until it is there, and
// returns what was said when it was not. No attempt leaves anything but the lock, which is whole: the next
// deploy uses it.
func deployWithLittle(t *testing.T, w *worker, data, name string, f files, step int64) (said []string) {
	t.Helper()
	list := func() (names []string) {
		for _, pattern := range []string{"code/*", "packages/*", "index/*/*", "functions/*"} {
			found, err := filepath.Glob(filepath.Join(data, pattern))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, found...)
		}
		return names
	}
	before := list()
	for room := int64(0); ; room += step {
		empty := fill(t, data)
		filler := filepath.Join(data, "filler")
		info, err := os.Stat(filler)
		if err == nil && info.Size() > room {
			err = os.Truncate(filler, info.Size()-room)
		} else if err == nil {
			t.Fatalf("%s cannot be deployed on a disk with %d bytes free: %q", name, room, said)
		}
		if err != nil {
			t.Fatal(err)
		}
		a := w.put(t, name, f)
		if a.status == http.StatusCreated {
			empty()
			return said
		}
		expectFull(t, a, data)
		if after := list(); !slices.Equal(after, before) {
			t.Errorf("with %d bytes free there stays %q, and before there was %q", room, after, before)
		}
		said = append(said, string(a.body))
		empty()
	}
}

// TestAlmostFullDisk lets the disk become full at each step of a deploy.
func TestAlmostFullDisk(t *testing.T) {
	index := newPythonIndex(t, "")
	many := files{"py_wide/__init__.py": "x = 'wide'\n"}
	for i := range 3000 { // empty, so that the lists of them are all there is to write, and the manifest takes more than an installation has to leave free
		many[fmt.Sprintf("py_wide/%0200d.txt", i)] = ""
	}
	index.addWheel(t, "py-wide", "1.0", "", many)
	index.addWheel(t, "py-narrow", "1.0", "", files{"py_narrow.py": "x = 'narrow'\n"})
	w, data := smallDisk(t, 8, "--keep-free", "1B") // and not a part of the disk, before which each deploy would end

	said := deployWithLittle(t, w, data, "plain", handlerFile(echo), 4<<10)
	said = append(said, deployWithLittle(t, w, data, "locked", handlerFile(echo+"# the same lock\n"), 4<<10)...)
	f := handlerFile("import py_narrow, py_wide\ndef handler(event, context):\n    return [py_narrow.x, py_wide.x]\n").with("requirements.txt", "py-narrow\npy-wide\n")
	for file, by := range map[string][]string{"deploys leave": said, ".list": deployWithLittle(t, w, data, "packages", f, 128<<10), "functions/locked@1.json": said} {
		if !slices.ContainsFunc(by, func(s string) bool { return strings.Contains(s, file) }) {
			t.Errorf("the disk was never full when it came to %s, but as %q", file, by)
		}
	}
	if got := result[[]string](t, w, "packages", `1`); !slices.Equal(got, []string{"narrow", "wide"}) {
		t.Errorf("it answers %q", got)
	}
	if found := w.verify(t); found.Trees != 5 || len(found.Damaged) > 0 {
		t.Errorf("the store has %+v", found)
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
