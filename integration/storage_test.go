package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What outlives an instance, who sees it, and what can be done with it?

// keeper runs the code that its event has, which sets answer, in a fresh instance each time.
func keeper(settings string) files {
	return handlerFile("import os\ndef handler(event, context):\n    here = {'os': os}\n    exec(event, here)\n    return here.get('answer')\n").with("pipsqueak.yaml", "reuse: false\n"+settings)
}

// within runs code in a keeper.
func within(t testing.TB, w *worker, function, code string) string {
	t.Helper()
	return fmt.Sprint(result[any](t, w, function, fmt.Sprintf("%q", code)))
}

const smallStorage = "storage: {path: /data, size: 16MiB}\n"

// loops returns the files below a directory that loop devices have.
func loops(t testing.TB, dir string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if text, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(text), dir) {
			found = append(found, strings.TrimSpace(string(text)))
		}
	}
	return found
}

// TestStorage keeps what a function writes, over instances, deploys, restarts and a killed worker, until
// somebody asks for its end.
func TestStorage(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.namespace(t, core.NamespaceSpec{Name: "team"})
	w.deploy(t, "keeps", keeper(smallStorage))
	if got := within(t, w, "keeps", "answer = [os.listdir('/data').count('x'), os.stat('/data').st_uid, os.getuid()]"); got != "[0 1000 1000]" {
		t.Errorf("a new storage: %s", got)
	}
	within(t, w, "keeps", "open('/data/x', 'w').write('1')")
	for range 3 { // other instances, which are other users of the host
		within(t, w, "keeps", "open('/data/x', 'a').write('+')")
	}
	expect := func(want string) {
		t.Helper()
		if got := within(t, w, "keeps", "answer = [open('/data/x').read(), os.stat('/data/x').st_uid]"); got != "["+want+" 1000]" {
			t.Errorf("it has %s, want %s", got, want)
		}
	}
	expect("1+++")
	w.deploy(t, "keeps", keeper(smallStorage+"env: {A: x}\n"))
	expect("1+++")
	free := func() int64 {
		t.Helper()
		all, err := w.client().Storages(t.Context())
		if err != nil || len(all) == 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0].Free
	}
	before := free()
	within(t, w, "keeps", "open('/data/large', 'wb').write(bytes(4 << 20)); os.sync()")
	after := free()
	if taken := before - after; taken < 4<<20 || taken > 5<<20 || after <= 0 {
		t.Errorf("4 MiB that were written take %d of %d bytes", taken, before)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if left := loops(t, data); len(left) > 0 {
		t.Errorf("a worker that has stopped leaves %v", left)
	}
	w = startWorker(t, data)
	if now := free(); now != after {
		t.Errorf("before it is mounted it has %d free bytes, want %d", now, after)
	}
	expect("1+++")
	within(t, w, "keeps", "os.remove('/data/large')")
	w.kill()
	w = startWorker(t, data)
	expect("1+++")

	// Shared by name in one namespace, and nobody else's.
	for _, name := range []string{"one", "two", "one.team", "none"} {
		w.deploy(t, name, keeper(map[bool]string{true: "", false: "storage: {path: /var-data/x, size: 16MiB, name: shared}\n"}[name == "none"]))
	}
	within(t, w, "one", "open('/var-data/x/word', 'w').write('word')")
	for name, want := range map[string]string{"two": "True", "one.team": "False", "none": "False", "keeps": "False"} {
		if got := within(t, w, name, "answer = str(os.path.exists('/var-data/x/word'))"); got != want {
			t.Errorf("%s sees what one has written: %s, want %s", name, got, want)
		}
	}
	for _, n := range w.snapshot(t).Nodes {
		if mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", n.PID)); n.Role == core.RoleZygote && strings.Contains(string(mounts), " ext4 /dev/loop") {
			t.Errorf("%s sees a storage", n.ID)
		}
	}

	// It ends on request, and not while it is used.
	w.put(t, "two", keeper("storage: {path: /d, size: 32MiB, name: shared}\n")).expectError(t, core.KindConflict, core.FaultCaller, http.StatusConflict)
	remove := func(name string) string {
		_, stderr, _ := w.command(t, "", "storage", "remove", name)
		return stderr
	}
	if said := remove("keeps"); !strings.Contains(said, "the function keeps uses the storage keeps") {
		t.Error(said)
	}
	if err := w.client().Remove(t.Context(), "keeps"); err != nil {
		t.Fatal(err)
	}
	if stdout, _, err := w.command(t, "", "storage", "list"); err != nil || !regexp.MustCompile(`^NAME SIZE FREE FUNCTIONS keeps 16.0 MiB 1.\.. MiB - shared 16.0 MiB 1.\.. MiB one, two shared.team 16.0 MiB 1.\.. MiB one.team$`).MatchString(strings.Join(strings.Fields(stdout), " ")) {
		t.Errorf("%v, %s", err, stdout)
	}
	w.deploy(t, "keeps", keeper(smallStorage))
	expect("1+++")
	if err := w.client().Remove(t.Context(), "keeps"); err != nil {
		t.Fatal(err)
	}
	if said := remove("keeps"); said != "" {
		t.Error(said)
	}
	w.deploy(t, "keeps", keeper(smallStorage))
	if got := within(t, w, "keeps", "answer = str(os.path.exists('/data/x'))"); got != "False" {
		t.Error("a storage that was removed is there again")
	}
	// What was made for a deploy that failed goes with it.
	w.put(t, "fails", handlerFile("raise ValueError()\n").with("pipsqueak.yaml", smallStorage)).expectError(t, core.KindImport, core.FaultHandler, http.StatusUnprocessableEntity)
	if all, err := w.client().Storages(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestStorageInCode: a program writes into a directory of its own, by a path that is relative to its code.
func TestStorageInCode(t *testing.T) {
	system(t)
	w := shared(t)
	const settings = "storage: {path: /function/public/uploads, size: 16MiB}\n"
	for name, code := range map[string]files{"new": keeper(settings), "there": keeper(settings).with("public/uploads/.gitkeep", "").with("public/index.html", "<p>")} {
		function := "uploads-" + name
		w.deploy(t, function, code)
		within(t, w, function, "open('public/uploads/x', 'w').write('1')")
		if got := within(t, w, function, "answer = [os.listdir('public/uploads'), open('/function/public/uploads/x').read(), os.access('public', os.W_OK)]"); got != "[[x] 1 false]" {
			t.Errorf("%s: %s", name, got)
		}
		w.ask(t, http.MethodDelete, "/v1/functions/"+function, nil)
		w.ask(t, http.MethodDelete, "/v1/storages/"+function, nil)
	}
	e := w.put(t, "uploads-file", keeper(settings).with("public/uploads", "a file")).expectError(t, core.KindInvalid, core.FaultCaller, 400)
	if !strings.Contains(e.Message, "a file or a link public/uploads") {
		t.Error(e.Message)
	}
}

// TestStorageAttacks fills a storage, and puts into it what could mislead whoever looks there.
func TestStorageAttacks(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "keeps", keeper(smallStorage+"timeout_ms: 60000\n"))
	full := `
import errno
answer = [0, '']
try:
    with open('/data/full', 'wb', buffering=0) as f:
        while answer[0] < 1 << 26:
            answer[0] += f.write(bytes(1 << 16))
except OSError as e:
    answer[1] = errno.errorcode[e.errno]
`
	var written float64
	filled := result[[]any](t, w, "keeps", fmt.Sprintf("%q", full))
	if written = filled[0].(float64); filled[1] != "ENOSPC" || written < 1<<20 || written > 16<<20 {
		t.Errorf("it takes %v", filled)
	}
	many := `
import errno
answer = ''
os.remove('/data/full')
try:
    for i in range(1000000):
        open('/data/%d' % i, 'w').close()
except OSError as e:
    answer = errno.errorcode[e.errno]
for name in os.listdir('/data'):
    if name.isdigit(): os.remove('/data/' + name)
`
	if got := within(t, w, "keeps", many); got != "ENOSPC" {
		t.Errorf("it takes files without end: %s", got)
	}
	tries := `
answer = []
def tried(what, f):
    try:
        f()
        answer.append(what)
    except OSError:
        pass
tried('device', lambda: os.mknod('/data/device', 0o600 | 0o060000, os.makedev(7, 0)))
tried('owner', lambda: os.chown('/data', 0, 0))
tried('above', lambda: os.listdir('/data/../../root'))
os.symlink('/etc/shadow', '/data/shadow'); os.symlink('/', '/data/root'); os.mkfifo('/data/fifo')
tried('shadow', lambda: open('/data/shadow').read())
os.chmod('/data', 0)
options = [line.split()[5] for line in open('/proc/self/mountinfo') if line.split()[4] == '/data'][0]
answer.append('nosuid' in options and 'nodev' in options)
os.chmod('/data', 0o700)
`
	if got := within(t, w, "keeps", tries); got != "[true]" {
		t.Errorf("it can do %s", got)
	}
	// Nobody outside follows what lies there, nor waits for it.
	w.deploy(t, "keeps", keeper(smallStorage))
	if all, err := w.client().Storages(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	for path, told := range map[string]string{"/etc/x": "cannot be below /etc", "/": "cannot be at", "/data/../x": "cannot be at", "data": "cannot be at", "/function": "where the code is", "/tmp/x": "cannot be below"} {
		e := w.put(t, "bad", keeper("storage: {path: "+path+", size: 16MiB}\n")).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
		if !strings.Contains(e.Message, told) {
			t.Errorf("%s: %s", path, e.Message)
		}
	}
	e := w.put(t, "bad", keeper("storage: {path: /data, size: 1TiB}\n")).expectError(t, core.KindExhausted, core.FaultWorker, http.StatusInsufficientStorage)
	if !strings.Contains(e.Message, "has no room for the storage bad") {
		t.Error(e.Message)
	}
}
