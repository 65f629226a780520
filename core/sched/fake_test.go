package sched

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// world is a machine without processes. Instances are goroutines that speak the endpoint protocol. They count
// as instances once they have been asked to import a handler.
type world struct {
	mu     sync.Mutex
	boxes  map[core.NodeID]*box
	alive  int // instances
	most   int
	starts int
	forks  time.Duration               // a fork takes
	deaf   bool                        // instances end when the first bytes of an event come
	fails  error                       // of importing a handler
	handle func(b *box, r *request)    // what instances do with an event
	pair   func() (net.Conn, net.Conn) // makes a connection

	voices []string // what instances were told of whose their output is
	failed []string // events whose callers had gone away
	gone   bool     // instances learn that callers have gone
	unfit  string   // why no instance is to have another event
	ended  []string // instances that were told of as retired

	removed  atomic.Int32 // versions up to it are not deployed any more
	protocol int          // of the driver
}

type request struct {
	ID       string `json:"id"`
	Deadline int64  `json:"deadline_ms"`
	Depth    int    `json:"depth"`
	Token    string `json:"token"`
	event    []byte
	b        *box
	gone     chan struct{} // is closed when the caller has gone
}

// answer answers this one of several events.
func (r *request) answer(kind byte, body string) { r.b.write(kind, []byte(r.Token+body)) }

type box struct {
	w         *world
	config    core.SandboxConfig
	near, far net.Conn
	done      chan struct{}
	once      sync.Once
	exit      core.Exit
	children  []*box
	counts    bool   // as an instance
	token     string // of the event under way
}

func newWorld() *world {
	return &world{protocol: 3, boxes: map[core.NodeID]*box{}, forks: 3 * time.Millisecond, handle: func(b *box, r *request) { b.answer('R', r.event) }, pair: net.Pipe}
}

func (w *world) unheard(fn *core.Function, invocation core.Invocation, node core.NodeID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, fmt.Sprint(fn.Name, " ", invocation.ID, " ", core.AsError(err).Kind))
}

func (w *world) retired(fn *core.Function, invocation core.Invocation, node core.NodeID, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, fmt.Sprint(fn.Name, " ", invocation.ID, " ", node, " ", why))
}

// print keeps whole lines.
func (w *world) print(_ *core.Function, line core.LogLine, text []byte, complete bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := bytes.LastIndexByte(text, '\n') + 1
	if complete {
		end = len(text)
	}
	if end > 0 {
		w.voices = append(w.voices, fmt.Sprintf("%s %s %q", line.Request, line.Stream, text[:end]))
	}
	return end
}

// declare makes all instances unfit for another event, with that reason.
func (w *world) declare(unfit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unfit = unfit
}

// on sets the handler of all instances.
func (w *world) on(handle func(*box, *request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handle = handle
}

func (w *world) isDeployed(_ string, version int) bool { return version > int(w.removed.Load()) }

func (w *world) living() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive
}

func (w *world) highest() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

func (w *world) box(id core.NodeID) *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boxes[id]
}

func (w *world) Driver(context.Context, core.RuntimeID) (tree.LiveDriver, error) {
	return tree.LiveDriver{Driver: driver{w}, Runtime: core.Runtime{ID: "lang1"}, Generation: 1, Protocol: w.protocol, Concurrent: true, Gone: w.gone}, nil
}

func (w *world) Create(_ context.Context, config core.SandboxConfig) (tree.Sandbox, error) {
	b := &box{w: w, config: config, done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boxes[config.ID] = b
	if config.Role == core.RoleInstance {
		b.near, b.far = w.pair()
		go b.serve()
	}
	return b, nil
}

func (b *box) Door() core.Door                      { return core.Door{ID: b.config.ID} }
func (b *box) Entered() (int, time.Duration, error) { return 7, 0, nil }
func (b *box) Fork(context.Context) error           { return nil }
func (b *box) Endpoint() net.Conn                   { return b.near }
func (b *box) Done() <-chan struct{}                { return b.done }
func (b *box) Exit() core.Exit                      { return b.exit }
func (b *box) Usage() (core.Usage, error) {
	return core.Usage{Proportional: 8 << 20, Private: 8 << 20}, nil
}
func (b *box) Begin(request string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.voices = append(b.w.voices, "begin "+request)
}
func (b *box) Over() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.voices = append(b.w.voices, "over")
}
func (*box) Allow(int64)         {}
func (*box) Written() core.Pages { return nil }
func (b *box) Unfit() string {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return b.w.unfit
}
func (b *box) Heard() {}
func (b *box) Kill()  { b.die(core.Exit{Signal: 9, Known: true}) }

func (b *box) die(exit core.Exit) {
	b.once.Do(func() {
		b.w.mu.Lock()
		children := b.children
		if b.counts {
			b.w.alive--
		}
		b.w.mu.Unlock()
		for _, child := range children {
			child.die(core.Exit{Signal: 9})
		}
		b.exit = exit
		if b.far != nil {
			b.far.Close()
		}
		close(b.done)
	})
}

type driver struct{ w *world }

func (driver) Describe(context.Context) (core.Description, error) { return core.Description{}, nil }

func (d driver) Preload(_ context.Context, id core.NodeID, _ core.RuntimeID, _ core.Door) error {
	return nil
}

func (d driver) Fork(_ context.Context, id, parent core.NodeID, _ core.Door) error {
	time.Sleep(d.w.forks)
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.boxes[parent].children = append(d.w.boxes[parent].children, d.w.boxes[id])
	return nil
}

func (d driver) Import(context.Context, core.NodeID, core.Load) (core.Report, error) {
	return core.Report{Threads: 1}, nil
}

// load answers the request to import a handler.
func (b *box) load() {
	b.w.mu.Lock()
	fails := b.w.fails
	b.counts = true
	b.w.starts++
	b.w.alive++
	b.w.most = max(b.w.most, b.w.alive)
	b.w.mu.Unlock()
	if fails == nil {
		b.answer('P', []byte(`{"threads":1}`))
		return
	}
	body, _ := json.Marshal(core.AsError(fails))
	b.answer('F', body)
}

// serve is the loop of an instance.
func (b *box) serve() {
	var head [4]byte
	var frame []byte
	callers := map[string]chan struct{}{} // of events, by token
	for {
		if _, err := io.ReadFull(b.far, head[:]); err != nil {
			return
		}
		if b.counts && b.w.deaf {
			b.die(core.Exit{Signal: 11, Known: true})
			return
		}
		n := int(binary.BigEndian.Uint32(head[:]))
		if cap(frame) < n {
			frame = make([]byte, n)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(b.far, frame); err != nil {
			return
		}
		if frame[0] == 'H' {
			b.load()
			continue
		}
		if frame[0] == 'G' {
			close(callers[string(frame[1:])])
			continue
		}
		meta := int(binary.BigEndian.Uint32(frame[1:]))
		r := request{event: bytes.Clone(frame[5+meta:]), b: b, gone: make(chan struct{})}
		b.w.mu.Lock()
		handle := b.w.handle
		b.w.mu.Unlock()
		if err := json.Unmarshal(frame[5:5+meta], &r); err == nil && frame[0] == 'E' {
			b.token = r.Token
			callers[r.Token] = r.gone
		}
		if handle != nil {
			if err := json.Unmarshal(frame[5:5+meta], &r); err != nil || frame[0] != 'E' {
				b.answer('X', []byte(fmt.Sprintf(`{"type":"Bad","message":%q}`, frame)))
				continue
			}
			handle(b, &r)
		} else {
			b.answer('R', r.event)
		}
	}
}

func (b *box) answer(kind byte, body []byte) {
	if kind == 'P' || kind == 'F' {
		b.write(kind, body)
		return
	}
	b.write(kind, append([]byte(b.token), body...))
}

// write writes a frame unchanged.
func (b *box) write(kind byte, body []byte) {
	frame := make([]byte, 5, 5+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)+1))
	frame[4] = kind
	b.far.Write(append(frame, body...))
}

type rig struct {
	*Scheduler
	w    *world
	tree *tree.Tree
}

func newRig(w *world, limit int, budget int64) *rig {
	log := slog.New(slog.DiscardHandler)
	t := tree.New(tree.Config{Budget: budget, Log: log, Deployed: w.isDeployed}, w, w)
	return &rig{New(Config{MaxInstances: limit, Log: log, Deployed: w.isDeployed, Unheard: w.unheard, Retired: w.retired, Printed: w.print}, t), w, t}
}

// counted returns the number of instances that the scheduler counts as alive.
func (r *rig) counted(name string) int {
	p := r.pools[poolKey{name, 1}]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	if !r.Close(context.Background()) {
		t.Errorf("close scheduler")
	}
	if err := r.tree.Close(context.Background()); err != nil {
		t.Errorf("close tree: %v", err)
	}
	for id, b := range r.w.boxes {
		select {
		case <-b.done:
		default:
			t.Errorf("sandbox %s leaked", id)
		}
	}
}

func fn(name string) *core.Function {
	return &core.Function{Name: name, Version: 1, Runtime: "lang1", Handler: "f.f", Limits: core.DefaultLimits()}
}

func (r *rig) run(ctx context.Context, f *core.Function, event string) (core.Result, error) {
	return r.Invoke(ctx, f, core.Invocation{Function: f.Name, ID: "id-1", Event: []byte(event)})
}
