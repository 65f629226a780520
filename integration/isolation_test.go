package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What can a handler see and do?

// probe runs the Python in its event and returns its value. It is how these tests look around inside a
// sandbox.
const probe = `
def handler(event, context):
    scope = {}
    exec(event, scope)
    return scope["answer"]
`

// probed deploys the probe.
func probed(t testing.TB, w *worker, name, yaml string) {
	t.Helper()
	w.deploy(t, name, handlerFile(probe).with("pipsqueak.yaml", yaml))
}

// inside runs code inside of a probe and returns what it left in answer.
func inside[T any](t testing.TB, w *worker, name, code string) T {
	t.Helper()
	event, err := json.Marshal(code)
	if err != nil {
		t.Fatal(err)
	}
	return result[T](t, w, name, string(event))
}

// tried is Python that tries a statement and keeps the error's name in answer, or "done".
func tried(statement string) string {
	return "import os, socket, ctypes\ntry:\n    " + statement + "\n    answer = 'done'\nexcept Exception as e:\n    answer = type(e).__name__\n"
}

func TestFiles(t *testing.T) {
	system(t)
	w := shared(t)
	probed(t, w, "probe-files", "memory_mb: 1024\ntimeout_ms: 20000\n")
	for _, dir := range []string{"/", "/etc", "/usr", "/usr/lib", "/function", "/packages", "/proc", "/proc/sys", "/dev", "/var", "/home", "/root"} {
		if got := inside[string](t, w, "probe-files", tried("open('"+dir+"/written-by-a-handler', 'w')")); got == "done" {
			t.Errorf("a handler can write to %s", dir)
		}
	}
	for _, file := range []string{"/etc/shadow", "/proc/1/mem", "/proc/kcore", "/proc/sysrq-trigger", "/dev/mem", "/dev/vda", "/dev/sda"} {
		open := "f = open('" + file + "', 'r+b'); assert os.fstat(f.fileno()).st_rdev != os.stat('/dev/null').st_rdev; f.read(1)" // it masks some
		if got := inside[string](t, w, "probe-files", tried(open)); got == "done" {
			t.Errorf("a handler can open %s for writing", file)
		}
	}
	if got := inside[string](t, w, "probe-files", tried("open('/etc/shadow').read()")); got == "done" {
		t.Error("a handler can read /etc/shadow")
	}
	for _, path := range []string{w.data, repositoryRoot(t), programs(t), "/root", "/home"} {
		code := fmt.Sprintf("import os\ntry: answer = os.listdir(%q)\nexcept OSError: answer = []\n", path)
		if got := inside[[]string](t, w, "probe-files", code); len(got) > 0 {
			t.Errorf("a handler sees %s of the host: %v", path, got)
		}
	}
	if got := inside[string](t, w, "probe-files", tried("os.setuid(0) or os.chroot('/tmp')")); got == "done" {
		t.Error("a handler can chroot")
	}
}

// TestTmp checks that /tmp is writable, bounded, and nobody else's.
func TestTmp(t *testing.T) {
	system(t)
	w := shared(t)
	probed(t, w, "probe-tmp", "memory_mb: 2048\ntimeout_ms: 30000\nreuse: false\n")
	name := fmt.Sprintf("/tmp/of-one-instance-%d", os.Getpid())
	if got := inside[string](t, w, "probe-tmp", tried("open('"+name+"', 'w').write('mine')")); got != "done" {
		t.Fatalf("a handler cannot write to /tmp: %s", got)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("the file is in the host's /tmp")
	}
	if got := inside[[]string](t, w, "probe-tmp", "import os\nanswer = os.listdir('/tmp')"); len(got) > 0 {
		t.Errorf("another instance finds %v in /tmp", got)
	}
	filled := inside[struct {
		Error   string
		Written int64
	}](t, w, "probe-tmp", `
import errno
answer = {"error": "", "written": 0}
try:
    with open("/tmp/full", "wb", buffering=0) as f:
        while answer["written"] < 1 << 30:
            answer["written"] += f.write(bytes(1 << 20))
except OSError as e:
    answer["error"] = errno.errorcode[e.errno]
`)
	if filled.Error != "ENOSPC" || filled.Written < 1<<20 {
		t.Errorf("filling /tmp ended with %+v, want ENOSPC", filled)
	}
	files := inside[string](t, w, "probe-tmp", tried("[open('/tmp/%d' % i, 'w') for i in range(10000000) if not os.write(os.open('/tmp/%d' % i, os.O_CREAT | os.O_WRONLY), b'')]"))
	if files != "OSError" {
		t.Errorf("making files without end ended with %s", files)
	}
}

// TestPrivilege reads what the kernel says of the process, from inside and from outside.
func TestPrivilege(t *testing.T) {
	system(t)
	w := shared(t)
	probed(t, w, "probe-privilege", "")
	status := inside[map[string]string](t, w, "probe-privilege", "answer = dict(l.rstrip('\\n').split(':\\t', 1) for l in open('/proc/self/status') if ':\\t' in l)")
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(status[set], "0") != "" || status[set] == "" {
			t.Errorf("%s is %q", set, status[set])
		}
	}
	if status["NoNewPrivs"] != "1" || status["Seccomp"] != "2" {
		t.Errorf("NoNewPrivs %q, Seccomp %q; want 1 and 2", status["NoNewPrivs"], status["Seccomp"])
	}
	for _, n := range w.snapshot(t).Nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID))
		if err != nil {
			continue // it has ended meanwhile
		}
		for line := range strings.Lines(string(text)) {
			switch fields := strings.Fields(line); {
			case fields[0] == "Uid:" && slices.Contains(fields[1:], "0"):
				t.Errorf("%s %s of %s is root on the host: %s", n.Role, n.ID, n.Function, line)
			case strings.HasPrefix(fields[0], "Cap") && strings.Trim(fields[1], "0") != "":
				t.Errorf("%s %s of %s has capabilities: %s", n.Role, n.ID, n.Function, line)
			}
		}
		if own, its := link(t, "/proc/self/ns/user"), link(t, fmt.Sprintf("/proc/%d/ns/user", n.PID)); own == its {
			t.Errorf("%s %s is in the host's user namespace", n.Role, n.ID)
		}
	}
}

// TestSystemCalls makes calls that no handler needs and that have helped people out of sandboxes.
func TestSystemCalls(t *testing.T) {
	system(t)
	if runtime.GOARCH != "amd64" {
		if os.Getenv("CI") != "" {
			t.Fatal("the numbers of the calls here are those of amd64")
		}
		t.Skip("the numbers of the calls here are those of amd64")
	}
	w := shared(t)
	probed(t, w, "probe-calls", "")
	const call = "r = ctypes.CDLL(None, use_errno=True).syscall(%s)\n    assert r != -1"
	for name, arguments := range map[string]string{
		"unshare(CLONE_NEWUSER)": "272, 0x10000000",
		"unshare(CLONE_NEWNS)":   "272, 0x20000",
		"mount":                  "165, b'none', b'/tmp', b'tmpfs', 0, 0",
		"umount2":                "166, b'/tmp', 2",
		"pivot_root":             "155, b'/tmp', b'/tmp'",
		"bpf":                    "321, 0, 0, 0",
		"perf_event_open":        "298, 0, 0, -1, -1, 0",
		"keyctl":                 "250, 0, -3, 1",
		"init_module":            "175, 0, 0, 0",
		"kexec_load":             "246, 0, 0, 0, 0",
		"reboot":                 "169, 0xfee1dead, 672274793, 0",
		"open_by_handle_at":      "304, -100, 0, 0",
		"userfaultfd":            "323, 1",
		"setns":                  "308, 3, 0",
	} {
		if got := inside[string](t, w, "probe-calls", tried(fmt.Sprintf(call, arguments))); got == "done" {
			t.Errorf("a handler can %s", name)
		}
	}
	if got := inside[string](t, w, "probe-calls", tried("assert ctypes.CDLL(None).getpid() == 2")); got != "done" {
		t.Errorf("calling through ctypes does not work at all here: %s", got)
	}
}

func link(t testing.TB, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return target
}

// TestAlone checks what a process can see of others: nothing.
func TestAlone(t *testing.T) {
	system(t)
	w := shared(t)
	probed(t, w, "probe-alone", "")
	if pid := inside[int](t, w, "probe-alone", "import os\nanswer = os.getpid()"); pid != 2 {
		t.Errorf("pid %d in its own pid namespace, want 2", pid)
	}
	if pids := inside[[]string](t, w, "probe-alone", "import os\nanswer = [d for d in os.listdir('/proc') if d.isdigit()]"); !slices.Equal(pids, []string{"1", "2"}) {
		t.Errorf("/proc shows processes %v", pids)
	}
	if interfaces := inside[[]string](t, w, "probe-alone", "import socket\nanswer = [n for _, n in socket.if_nameindex()]"); !slices.Equal(interfaces, []string{"lo"}) {
		t.Errorf("network interfaces %v", interfaces)
	}
	address := strings.TrimPrefix(w.url, "http://")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if got := inside[string](t, w, "probe-alone", tried(fmt.Sprintf("socket.create_connection((%q, %s), 1)", host, port))); got == "done" {
		t.Error("a handler can reach the worker's own port")
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := inside[string](t, w, "probe-alone", "import socket\nanswer = socket.gethostname()"); got == name {
		t.Errorf("a handler sees the host's name %q", got)
	}
	for _, place := range []string{"dict(os.environ)", "open('/proc/self/environ', errors='replace').read()"} {
		seen := inside[string](t, w, "probe-alone", "import os\nanswer = str("+place+")")
		if strings.Contains(seen, canary) || strings.Contains(seen, "PIPSQUEAK_TEST") {
			t.Errorf("the host's environment is in %s: %s", place, seen)
		}
	}
	open := inside[[]int](t, w, "probe-alone", `
import os
answer = []
for fd in range(1024):
    try: os.fstat(fd)
    except OSError: continue
    answer.append(fd)
`)
	if slices.ContainsFunc(open, func(fd int) bool { return fd > 4 }) {
		t.Errorf("open descriptors %v, want none beyond 4", open)
	}
	targets := inside[string](t, w, "probe-alone", "import os\nanswer = str([os.readlink('/proc/self/fd/%d' % fd) for fd in range(5) if os.path.exists('/proc/self/fd/%d' % fd)])")
	if strings.Contains(targets, w.data) {
		t.Errorf("a descriptor shows a path of the host: %s", targets)
	}
}

// TestOthersCode checks that a function sees its own code and packages and nobody else's.
func TestOthersCode(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "secret", handlerFile(echo).with("secret-of-another.txt", "secret").with("requirements.txt", "idna==3.11\n"))
	w.deploy(t, "nosy", handlerFile(probe).with("requirements.txt", "six==1.17.0\n"))
	result[any](t, w, "secret", `{}`)
	if got := inside[[]string](t, w, "nosy", "import os\nanswer = sorted(os.listdir('/packages'))"); !slices.Equal(got, []string{"six-1.17.0"}) {
		t.Errorf("/packages shows %v", got)
	}
	if got := inside[string](t, w, "nosy", "import six\nanswer = six.__version__"); got != "1.17.0" {
		t.Errorf("six is %s", got)
	}
	if got := inside[string](t, w, "nosy", tried("import idna")); got != "ModuleNotFoundError" {
		t.Errorf("importing a package of another function: %s", got)
	}
	found := inside[[]string](t, w, "nosy", `
import os
answer = []
for top, dirs, names in os.walk("/"):
    dirs[:] = [d for d in dirs if os.path.join(top, d) not in ("/proc", "/sys", "/usr/share")]
    answer += [os.path.join(top, n) for n in names + dirs if "secret-of-another" in n or "idna-3.11" in n]
`)
	if len(found) > 0 {
		t.Errorf("a function finds another's files: %v", found)
	}
	// Packages of the host's interpreter are not the function's either.
	if got := inside[[]string](t, w, "nosy", "import sys\nanswer = [p for p in sys.path if 'dist-packages' in p or 'site-packages' in p]"); len(got) > 0 {
		t.Errorf("the host's packages are in sys.path: %v", got)
	}
}

// TestRandomness takes numbers from siblings, which all come from one zygote that had loaded numpy and
// random.
func TestRandomness(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "random", files{"handler.py": `
import random, uuid, os, secrets, tempfile
import faker, numpy

def handler(event, context):
    return {"random": random.random(), "uuid4": str(uuid.uuid4()), "urandom": os.urandom(8).hex(), "secrets": secrets.token_hex(8),
            "numpy": float(numpy.random.random()), "normal": float(numpy.random.standard_normal()), "default_rng": float(numpy.random.default_rng().random()),
            "faker": faker.Faker().sha1(),
            "tempfile": next(tempfile._get_candidate_names())}
`, "requirements.txt": "numpy==2.3.4\nfaker==37.11.0\n", "pipsqueak.yaml": "reuse: false\n"})
	w.probed(t, "random")
	forkStart(t, w, "random", `{}`)
	seen := map[string]bool{}
	for range 8 {
		for source, value := range result[map[string]any](t, w, "random", `{}`) {
			key := fmt.Sprint(source, " ", value)
			if seen[key] {
				t.Errorf("two siblings drew the same number: %s", key)
			}
			seen[key] = true
		}
	}
}

// TestGlobals checks what survives from one event to the next, and that siblings share nothing.
func TestGlobals(t *testing.T) {
	system(t)
	w := shared(t)
	const counter = "import time\nn = 0\ndef handler(event, context):\n    global n\n    n += 1\n    print('" + begun + "', flush=True)\n    time.sleep(event)\n    return n\n"
	w.deploy(t, "counts", handlerFile(counter))
	w.deploy(t, "forgets", handlerFile(counter).with("pipsqueak.yaml", "reuse: false\n"))
	for i := range 3 {
		if got := result[int](t, w, "counts", `0`); got != i+1 {
			t.Errorf("event %d on one instance sees n = %d", i+1, got)
		}
		if got := result[int](t, w, "forgets", `0`); got != 1 {
			t.Errorf("with reuse: false event %d sees n = %d", i+1, got)
		}
	}
	busy := inFlight(t, w, "counts", `3`) // n becomes 4
	if got := result[int](t, w, "counts", `0`); got != 1 {
		t.Errorf("a new sibling sees n = %d", got)
	}
	if a := <-busy; a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != "4" {
		t.Errorf("the busy instance answers %v, want 4", a)
	}
}

// TestLimits uses too much of everything.
func TestLimits(t *testing.T) {
	system(t)
	w := shared(t)
	probed(t, w, "probe-limits", "memory_mb: 256\ntimeout_ms: 15000\n")
	defer traffic(t, w)()

	event, err := json.Marshal("answer = len(b'x' * (1 << 30))")
	if err != nil {
		t.Fatal(err)
	}
	a := w.run(t, "probe-limits", string(event))
	a.expectError(t, core.KindMemory, core.FaultHandler, http.StatusBadGateway)
	if got := inside[int](t, w, "probe-limits", "answer = len(b'x' * (16 << 20))"); got != 16<<20 {
		t.Errorf("16 MiB within a limit of 256 MiB: %d", got)
	}

	began := time.Now()
	forks := inside[int](t, w, "probe-limits", `
import os, time
answer = 0
while answer < 100000:
    try:
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
    except OSError:
        break
    answer += 1
`)
	if forks >= 5000 || time.Since(began) > 10*time.Second {
		t.Errorf("a fork bomb got %d processes in %v", forks, time.Since(began))
	}
	threads := inside[int](t, w, "probe-limits", `
import threading, time
threading.stack_size(65536)
answer = 0
try:
    while answer < 100000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        answer += 1
except (RuntimeError, MemoryError):
    pass
`)
	if threads >= 5000 {
		t.Errorf("a handler got %d threads", threads)
	}
	descriptors := inside[int](t, w, "probe-limits", "import os\nanswer = 0\ntry:\n    while answer < 10000000:\n        os.dup(0); answer += 1\nexcept OSError: pass\n")
	if descriptors >= 1<<20 {
		t.Errorf("a handler got %d descriptors", descriptors)
	}
	w.ask(t, http.MethodDelete, "/v1/functions/probe-limits", nil)
	eventually(t, patience, "the bombs end with their instance", func() bool { return len(w.leaves(t, "probe-limits")) == 0 })
}

// TestDataIsOutOfReach looks from outside: nothing in the data directory can be changed by the processes'
// user.
func TestDataIsOutOfReach(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "guarded", handlerFile(echo))
	err := filepath.WalkDir(w.data, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return nil // what comes and goes while other tests run
		}
		info, err := entry.Info()
		if err == nil && info.Mode()&os.ModeSymlink == 0 && info.Mode()&os.ModeSocket == 0 && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
			t.Errorf("%s can be written to by everybody: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
