package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// house is a sandbox host and a driver in one process, without the wire between them.
type house struct {
	*node
	host     *sandbox.Host
	runtimes []core.Runtime
	runtime  core.Runtime // of the processes that are made
	code     string
	next     int
}

func (h *house) CodePath(string) (string, error)                    { return h.code, nil }
func (h *house) PackagePath(core.RuntimeID, string) (string, error) { return h.code, nil }

// libexec returns the directory with the built launcher and library, of `make build`.
func libexec(t testing.TB) string {
	t.Helper()
	bin := cmp.Or(os.Getenv("PIPSQUEAK_BIN"), "../../bin")
	dir, err := filepath.Abs(filepath.Join(bin, "libexec"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, zygote.Library)); err != nil {
		t.Fatalf("%v; run make build first", err)
	}
	return dir
}

// newHouse has the first runtime of the driver. The files are the function's code, by name.
func newHouse(t testing.TB, files map[string]string) *house {
	t.Helper()
	h := openHouse(t)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(h.code, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// openHouse has no code yet.
func openHouse(t testing.TB) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("requires root")
		}
		t.Skip("requires root")
	}
	t.Setenv("PIPSQUEAK_LIBEXEC", libexec(t))
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h := &house{node: newDriver(log), code: t.TempDir()}
	if err := os.Chmod(h.code, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	h.host, err = sandbox.Open(sandbox.Config{Dir: filepath.Join(t.TempDir(), "run"), Name: fmt.Sprintf("pipsqueak-test-%d", os.Getpid()), Store: h, Log: log,
		Output: func(config core.SandboxConfig, stream string, output io.Reader) {
			text, _ := io.ReadAll(output)
			if len(text) > 0 {
				fmt.Fprintf(os.Stderr, "%s %s: %s", config.ID, stream, text)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.host.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := h.Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Runtimes) == 0 {
		t.Fatal(d.Problems)
	}
	h.runtimes, h.runtime = d.Runtimes, d.Runtimes[0]
	return h
}

func (h *house) sandbox(t testing.TB, role core.Role) *sandbox.Sandbox {
	t.Helper()
	return h.sandboxWith(t, role, nil)
}

func (h *house) sandboxWith(t testing.TB, role core.Role, packages core.Set) *sandbox.Sandbox {
	t.Helper()
	h.next++
	config := core.SandboxConfig{ID: core.NodeID(fmt.Sprintf("n%d", h.next)), Role: role, Runtime: h.runtime, Packages: packages, Limits: core.DefaultLimits()}
	if role == core.RoleInstance {
		config.Code = "code"
	}
	s, err := h.host.Create(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *house) preload(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	s := h.sandbox(t, core.RoleZygote)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := h.Preload(ctx, s.Ref().ID, h.runtime.ID, s.Ref())
	if _, _, entered := s.Entered(); entered != nil || err != nil {
		t.Fatal(err, entered)
	}
	return s
}

func (h *house) fork(t testing.TB, parent *sandbox.Sandbox) *sandbox.Sandbox {
	t.Helper()
	return h.forkWith(t, parent, nil, "handler.handler")
}

func (h *house) forkWith(t testing.TB, parent *sandbox.Sandbox, packages core.Set, handler string) *sandbox.Sandbox {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s := h.sandboxWith(t, core.RoleInstance, packages)
	err := h.Fork(ctx, s.Ref().ID, parent.Ref().ID, s.Ref())
	if _, _, entered := s.Entered(); entered != nil || err != nil {
		t.Fatal(err, entered)
	}
	if _, err := endpoint.Import(ctx, s.Endpoint(), core.HandlerLoad{Function: "f", Version: 1, Handler: handler, Memory: 128 << 20, Env: map[string]string{"A": "b"}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func call(t testing.TB, conn net.Conn, event string) (byte, string) {
	t.Helper()
	meta := fmt.Sprintf(`{"id":"r1","deadline_ms":%d}`, time.Now().Add(20*time.Second).UnixMilli())
	frame := binary.BigEndian.AppendUint32(nil, uint32(1+4+len(meta)+len(event)))
	frame = append(frame, 'E')
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(meta)))
	frame = append(append(frame, meta...), event...)
	if _, err := conn.Write(frame); err != nil {
		t.Fatalf("the event %s: %v", event, err)
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatalf("the event %s: %v", event, err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head)-1)
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatalf("the event %s: %v", event, err)
	}
	return head[4], string(body)
}

func TestForkedInstanceAnswers(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.js": `
exports.handler = async (event, context) =>
  [event, context.awsRequestId, context.functionName, { ...process.env }, process.pid, process.getuid() > 0];
`})
	root := h.preload(t)
	for range 3 {
		s := h.fork(t, root)
		kind, body := call(t, s.Endpoint(), `{"x":1}`)
		if want := `[{"x":1},"r1","f",{"A":"b"},1,true]`; kind != 'R' || body != want {
			t.Errorf("%c %s, want R %s", kind, body, want)
		}
	}
}

// A package that starts threads when it is imported is found out: core keeps it out of the tree. ES modules start none.
func TestThreadsAreCounted(t *testing.T) {
	h := openHouse(t)
	write(t, h.code, map[string]string{
		"node_modules/quiet/index.js":   "exports.x = 1;",
		"node_modules/esm/package.json": `{"type":"module","exports":"./x.js"}`,
		"node_modules/esm/x.js":         "export const x = await Promise.resolve(1);",
		"node_modules/pool/index.js":    "require('fs').promises.readFile(__filename);",
		"node_modules/workers/index.js": "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true });",
	})
	root := h.preload(t)
	for module, many := range map[string]bool{"quiet": false, "import:esm": false, "pool": true, "workers": true} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// The house shows its files for every package.
		set := core.NewSet(core.Package{Name: strings.TrimPrefix(module, "import:"), Version: "1", Digest: "any"})
		s := h.sandboxWith(t, core.RoleZygote, set)
		if err := h.Fork(ctx, s.Ref().ID, root.Ref().ID, s.Ref()); err != nil {
			t.Fatal(err)
		}
		report, err := h.Import(ctx, s.Ref().ID, core.Load{Packages: []string{core.PackageDir(set[0])}, Modules: []string{module}})
		if err != nil || report.Threads > 1 != many {
			t.Errorf("importing %s leaves %d threads: %v", module, report.Threads, err)
		}
	}
}

func BenchmarkFork(b *testing.B) {
	h := newHouse(b, map[string]string{"handler.js": "exports.handler = async (e) => e\n"})
	root := h.preload(b)
	b.ResetTimer()
	ctx := context.Background()
	var phases [5][]float64
	for b.Loop() {
		at := time.Now()
		step := func(i int) { phases[i] = append(phases[i], float64(time.Since(at).Microseconds())); at = time.Now() }
		s := h.sandbox(b, core.RoleInstance)
		step(0)
		if err := h.Fork(ctx, s.Ref().ID, root.Ref().ID, s.Ref()); err != nil {
			b.Fatal(err)
		}
		_, enter, err := s.Entered()
		if err != nil {
			b.Fatal(err)
		}
		step(1)
		phases[2] = append(phases[2], float64(enter.Microseconds()))
		if _, err := endpoint.Import(ctx, s.Endpoint(), core.HandlerLoad{Function: "f", Version: 1, Handler: "handler.handler", Memory: 128 << 20}); err != nil {
			b.Fatal(err)
		}
		step(3)
		call(b, s.Endpoint(), `{"x":1}`)
		step(4)
		s.Endpoint().Close()
		s.Kill()
		<-s.Done()
	}
	for i, name := range []string{"sandbox", "fork+enter", "enter", "import", "event"} {
		slices.Sort(phases[i])
		b.ReportMetric(phases[i][len(phases[i])/2], name+"-µs")
	}
}
