package tree

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// world is a machine without processes: it is all drivers and sandboxes, and it checks the invariants of the
// tree.
type world struct {
	t  testing.TB
	mu sync.Mutex

	generation int
	down       error // of the driver
	pids       int
	boxes      map[core.NodeID]*box
	forks      bool // zygotes fork at core's own request
	created    int
	ended      int
	order      []core.NodeID // of ends
	imports    []string      // of zygotes
	costs      map[string]time.Duration
	threads    map[string]int                  // that importing a module leaves
	raises     map[string]error                // by module or handler
	hook       func(verb string, b *box) error // before a driver call has its effect
	usage      core.Usage
	written    core.Pages    // by an instance
	creating   time.Duration // a sandbox
	measuring  time.Duration // its memory
	measured   int
	removed    int                    // versions up to it are not deployed any more
	deployed   func(version int) bool // besides; nil for all
	asked      []string               // of instances: handlers, with the modules ahead of them
	loads      []string               // that instances say that they have imported besides
	sets       []string               // variables that the code of instances sets, as they say when they are watched
}

type box struct {
	w        *world
	config   core.SandboxConfig
	done     chan struct{}
	parent   *box
	children map[*box]bool
	pid      int
	entering error // at the gate
	exit     core.Exit
	modules  []string
	allowed  int64
	violent  bool // the test killed it, or something above it

	near, far net.Conn // its endpoint, when it is an instance
}

func newWorld(t testing.TB) *world {
	return &world{t: t, generation: 1, boxes: map[core.NodeID]*box{}, costs: map[string]time.Duration{}, threads: map[string]int{}, raises: map[string]error{}, usage: core.Usage{Proportional: 5 << 20, Private: 4 << 20}}
}

func (w *world) tree(budget int64) *Tree {
	return New(Config{Budget: budget, Log: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError})), Deployed: w.isDeployed}, w, w)
}

// Write gets the errors that the tree logs. Each is a fault of the tree's own.
func (w *world) Write(line []byte) (int, error) {
	w.t.Errorf("the log has %s", line)
	return len(line), nil
}

func (w *world) box(id core.NodeID) *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boxes[id]
}

func (w *world) isDeployed(_ string, version int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return version > w.removed && (w.deployed == nil || w.deployed(version))
}

func (w *world) Driver(_ context.Context, rt core.RuntimeID) (LiveDriver, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return LiveDriver{Driver: driver{w, w.generation}, Runtime: core.Runtime{ID: rt}, Generation: w.generation, Protocol: 3, Forks: w.forks}, w.down
}

func (w *world) Create(_ context.Context, config core.SandboxConfig) (Sandbox, error) {
	time.Sleep(w.creating)
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &box{w: w, config: config, done: make(chan struct{}), children: map[*box]bool{}}
	w.boxes[config.ID] = b
	w.created++
	if config.Role == core.RoleInstance {
		b.near, b.far = net.Pipe()
		go b.serve()
	}
	return b, nil
}

// serve is the process of an instance at its endpoint: it imports its handler.
func (b *box) serve() {
	var head [5]byte
	if _, err := io.ReadFull(b.far, head[:]); err != nil {
		return
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	var load core.HandlerLoad
	if _, err := io.ReadFull(b.far, body); err != nil {
		return
	}
	if err := json.Unmarshal(body, &load); err != nil || head[4] != 'H' {
		b.w.t.Errorf("%s was sent %q", b.config.ID, body)
	}
	modules, err := b.load(load.Modules)
	b.w.mu.Lock()
	b.w.asked = append(b.w.asked, fmt.Sprint(load.Handler, ": ", load.Modules))
	if raised := b.w.raises[load.Handler]; err == nil {
		err = raised
	}
	b.w.mu.Unlock()
	kind := byte('P')
	if err == nil {
		seconds := map[string]float64{}
		for name, took := range modules {
			seconds[name] = took.Seconds()
		}
		report := map[string]any{"modules": seconds, "threads": 1, "loaded": b.w.loads}
		if load.Watch {
			report["sets"] = b.w.sets
		}
		body, _ = json.Marshal(report)
	} else {
		kind = 'F'
		body, _ = json.Marshal(core.AsError(err))
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+1)), kind)
	b.far.Write(append(frame, body...))
}

// load imports modules into the process.
func (b *box) load(modules []string) (map[string]time.Duration, error) {
	w := b.w
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		if err := hook("import", b); err != nil {
			return nil, err
		}
	}
	costs := map[string]time.Duration{}
	for _, m := range modules {
		w.mu.Lock()
		cost, err := w.costs[m], w.raises[m]
		w.mu.Unlock()
		time.Sleep(cost)
		costs[m] = cost
		if err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b.modules = append(b.modules, modules...)
	return costs, nil
}

func (b *box) Door() core.Door { return core.Door{ID: b.config.ID} }
func (b *box) Fork(context.Context) error {
	if !b.w.forks || b.config.Role != core.RoleInstance {
		b.w.t.Errorf("core asks for the fork %s itself", b.config.ID)
	}
	time.Sleep(2 * time.Millisecond)
	return driver{b.w, b.w.generation}.enter("fork", b.config.ID, b.config.Parent)
}
func (b *box) Entered() (int, time.Duration, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.entering != nil {
		return 0, 0, b.entering
	}
	if b.pid == 0 {
		return 0, 0, io.EOF
	}
	return b.pid, time.Millisecond, nil
}
func (b *box) Endpoint() net.Conn    { return b.near }
func (b *box) Done() <-chan struct{} { return b.done }
func (b *box) Exit() core.Exit       { return b.exit }
func (b *box) Unfit() string         { return "" }
func (b *box) Written() core.Pages {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return b.w.written
}
func (b *box) Allow(bytes int64) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.allowed = max(b.allowed, bytes)
}
func (b *box) Usage() (core.Usage, error) {
	b.w.mu.Lock()
	measuring := b.w.measuring
	b.w.mu.Unlock()
	time.Sleep(measuring)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.measured++
	return b.w.usage, nil
}

func (b *box) Kill() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for child := range b.children {
		if !b.violent && !child.gone() {
			b.w.t.Errorf("%s was killed before its child %s", b.config.ID, child.config.ID)
		}
	}
	b.die(core.Exit{Signal: 9, Known: true})
}

func (b *box) gone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// die ends b. As the kernel does, it first ends everything in its pid namespace.
func (b *box) die(exit core.Exit) {
	if b.gone() {
		return
	}
	for child := range b.children {
		child.violent = child.violent || b.violent
		child.die(core.Exit{Signal: 9})
	}
	b.exit = exit
	if b.far != nil {
		b.far.Close()
	}
	b.w.ended++
	b.w.order = append(b.w.order, b.config.ID)
	close(b.done)
}

// crash ends the process of a node from outside.
func (w *world) crash(id core.NodeID, exit core.Exit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boxes[id].violent = true
	w.boxes[id].die(exit)
}

// corrupt allows the tree to kill a zygote with its children.
func (w *world) corrupt(id core.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boxes[id].violent = true
}

type driver struct {
	w          *world
	generation int
}

func (d driver) Describe(context.Context) (core.Description, error) { return core.Description{}, nil }

func (d driver) enter(verb string, id, parent core.NodeID) error {
	w := d.w
	w.mu.Lock()
	b, hook := w.boxes[id], w.hook
	w.mu.Unlock()
	if hook != nil {
		if err := hook(verb, b); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if parent != "" {
		p := w.boxes[parent]
		if p.gone() {
			return core.Errorf(core.KindUnavailable, core.FaultDriver, "no zygote %s", parent)
		}
		if !p.config.Packages.SubsetOf(b.config.Packages) {
			w.t.Errorf("%s has packages that its child %s must not have", parent, id)
		}
		if p.config.Role != core.RoleZygote {
			w.t.Errorf("the instance %s is forked", parent)
		}
		b.parent = p
		p.children[b] = true
		b.modules = slices.Clone(p.modules)
	}
	w.pids++
	b.pid = w.pids
	return nil
}

func (d driver) Preload(_ context.Context, id core.NodeID, _ core.RuntimeID, _ core.Door) error {
	time.Sleep(100 * time.Millisecond)
	return d.enter("preload", id, "")
}

func (d driver) Fork(_ context.Context, id, parent core.NodeID, _ core.Door) error {
	if d.w.forks && d.w.box(id).config.Role == core.RoleInstance {
		d.w.t.Errorf("the driver is asked for the instance %s, which core can have forked itself", id)
	}
	time.Sleep(3 * time.Millisecond)
	return d.enter("fork", id, parent)
}

func (d driver) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	w := d.w
	w.mu.Lock()
	b := w.boxes[id]
	w.mu.Unlock()
	if b.config.Role != core.RoleZygote {
		w.t.Errorf("the driver is asked to import in the instance %s", id)
	}
	modules, err := b.load(load.Modules)
	if err != nil {
		return core.Report{}, err
	}
	report := core.Report{Modules: modules, Threads: 1}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range load.Modules {
		report.Threads += w.threads[m]
	}
	w.imports = append(w.imports, fmt.Sprint(load.Modules))
	if ctx.Err() != nil {
		return core.Report{}, ctx.Err()
	}
	return report, nil
}

// close ends the tree, and checks that every sandbox ended.
func (w *world) close(tr *Tree) {
	w.t.Helper()
	if err := tr.Close(context.Background()); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.created != w.ended {
		for id := range maps.Keys(w.boxes) {
			if !w.boxes[id].gone() {
				w.t.Errorf("sandbox %s leaked", id)
			}
		}
	}
	if len(tr.nodes) != 0 || tr.bytes != 0 {
		w.t.Errorf("%d nodes and %d bytes are left", len(tr.nodes), tr.bytes)
	}
}

func pkgs(names ...string) core.Set {
	var all []core.Package
	for _, n := range names {
		all = append(all, core.Package{Name: n, Version: "1"})
	}
	return core.NewSet(all...)
}

func fn(name string, modules ...string) *core.Function {
	return &core.Function{Name: name, Version: 1, Runtime: "lang1", Handler: name + ".handler", Packages: pkgs(modules...), Imports: modules, Limits: core.DefaultLimits()}
}

func (*box) Begin(string) {}
func (*box) Over()        {}
func (*box) Heard()       {}
