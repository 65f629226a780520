package driver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// The test binary is also every driver of the tests, so that each test goes over the real wire: started under
// a driver's name, it is that driver. hostEnv makes it a host that opens the driver at a path and waits to be
// killed.
const hostEnv = "PIPSQUEAK_TEST_HOST"

func TestMain(m *testing.M) {
	if role, found := strings.CutPrefix(filepath.Base(os.Args[0]), driver.Prefix); found {
		serve(role)
	}
	if path := os.Getenv(hostEnv); path != "" {
		beHost(path)
	}
	os.Exit(m.Run())
}

func serve(role string) {
	log := driver.Logger(os.Stderr)
	fake := drivertest.New(drivertest.Described(role, core.RuntimeID(role+"1")))
	if breach, found := strings.CutPrefix(role, "faulty-"); found {
		driver.Serve(&drivertest.Faulty{Driver: fake, Breach: drivertest.Breach(breach)})
	}
	switch role {
	case "mirror":
		driver.Serve(mirror{})
	case "plain": // without core.Installer
		d := drivertest.New(core.Description{Language: role})
		driver.Serve(struct{ core.Driver }{d})
	case "versions":
		d := drivertest.Described(role, "new1", "old1")
		d.Runtimes[0].Programs = []core.Program{{Name: "thing", Version: "2.0", Tested: []string{"1.9", "2.0"}}, {Name: "tool", Tested: []string{"7"}}}
		d.Runtimes[1].Programs = []core.Program{{Name: "thing", Version: "1.9", Tested: []string{"1.9", "2.0"}}}
		driver.Serve(drivertest.New(d))
	case "environ":
		d := drivertest.Described(role)
		d.Problems = os.Environ()
		driver.Serve(drivertest.New(d))
	case "undescribed":
		fake.Arrange(drivertest.Describe, drivertest.Behaviour{
			Err: core.Errorf(core.KindUnsupported, core.FaultWorker, "no interpreter is installed"),
		})
		driver.Serve(fake)
	case "watcher":
		driver.Serve(&watcher{Fake: fake})
	case "clinging":
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		defer w.Close()
		os.Stdin = r
		driver.Serve(fake)
	case "mute":
		fake.Arrange(drivertest.Describe, drivertest.Behaviour{Hang: true})
		driver.Serve(fake)
	case "talker":
		log.Info("preload", "rt", "talker1", "took", 5, "nested", map[string]any{"a": 1})
		log.Warn("careful")
		fmt.Fprintln(os.Stderr, "not json")
		fmt.Fprintln(os.Stderr, `{"@message": 1, "@level": true}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 200_000))
		driver.Serve(fake)
	}
	fake.Arrange(drivertest.Fork, drivertest.Behaviour{Hang: true})
	driver.Serve(fake)
}

// install puts a driver of the role into a directory, and returns its path.
func install(t testing.TB, dir, role string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, driver.Prefix+role)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is t.TempDir with a short name, because a socket's path may not be long.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, role string) *driver.Client {
	t.Helper()
	c, err := driver.Open(t.Context(), install(t, t.TempDir(), role), driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func sandbox(id core.NodeID) core.Door { return core.Door{ID: id, Gate: "/gate"} }

// mustBe checks the kind and fault of an error and that its message has all the parts.
func mustBe(t *testing.T, err error, kind core.Kind, fault core.Fault, parts ...string) *core.Error {
	t.Helper()
	e, ok := err.(*core.Error) //nolint:errorlint // the error itself has to be one, not something that wraps one
	if !ok {
		t.Fatalf("error is %T %v, want a *core.Error", err, err)
	}
	if e.Kind != kind || e.Fault != fault {
		t.Fatalf("error %q is %s of %s, want %s of %s", e.Message, e.Kind, e.Fault, kind, fault)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Errorf("error %q does not mention %q", e.Message, part)
		}
	}
	return e
}

// fill sets everything in the value that v points to from a seed, so that both sides of the wire can make the
// same.
func fill(seed string, v any) {
	h := fnv.New64a()
	h.Write([]byte(seed))
	fillValue(rand.New(rand.NewPCG(h.Sum64(), 1)), reflect.ValueOf(v).Elem())
}

func fillValue(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("é\n\x00%x", r.Uint32()))
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fillValue(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fillValue(r, key)
			fillValue(r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported() || f.Type.Kind() == reflect.Interface: // core.Error.Err does not cross
			case f.Type == reflect.TypeFor[[]core.Cause](): // whose own causes would have no end
				last := core.Exception{Type: "L", Message: "é", Stack: []string{"l:1"}, Notes: []string{"n"}}
				v.Field(i).Set(reflect.ValueOf([]core.Cause{
					{Relation: core.RelationContext, Exception: core.Exception{Type: "C", Stack: []string{"c:1"}, Causes: []core.Cause{{Relation: core.RelationMember, Exception: last}}}},
					{Relation: "else", Exception: last},
				}))
			default:
				fillValue(r, v.Field(i))
			}
		}
	default:
		panic("fill knows no " + v.Kind().String())
	}
}

// watcher tells in its description which forks it was asked for, and how their contexts ended.
type watcher struct {
	*drivertest.Fake
	mu   sync.Mutex
	seen []string
}

func (w *watcher) Fork(ctx context.Context, id, _ core.NodeID, _ core.Door) error {
	_, has := ctx.Deadline()
	w.tell(string(id))
	<-ctx.Done()
	w.tell(fmt.Sprintf("%s: has %s deadline: %v", id, map[bool]string{true: "a", false: "no"}[has], ctx.Err()))
	return ctx.Err()
}

func (w *watcher) tell(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, what)
}

func (w *watcher) Describe(context.Context) (core.Description, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return core.Description{Language: "watcher", Problems: slices.Clone(w.seen)}, nil
}

// mirror answers everything from seeds, and tells in an error's exception what it was asked when it is asked
// to.
type mirror struct{}

const tell = "tell"

func told(request ...any) error {
	text, err := json.Marshal(request)
	if err != nil {
		panic(err)
	}
	return &core.Error{Kind: core.KindException, Fault: core.FaultHandler, Exception: &core.Exception{Message: string(text)}}
}

func (mirror) Describe(context.Context) (d core.Description, err error) {
	fill("Describe", &d)
	d.Capabilities[0], d.Capabilities[1] = core.CapabilityInstall, core.CapabilityScan
	return d, nil
}

func (mirror) Preload(_ context.Context, id core.NodeID, runtime core.RuntimeID, s core.Door) error {
	if runtime == tell {
		return told(id, runtime, s)
	}
	return nil
}

func (mirror) Fork(_ context.Context, id, parent core.NodeID, s core.Door) error {
	if id == "short" {
		return fmt.Errorf("a control socket: %w", os.NewSyscallError("socketpair", syscall.EMFILE))
	}
	if parent == tell {
		return told(id, parent, s)
	}
	return nil
}

func (mirror) Import(_ context.Context, id core.NodeID, load core.Load) (r core.Report, err error) {
	if id == tell {
		return r, told(id, load)
	}
	if seed, found := strings.CutPrefix(string(id), "error "); found {
		var e core.Error
		fill(seed, &e)
		return r, fmt.Errorf("wrapped: %w", &e)
	}
	if len(load.Modules) > 0 && load.Modules[0] == "huge" {
		huge := strings.Repeat("\xffé", 1<<20)
		return r, &core.Error{Kind: core.KindException, Fault: core.FaultHandler, Message: huge,
			Exception: &core.Exception{Type: "T", Message: huge, Stack: append(make([]string, 100_000), huge, "innermost"), Notes: []string{huge},
				Causes: slices.Repeat([]core.Cause{{Relation: core.Relation(huge), Exception: core.Exception{Type: huge, Message: huge, Stack: []string{huge}}}}, 100)}}
	}
	if id != "zero" {
		fill(string(id), &r)
	}
	return r, nil
}

func (mirror) Resolve(_ context.Context, request core.ResolveRequest) (r core.Resolution, err error) {
	if request.Door.ID == tell {
		return r, told(request)
	}
	fill(string(request.Door.ID), &r)
	return r, nil
}

func (mirror) Install(_ context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	if request.Door.ID == tell {
		return nil, told(request)
	}
	var all sync.WaitGroup
	for i := range 8 { // from many goroutines, as an installer may
		all.Go(func() {
			var p core.Progress
			fill(fmt.Sprint(request.Door.ID, i), &p)
			p.Done = int64(i)
			progress(p)
		})
	}
	all.Wait()
	receipts := make([]core.Receipt, 2)
	for i := range receipts {
		fill(fmt.Sprint(request.Door.ID, i), &receipts[i])
	}
	return receipts, nil
}

func (mirror) Scan(_ context.Context, request core.ScanRequest) (s core.Scanned, err error) {
	if request.Door.ID == tell {
		return s, told(request)
	}
	fill(string(request.Door.ID), &s)
	return s, nil
}

// records is a slog.Handler's output that tests may read while it is written.
type records struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// patience is how long other processes may take for what they have to do, on a machine that does much else.
// Nothing takes that long when it works.
const patience = 30 * time.Second

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
