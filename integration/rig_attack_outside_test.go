package integration

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Who attacks from outside: a client, a page in a browser, a deployer, another user of the machine, and a
// server that the client asks.

// try tries an attack from outside. It returns what it got done, in words, or nothing.
type try func(t *testing.T, a *arena) string

// outsider is an attack of somebody who runs no code.
type outsider struct {
	attack
	who string
	try try
}

// asked returns what a request got done, if it did: a status that is none of an error.
func (a *arena) asked(t *testing.T, method, path string, body io.Reader, host string, headers ...string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, a.worker.url+path, body)
	coretest.Must(t, err)
	if host != "" {
		request.Host = host
	}
	for _, header := range headers {
		key, value, _ := strings.Cut(header, ": ")
		request.Header.Set(key, value)
	}
	response, err := sender.Do(request)
	coretest.Must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 200))
	if coretest.Must(t, err); response.StatusCode < http.StatusBadRequest {
		return fmt.Sprintf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	return ""
}

// spoken sends bytes, and returns all that comes back within a second.
func (a *arena) spoken(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.worker.url, "http://"))
	coretest.Must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, err = io.WriteString(conn, text)
	coretest.Must(t, err)
	back, _ := io.ReadAll(conn)
	return string(back)
}

// victim is a function that returns its event, and what its name is.
func (a *arena) victim(t *testing.T) string {
	t.Helper()
	if a.echo == "" {
		a.echo = "victim-of-clients"
		a.worker.deploy(t, a.echo, handlerFile(echo).with("pipsqueak.yaml", "env:\n  SECRET: "+canary+"\n"))
	}
	return a.echo
}

// uploaded deploys what a tar writer writes, and returns what came of it, if it was taken.
func (a *arena) uploaded(t *testing.T, write func(w *tar.Writer)) string {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, h := range []*tar.Header{{Name: "handler.py", Mode: 0o644, Size: int64(len(echo)), Typeflag: tar.TypeReg}} {
		coretest.Must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, echo)
		coretest.Must(t, err)
	}
	write(w)
	coretest.Must(t, w.Close())
	return a.asked(t, http.MethodPut, "/v1/functions/hostile", bytes.NewReader(packGzip(t, archive.Bytes())), "")
}

// uploads uploads an archive with one more entry.
func uploads(header tar.Header) try {
	return func(t *testing.T, a *arena) string {
		return a.uploaded(t, func(w *tar.Writer) { coretest.Must(t, w.WriteHeader(&header)) })
	}
}

// as runs a program as another user of the machine, and returns what it prints if it succeeds.
func as(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, arguments...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

const site = "evil.example"

// outsiders are the attacks of all who run no code in the arena's worker: those at the worker without tokens,
// at one with tokens and by pages of functions, and by the networks that functions have, and at the worker's
// memory.
var outsiders = slices.Concat(clientAttacks, doorAttacks, egressAttacks, workerAttacks)

var clientAttacks = []outsider{
	{attack{name: "run a function from a page that points its own name here", walls: "host names"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPost, "/run/"+a.victim(t), strings.NewReader(`1`), site)
	}},
	{attack{name: "read functions from a page that points its own name here", walls: "host names"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodGet, "/v1/functions", nil, site)
	}},
	{attack{name: "deploy from a page of another site", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPut, "/v1/functions/paged", bytes.NewReader(handlerFile(echo).archive(t)), "", "Origin: http://"+site, "Sec-Fetch-Site: cross-site")
	}},
	{attack{name: "run a function from a page of another site", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPost, "/run/"+a.victim(t), strings.NewReader(`1`), "", "Origin: http://"+site, "Sec-Fetch-Site: cross-site", "Content-Type: text/plain")
	}},
	{attack{name: "write words of its own into logs by a request id", walls: "request ids"}, "client", func(t *testing.T, a *arena) string {
		const id = "one level=ERROR msg=forged"
		answer, err := a.worker.do(t.Context(), http.MethodPost, "/run/"+a.victim(t), strings.NewReader(`1`), "X-Request-Id: "+id)
		if coretest.Must(t, err); answer.header.Get("X-Request-Id") == id {
			return "it is the id"
		}
		return ""
	}},
	{attack{name: "smuggle a second request in a body", unshown: "net/http reads requests", open: bothLengths}, "client", func(t *testing.T, a *arena) string {
		back := a.spoken(t, "POST /run/"+a.victim(t)+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\nGET /v1/functions HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if strings.Contains(back, a.victim(t)+`"`) {
			return back
		}
		return ""
	}},
	{attack{name: "have two lengths of one body", unshown: "net/http reads requests"}, "client", func(t *testing.T, a *arena) string {
		back := a.spoken(t, "POST /run/"+a.victim(t)+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n11")
		if strings.Contains(back, "200 OK") {
			return back
		}
		return ""
	}},
	{attack{name: "leave the folder of functions by a name", walls: "names"}, "client", func(t *testing.T, a *arena) string {
		for _, name := range []string{"..%2f..%2fetc%2fpasswd", "%2e%2e", "a%2fb", "a%5cb", "a%00b", "a%0ab"} {
			if got := a.asked(t, http.MethodPut, "/v1/functions/"+name, bytes.NewReader(handlerFile(echo).archive(t)), ""); got != "" {
				return got
			}
		}
		return ""
	}},
	{attack{name: "inject a label into metrics by a name", walls: "names"}, "client", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPut, "/v1/functions/"+`a%22%7d%201%0ab`, bytes.NewReader(handlerFile(echo).archive(t)), "")
	}},
	{attack{name: "nest an event deeper than parsers go", walls: "depth"}, "client", func(t *testing.T, a *arena) string {
		answer, err := a.worker.do(t.Context(), http.MethodPost, "/run/"+a.victim(t), strings.NewReader(strings.Repeat("[", 20000)+strings.Repeat("]", 20000)))
		if coretest.Must(t, err); answer.status != http.StatusBadRequest {
			return answer.String()
		}
		return ""
	}},
	{attack{name: "send an event that grows when it is unpacked", unshown: "the worker unpacks no event: TestContentEncoding"}, "client", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPost, "/run/"+a.victim(t), bytes.NewReader(packGzip(t, make([]byte, 64<<20))), "", "Content-Encoding: gzip")
	}},
	{attack{name: "send an event that is too large", walls: "event size"}, "client", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "measuring", handlerFile("def handler(event, context):\n    return len(event)\n")) // a result has a bound too
		return a.asked(t, http.MethodPost, "/run/measuring", strings.NewReader(`"`+strings.Repeat("x", 6<<20)+`"`), "")
	}},

	{attack{name: "unpack an archive bomb", walls: "archive bounds"}, "deployer", func(t *testing.T, a *arena) string {
		return a.uploaded(t, func(w *tar.Writer) {
			coretest.Must(t, w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: 64 << 20, Typeflag: tar.TypeReg}))
			_, err := w.Write(make([]byte, 64<<20))
			coretest.Must(t, err)
		})
	}},
	{attack{name: "unpack more files than an archive may have", walls: "archive bounds"}, "deployer", func(t *testing.T, a *arena) string {
		return a.uploaded(t, func(w *tar.Writer) {
			for n := range 20001 {
				coretest.Must(t, w.WriteHeader(&tar.Header{Name: fmt.Sprint("f", n), Mode: 0o644, Typeflag: tar.TypeReg}))
			}
		})
	}},
	{attack{name: "upload a fifo", walls: "archive kinds"}, "deployer", uploads(tar.Header{Name: "fifo", Mode: 0o644, Typeflag: tar.TypeFifo})},
	{attack{name: "upload a device", walls: "archive kinds"}, "deployer", uploads(tar.Header{Name: "disk", Mode: 0o644, Typeflag: tar.TypeBlock, Devmajor: 254})},
	{attack{name: "upload a link that leads out", walls: "archive links"}, "deployer", uploads(tar.Header{Name: "out", Linkname: "../../../etc/shadow", Typeflag: tar.TypeSymlink})},
	{attack{name: "upload a link to an absolute path", walls: "archive links"}, "deployer", uploads(tar.Header{Name: "out", Linkname: "/etc/shadow", Typeflag: tar.TypeSymlink})},
	{attack{name: "upload a hard link to what is not in the archive", unshown: inRoot}, "deployer", uploads(tar.Header{Name: "out", Linkname: "../../functions", Typeflag: tar.TypeLink})},
	{attack{name: "upload a file with an absolute path", unshown: inRoot}, "deployer", uploads(tar.Header{Name: "/etc/pipsqueak-attack", Mode: 0o644, Typeflag: tar.TypeReg})},
	{attack{name: "upload a file above the directory", unshown: inRoot}, "deployer", uploads(tar.Header{Name: "../../pipsqueak-attack", Mode: 0o644, Typeflag: tar.TypeReg})},
	{attack{name: "write through a link of the archive", unshown: inRoot}, "deployer", func(t *testing.T, a *arena) string {
		return a.uploaded(t, func(w *tar.Writer) {
			coretest.Must(t, w.WriteHeader(&tar.Header{Name: "out", Linkname: "..", Typeflag: tar.TypeSymlink}))
			coretest.Must(t, w.WriteHeader(&tar.Header{Name: "out/pipsqueak-attack", Mode: 0o644, Typeflag: tar.TypeReg}))
		})
	}},
	{attack{name: "upload a program with the set-user-ID bit", unshown: "modes are set when a file is unpacked, and again when the tree is sealed: TestUnpack, TestDigest"}, "deployer", func(t *testing.T, a *arena) string {
		if a.uploaded(t, func(w *tar.Writer) {
			coretest.Must(t, w.WriteHeader(&tar.Header{Name: "root", Mode: 0o6755, Typeflag: tar.TypeReg}))
		}) == "" {
			return ""
		}
		found := ""
		coretest.Must(t, filepath.WalkDir(filepath.Join(a.worker.data, "code"), func(path string, entry os.DirEntry, err error) error {
			if info, failed := entry.Info(); err == nil && failed == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
				found = path
			}
			return err
		}))
		return found
	}},
	{attack{name: "choose a registry by the options of a manifest", unshown: "each installer refuses it, and the relay again: TestRegistries, TestInstallerReachesRegistriesOnly"}, "deployer", func(t *testing.T, a *arena) string {
		return a.installed(t, handlerFile(echo).with("requirements.txt", "--index-url http://"+a.listener+"/simple\nmischief\n"))
	}},
	{attack{name: "have a package fetched from an address", unshown: "each installer refuses it, and the relay again: TestRegistries, TestInstallerReachesRegistriesOnly"}, "deployer", func(t *testing.T, a *arena) string {
		return a.installed(t, files{"index.js": nodeEcho, "package.json": `{"dependencies": {"mischief": "http://` + a.listener + `/mischief.tgz"}}`})
	}},

	{attack{name: "list the worker's data as another user", walls: "data directory"}, "user", func(t *testing.T, a *arena) string {
		return as(t, "ls", a.worker.data)
	}},
	{attack{name: "read the code of functions as another user", walls: "data directory"}, "user", func(t *testing.T, a *arena) string {
		a.victim(t)
		return as(t, "find", filepath.Join(a.worker.data, "code"), "-name", "handler.py")
	}},
	{attack{name: "reach the gate as another user", unshown: "the directory is the worker's alone, and so is the gate's, and no pid may be claimed: TestGateRefusesStrangers"}, "user", func(t *testing.T, _ *arena) string {
		return as(t, "find", "/run/pipsqueak", "-name", "gate")
	}},
	{attack{name: "read the environment of an instance as another user", unshown: "the kernel shows it to the same user alone"}, "user", func(t *testing.T, a *arena) string {
		for _, n := range a.worker.snapshot(t).Nodes {
			if got := as(t, "cat", fmt.Sprintf("/proc/%d/environ", n.PID)); got != "" {
				return got
			}
		}
		return ""
	}},

	{attack{name: "have the client write above its directory", walls: "local names"}, "server", func(t *testing.T, a *arena) string {
		hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"lock": map[string]any{"runtime": "python3.11", "files": map[string]string{"../escaped": "hostile"}}})
		}))
		defer hostile.Close()
		dir := filepath.Join(t.TempDir(), "function")
		handlerFile(echo).write(t, dir)
		out, _ := exec.CommandContext(t.Context(), filepath.Join(a.programs, "pipsqueak"), "lock", dir, "--server", hostile.URL).CombinedOutput()
		if _, err := os.Stat(filepath.Join(dir, "..", "escaped")); err == nil {
			return "it is there: " + string(out)
		}
		return ""
	}},
	{attack{name: "send orders to the operator's terminal in a log", walls: "terminal"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "painter", handlerFile("def handler(event, context):\n    print('\\x1b]0;owned\\x07', flush=True)\n"))
		result[any](t, a.worker, "painter", `1`)
		out := ""
		eventually(t, patience, "the log has the line", func() bool {
			shown, err := exec.CommandContext(t.Context(), "script", "-qec", filepath.Join(a.programs, "pipsqueak")+" logs painter --server "+a.worker.url, "/dev/null").CombinedOutput()
			coretest.Must(t, err)
			out = string(shown)
			return strings.Contains(out, "owned")
		})
		if strings.Contains(out, "\x1b]0;") {
			return fmt.Sprintf("%q", out)
		}
		return ""
	}},
	{attack{name: "set a header of the answer by an exception", unshown: "no word of a handler is in a header"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "header", handlerFile("class E(Exception): pass\nE.__name__ = E.__qualname__ = 'E\\r\\nSet-Cookie: a=b'\ndef handler(event, context):\n    raise E('\\r\\nSet-Cookie: a=b\\r\\n\\r\\nbody')\n"))
		back := a.spoken(t, "POST /run/header HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1")
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(back)), nil)
		if coretest.Must(t, err); response.Header.Get("Set-Cookie") != "" {
			return back
		}
		return ""
	}},
	{attack{name: "fill the disk by logs", walls: "log size"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "chatty", handlerFile("def handler(event, context):\n    for n in range(400):\n        print('x' * 65536)\n"))
		result[any](t, a.worker, "chatty", `1`)
		size := func() (sum int64) {
			logs, _ := filepath.Glob(filepath.Join(a.worker.data, "logs", "chatty.log*"))
			for _, path := range logs {
				if info, err := os.Stat(path); err == nil {
					sum += info.Size()
				}
			}
			return sum
		}
		time.Sleep(2 * time.Second)
		if size() > 10<<20 {
			return fmt.Sprint(size(), " bytes")
		}
		return ""
	}},
}

// bothLengths is a stated limit, in docs/security.md.
const bothLengths = "net/http obeys Transfer-Encoding in a request that has a Content-Length too: a proxy in front has to refuse that"

const inRoot = "os.Root writes files: it is checked twice, and the second time by the language's library"

// installed deploys a function, and returns what its installer reached that is no registry.
func (a *arena) installed(t *testing.T, f files) string {
	t.Helper()
	for len(a.heard) > 0 {
		<-a.heard
	}
	answer := a.worker.put(t, "chooser", f)
	select {
	case what := <-a.heard:
		return what
	default:
		if answer.status < http.StatusBadRequest {
			return answer.String()
		}
		return ""
	}
}
