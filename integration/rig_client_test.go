package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// files is the content of a function's directory. A name with * at its end is that of a program, as ls -F
// shows it.
type files map[string]string

// archive returns the files as a tar.gz.
func (f files) archive(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		header := &tar.Header{Name: strings.TrimSuffix(name, "*"), Mode: 0o644, Size: int64(len(f[name])), Typeflag: tar.TypeReg}
		if header.Name != name {
			header.Mode = 0o755
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// handlerFile is a function of one file.
func handlerFile(code string) files { return files{"handler.py": code} }

// with adds a file.
func (f files) with(name, text string) files {
	more := maps.Clone(f)
	more[name] = text
	return more
}

// directory returns the files below a folder of the repository.
func directory(t testing.TB, dir string) files {
	t.Helper()
	found := files{}
	root := os.DirFS(filepath.Join(repositoryRoot(t), dir))
	matches, err := os.ReadDir(filepath.Join(repositoryRoot(t), dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range matches {
		if entry.Type().IsRegular() {
			file, err := root.Open(entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(file)
			_ = file.Close()
			if err != nil {
				t.Fatal(err)
			}
			found[entry.Name()] = string(text)
		}
	}
	return found
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string {
	body := a.body
	if len(body) > 500 {
		body = body[:500]
	}
	return fmt.Sprintf("%d %s", a.status, bytes.TrimSpace(body))
}

// sender keeps connections and follows no redirect: a test wants to see what the worker said.
var sender = &http.Client{
	Timeout:       90 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// client returns a client of the worker.
func (w *worker) client() client.Client { return client.Client{Base: w.url, HTTP: sender} }

// do sends a request, with headers as "Key: value". Only a broken connection is an error.
func (w *worker) do(ctx context.Context, method, path string, body io.Reader, headers ...string) (answer, error) {
	all := http.Header{}
	for _, header := range headers {
		key, value, _ := strings.Cut(header, ": ")
		all.Set(key, value)
	}
	response, err := w.client().Do(ctx, method, path, all, body)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, text}, err
}

// ask is do for tests in which a broken connection is a failure.
func (w *worker) ask(t testing.TB, method, path string, body []byte) answer {
	t.Helper()
	a, err := w.do(t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, w.logs)
	}
	return a
}

// put deploys and returns the answer, whatever it is.
func (w *worker) put(t testing.TB, name string, f files) answer {
	t.Helper()
	return w.ask(t, http.MethodPut, "/v1/functions/"+name, f.archive(t))
}

// deploy deploys a function that the test expects to be good.
func (w *worker) deploy(t testing.TB, name string, f files) core.Function {
	t.Helper()
	a := w.put(t, name, f)
	if a.status/100 != 2 {
		t.Fatalf("deploy %s: %v", name, a)
	}
	return decode[core.Function](t, a)
}

// force deploys a function whose handler may fail when it is imported.
func (w *worker) force(t testing.TB, name string, f files) core.Function {
	t.Helper()
	a := w.ask(t, http.MethodPut, "/v1/functions/"+name+"?force=true", f.archive(t))
	if a.status/100 != 2 {
		t.Fatalf("deploy %s by force: %v", name, a)
	}
	return decode[core.Function](t, a)
}

// run invokes a function and returns the answer, whatever it is. What every answer must have is checked here,
// for every test.
func (w *worker) run(t testing.TB, name, event string) answer {
	t.Helper()
	a := w.ask(t, http.MethodPost, "/run/"+name, []byte(event))
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("run %s: no X-Request-Id in %v", name, a)
	}
	if a.status == http.StatusOK {
		if _, err := phases(a); err != nil {
			t.Errorf("run %s: %v", name, err)
		}
	}
	return a
}

// result is run for an invocation that has to succeed, decoded.
func result[T any](t testing.TB, w *worker, name, event string) T {
	t.Helper()
	a := w.run(t, name, event)
	if a.status != http.StatusOK {
		t.Fatalf("run %s: %v", name, a)
	}
	return decode[T](t, a)
}

func decode[T any](t testing.TB, a answer) (value T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &value); err != nil {
		t.Fatalf("%v: %v", err, a)
	}
	return value
}

// expectError checks that the answer is an error of that kind, fault and status. An empty fault is not
// compared.
func (a answer) expectError(t testing.TB, kind core.Kind, fault core.Fault, status int) core.Error {
	t.Helper()
	var body struct {
		Error core.Error `json:"error"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Errorf("the error is not JSON: %v", a)
	}
	if body.Error.Kind != kind || a.status != status || fault != "" && body.Error.Fault != fault {
		t.Errorf("answer %v, want kind %s, fault %s, status %d", a, kind, fault, status)
	}
	if body.Error.Message == "" || body.Error.Fault == "" {
		t.Errorf("an error has to say what happened and whose fault it is: %v", a)
	}
	return body.Error
}

// phases returns the phases of an invocation in milliseconds, and an error when the headers are not as
// promised.
func phases(a answer) (map[string]float64, error) {
	found := map[string]float64{}
	for part := range strings.SplitSeq(a.header.Get("Server-Timing"), ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), ";dur=")
		if _, err := strconv.ParseFloat(value, 64); !ok || err != nil || !slices.Contains(core.PhaseNames[:], name) {
			return nil, fmt.Errorf("phase %q in Server-Timing %q", part, a.header.Get("Server-Timing"))
		}
	}
	for _, phase := range client.AnswerOf(a.header).Phases {
		found[phase.Name] = phase.Ms
	}
	sum := 0.0
	for name, ms := range found {
		if name != "total" {
			sum += ms
		}
	}
	total, ok := found["total"]
	if _, handler := found["handler"]; !ok || !handler || sum > total+0.1 {
		return nil, fmt.Errorf("phases have to include handler and total and must not overlap: Server-Timing %q", a.header.Get("Server-Timing"))
	}
	switch start := core.Start(a.header.Get("Pipsqueak-Start")); start {
	case core.StartWarm, core.StartFork, core.StartCold:
		if _, forked := found["fork"]; forked && start == core.StartWarm {
			return nil, fmt.Errorf("a warm start forked: Server-Timing %q", a.header.Get("Server-Timing"))
		}
		return found, nil
	default:
		return nil, fmt.Errorf("Pipsqueak-Start is %q", start)
	}
}

// snapshot returns what is alive.
func (w *worker) snapshot(t testing.TB) core.Snapshot {
	t.Helper()
	snapshot, err := w.client().Snapshot(t.Context())
	if err != nil {
		t.Fatalf("tree: %v\n%s", err, w.logs)
	}
	return snapshot
}

// leaves returns all nodes of a function: its instances, and what is to become one.
func (w *worker) leaves(t testing.TB, function string) (nodes []core.NodeInfo) {
	t.Helper()
	for _, n := range w.snapshot(t).Nodes {
		if n.Role == core.RoleInstance && n.Function == function {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// instances returns the nodes of a function that have imported its handler, and not the child that is made
// ahead.
func (w *worker) instances(t testing.TB, function string) []core.NodeInfo {
	t.Helper()
	return slices.DeleteFunc(w.leaves(t, function), func(n core.NodeInfo) bool { return n.State == "making" || n.State == "parked" })
}

// patience is how long what has to happen may take on a machine that does much else. Nothing takes that long
// when it works: how long things take is for benchmarks to tell.
const patience = time.Minute

// eventually tries until the condition holds.
func eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", within, what)
		}
	}
}

// traffic invokes a good function of its own without pause until the returned function is called, which
// reports every answer that was not the right one: whatever else happens, other traffic is still served.
func traffic(t testing.TB, w *worker) (stop func()) {
	t.Helper()
	name := "bystander-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	w.deploy(t, name, handlerFile("def handler(event, context):\n    return event['n'] + 1\n"))
	result[int](t, w, name, `{"n": 0}`)
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	served, wrong := 0, []string(nil)
	ended.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			began := time.Now()
			a, err := w.do(context.WithoutCancel(ctx), http.MethodPost, "/run/"+name, strings.NewReader(fmt.Sprintf(`{"n": %d}`, n)))
			if err != nil || a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != strconv.Itoa(n+1) {
				wrong = append(wrong, fmt.Sprintf("event %d: %v %v", n, a, err))
			} else if took := time.Since(began); took > 20*time.Second {
				wrong = append(wrong, fmt.Sprintf("event %d took %v", n, took))
			} else {
				served++
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return func() {
		t.Helper()
		cancel()
		ended.Wait()
		if served == 0 || len(wrong) > 0 {
			t.Errorf("other traffic: %d served, %d not:\n%s", served, len(wrong), strings.Join(wrong[:min(5, len(wrong))], "\n"))
		}
	}
}
