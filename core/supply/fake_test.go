package supply

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// world is a machine without processes: a supply over a store of its own and one driver that keeps the
// contract. It is all sandboxes and everything that lives, and remembers what it was asked.
type world struct {
	*Supply
	*drivertest.Fake
	log *buffer

	mu      sync.Mutex
	down    error                      // of the driver
	boxes   []*box                     // all that there ever were
	words   string                     // that each installer prints
	oom     bool                       // installers are ended for want of memory
	during  func(m drivertest.Method)  // while an installer runs
	files   func(p core.Locked) string // contents of the only file of a package that is installed
	trial   func(*core.Function, bool) (Trial, error)
	used    map[string]bool          // digests that live processes have
	asked   []string                 // of what lives, in order
	ends    map[string]chan struct{} // of zygotes that a switch has left without use, by function
	unready string
}

// buffer may be written and read at once.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

func (b *buffer) Len() int { return len(b.String()) }

// inWorld runs a test in a world and a bubble of time.
func inWorld(t *testing.T, change func(*Config), test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, change)) })
}

// set changes the world while others may look at it.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// step is what a method of the driver begins with.
func (w *world) step(m drivertest.Method) {
	w.mu.Lock()
	during := w.during
	w.mu.Unlock()
	during(m)
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	kept, _, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	description := drivertest.Described("lang", "lang1")
	description.Capabilities = append(description.Capabilities, core.CapabilityLock, core.CapabilityScan)
	description.Runtimes[0].Manifests = []string{"needs.txt"}
	w := &world{Fake: drivertest.New(description), log: &buffer{}, used: map[string]bool{}, ends: map[string]chan struct{}{},
		during: func(drivertest.Method) {}, files: core.Locked.String,
		trial: func(*core.Function, bool) (Trial, error) { return Trial{}, nil }}
	config := Config{Log: slog.New(slog.NewTextHandler(w.log, nil)), Store: kept, Fleet: fleet{w}, Live: lives{w}, Create: w.create}
	if change != nil {
		change(&config)
	}
	w.Supply = New(config)
	t.Cleanup(func() {
		w.Supply.Close()
		w.Fake.Close()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, b := range w.boxes {
			select {
			case <-b.done:
			default:
				t.Errorf("the sandbox %s is left", b.config.ID)
			}
		}
	})
	return w
}

// box is a sandbox without a process.
type box struct {
	w      *world
	config core.SandboxConfig
	done   chan struct{}
	once   sync.Once
}

func (w *world) create(_ context.Context, config core.SandboxConfig) (Sandbox, error) {
	if err := w.store.Refused(config.Runtime.ID, config.Code, config.Packages); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &box{w: w, config: config, done: make(chan struct{})}
	w.boxes = append(w.boxes, b)
	for range 2 {
		go w.Collect(config, io.MultiReader(strings.NewReader(w.words), b))
	}
	return b, nil
}

// Read blocks until the end of the sandbox: it is the end of what its process prints.
func (b *box) Read([]byte) (int, error)             { <-b.done; return 0, io.EOF }
func (b *box) Door() core.Door                      { return core.Door{ID: b.config.ID, Gate: "gate"} }
func (b *box) Entered() (int, time.Duration, error) { return 1, 0, nil }
func (b *box) Done() <-chan struct{}                { return b.done }
func (b *box) Exit() core.Exit                      { return core.Exit{Known: true, OutOfMemory: b.w.oom} }
func (b *box) Kill()                                { b.once.Do(func() { b.w.End(b.config.ID); close(b.done) }) }
func (b *box) Observe() (o sandbox.Observation, err error) {
	for _, n := range b.w.Nodes() {
		if n.ID == b.config.ID {
			o.Processes = map[int]sandbox.Process{7: {Threads: n.Threads}}
			return o, nil
		}
	}
	return o, os.ErrNotExist
}

// outside returns where a directory of the sandbox is.
func (w *world) outside(id core.NodeID, target string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.boxes {
		for _, m := range b.config.Mounts {
			if b.config.ID == id && m.Target == target {
				return m.Source
			}
		}
	}
	return ""
}

// fleet is the driver, which leaves packages of one file each.
type fleet struct{ *world }

func (f fleet) Driver(_ context.Context, id core.RuntimeID) (Driver, core.Runtime, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return packer{f.Fake, f.world}, f.Description().Runtimes[0], f.down
}

func (f fleet) Snapshot() []core.DriverInfo { return []core.DriverInfo{{Description: f.Description()}} }

type packer struct {
	*drivertest.Fake
	w *world
}

func (p packer) Parts() core.Parts { return core.PartsOf(p, p.Description().Capabilities) }

func (p packer) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	p.w.step(drivertest.Resolve)
	resolution, err := p.Fake.Resolve(ctx, request)
	if request.Lock != nil {
		resolution.Packages = request.Lock.Packages
	}
	return resolution, err
}

func (p packer) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	p.w.step(drivertest.Install)
	receipts, err := p.Fake.Install(ctx, request, progress)
	for i, locked := range request.Packages {
		if err == nil {
			receipts[i].Modules, receipts[i].Archive = []string{locked.Name}, locked.Archives[0]
			dir := filepath.Join(p.w.outside(request.Door.ID, core.OutDir), locked.Base())
			err = errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "x"), []byte(p.w.files(locked)), 0o644))
		}
	}
	return receipts, err
}

func (p packer) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	p.w.step(drivertest.Scan)
	return p.Fake.Scan(ctx, request)
}

// lives is everything that lives.
type lives struct{ w *world }

func (l lives) note(format string, args ...any) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.asked = append(l.w.asked, fmt.Sprintf(format, args...))
}

func (l lives) Preload(_ context.Context, fn *core.Function)                     { l.note("preload %s", fn.Name) }
func (l lives) Unready(*core.Function) string                                    { return l.w.unready }
func (l lives) Apart(fn *core.Function) map[string]string                        { return fn.Apart }
func (l lives) Learn(core.RuntimeID, map[string]time.Duration, map[string]int64) {}
func (l lives) LearnPackages(plan.Asks, plan.Needs)                              {}
func (l lives) Correct(fn *core.Function)                                        { l.note("correct %s %d", fn.Name, fn.Version) }
func (l lives) Drain(name string, keep ...int)                                   { l.note("drain %s but %v", name, keep) }
func (l lives) Removed(name string, last int)                                    { l.note("removed %s %d", name, last) }
func (l lives) Note(fn *core.Function, text string)                              { l.note("note %s: %s", fn.Name, text) }
func (l lives) Expel(digest string)                                              { l.note("expel %s", digest) }
func (l lives) Hide(_ *core.Function, text string) string                        { return text }
func (l lives) Free(string) (int64, error)                                       { return 0, nil }
func (l lives) Mount(string) error                                               { return nil }
func (l lives) Unmount(string)                                                   {}
func (l lives) Busy() bool                                                       { return false }

func (l lives) Uses(digest string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.used[digest]
}

func (l lives) Try(_ context.Context, fn *core.Function, alone bool) (Trial, error) {
	l.note("try %s %d", fn.Name, fn.Version)
	l.w.mu.Lock()
	trial := l.w.trial
	l.w.mu.Unlock()
	return trial(fn, alone)
}

func (l lives) Switched(before []core.Function) (ended []<-chan struct{}) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, fn := range before {
		if end := l.w.ends[fn.Name]; end != nil {
			ended = append(ended, end)
		}
	}
	return ended
}

// was returns what was asked of what lives since it was looked at last, without what begins so.
func (w *world) was(without ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := slices.DeleteFunc(w.asked, func(one string) bool {
		return slices.ContainsFunc(without, func(begin string) bool { return strings.HasPrefix(one, begin) })
	})
	w.asked = nil
	return asked
}

// archive is the code of a function with these files besides its handler; its name is nobody's.
func archive(t testing.TB, files map[string]string) io.Reader {
	t.Helper()
	all := map[string]string{"handler.x": "code"}
	maps.Copy(all, files)
	var text bytes.Buffer
	zipped := gzip.NewWriter(&text)
	out := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(all[name]))})
		if _, e := io.WriteString(out, all[name]); err != nil || e != nil {
			t.Fatal(err, e)
		}
	}
	if err := errors.Join(out.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return &text
}

// locked is a package as a driver resolves it.
func locked(name, version string) core.Locked {
	return core.Locked{Name: name, Version: version, Archives: []string{fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name+version)))}, URL: "pkg:a/" + name + "@" + version}
}

// needs makes the driver resolve every function to these packages.
func (w *world) needs(packages ...core.Locked) {
	w.Resolution = core.Resolution{Packages: packages}
}

// deploy deploys a function whose packages are those of needs, from that text in its manifest.
func (w *world) deploy(t testing.TB, name, needs string, change ...func(*core.DeployRequest)) (core.Function, error) {
	t.Helper()
	files := map[string]string{}
	if needs != "" {
		files["needs.txt"] = needs
	}
	request := core.DeployRequest{Name: name, Archive: archive(t, files)}
	for _, c := range change {
		c(&request)
	}
	return w.Deploy(context.WithoutCancel(t.Context()), request, nil)
}
