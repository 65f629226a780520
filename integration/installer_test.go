package integration

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens when an installation cannot reach its registry, or is killed?

// TestRegistryNamedTwice has an index on the worker's loopback that the operator names in several ways.
func TestRegistryNamedTwice(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-good", "1.0", "", files{"py_good.py": "x = 1\n"})
	u, err := url.Parse(index.URL)
	if err != nil {
		t.Fatal(err)
	}
	port := u.Port()
	t.Setenv("PIPSQUEAK_REGISTRIES", fmt.Sprintf("%s,127.0.0.1:%s,localhost:%[2]s http://localhost:%[2]s/simple [::1]:%[2]s", index.URL, port))
	f := handlerFile("import py_good\ndef handler(event, context):\n    return py_good.x\n").with("requirements.txt", "py-good\n")
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Setenv("UV_DEFAULT_INDEX", "http://"+net.JoinHostPort(host, port)+"/simple")
			w := startWorker(t, t.TempDir())
			w.deploy(t, "good", f)
			if got := result[int](t, w, "good", "1"); got != 1 {
				t.Errorf("got %d", got)
			}
		})
	}
}

// TestInstallerKilled kills an installer while it waits for its index: the deploy says how it ended.
func TestInstallerKilled(t *testing.T) {
	system(t)
	waiting, end := make(chan bool, 100), make(chan bool)
	index := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		waiting <- true
		<-end
	}))
	defer index.Close()
	defer close(end)
	t.Setenv("UV_DEFAULT_INDEX", index.URL+"/simple")
	w := startWorker(t, t.TempDir())
	const own = "handler_of_killed_installer"
	answers := make(chan answer, 1)
	go func() {
		answers <- w.put(t, "killed", files{own + ".py": echo, "requirements.txt": "py-good\n", "pipsqueak.yaml": "handler: " + own + ".handler\n"})
	}()
	<-waiting
	for _, pid := range installersOf(t, own) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	said := (<-answers).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(said.Message, "the installer ended without an answer: it was ended by signal 9 (killed)") {
		t.Errorf("the message is %s", said.Message)
	}
}

// installersOf returns the pids of installers that were asked with the text. Nobody but this test uses it.
func installersOf(t *testing.T, text string) (pids []int) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		line, _ := os.ReadFile(file)
		arguments := bytes.Split(line, []byte{0})
		if len(arguments) > 2 && bytes.Contains(line, []byte("/installer.py")) && bytes.Contains(line, []byte(text)) && strings.HasPrefix(filepath.Base(string(arguments[0])), "python") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no installer is running")
	}
	return pids
}

// TestRelayCannotListen names a registry at which nothing can listen: the deploy says so.
func TestRelayCannotListen(t *testing.T) {
	system(t)
	t.Setenv("PIPSQUEAK_REGISTRIES", "127.0.0.1:70000")
	w := startWorker(t, t.TempDir())
	said := w.put(t, "f", handlerFile(echo).with("requirements.txt", "py-good\n")).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(said.Message, "127.0.0.1:70000") || !strings.Contains(said.Message, "the relay") {
		t.Errorf("the message is %s", said.Message)
	}
}

// TestTruncatedArchive has an index break off in the middle of an archive, each time.
func TestTruncatedArchive(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-cut", "1.0", "", files{"py_cut.py": strings.Repeat("# a long text\n", 1000)})
	const wheel = "py_cut-1.0-py3-none-any.whl"
	index.served[wheel] = index.archives[wheel][:len(index.archives[wheel])/2]
	w := startWorker(t, t.TempDir())
	began := time.Now()
	said := w.put(t, "cut", handlerFile(echo).with("requirements.txt", "py-cut\n")).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if took := time.Since(began); took > 20*time.Second || !strings.Contains(said.Message, "py-cut") {
		t.Errorf("after %v: %s", took, said.Message)
	}
}
