package zygote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// The messages of the zygote loop, one JSON object a packet. The driver asks, the process answers; a process
// that has just been forked speaks first ("parked").
type request struct {
	Op       string   `json:"op"` // "fork", "import", "look", "looked"
	Packages []string `json:"packages,omitempty"`
	Modules  []string `json:"modules,omitempty"`
	Watch    bool     `json:"watch,omitempty"`
	Draw     []string `json:"draw,omitempty"`
}

type reply struct {
	Parked  bool               `json:"parked"`
	Forked  bool               `json:"forked"`
	Sees    bool               `json:"sees"`    // with parked: it can be asked to look; else the answer to that
	Took    float64            `json:"took"`    // s
	Modules map[string]float64 `json:"modules"` // s
	Threads int                `json:"threads"`
	Reads   []string           `json:"reads"`
	Asks    []string           `json:"asks"`
	Drawn   map[string]string  `json:"drawn"`
	Error   *core.Error        `json:"error"` // the fault is the handler's when a package raised, else the driver's
}

// errEnded says that a process ended, or broke the protocol, before it answered.
var errEnded = errors.New("the process has ended")

// process is one process of the language, as long as its control socket is open.
type process struct {
	id    core.NodeID
	conn  *net.UnixConn
	asked chan chan reply // holds where the one answer goes that the process owes; whoever puts his own in has the turn
	first chan reply      // gets what the process says unasked, once: that it is parked
	ended chan struct{}   // closed when nothing more comes; what came before is in its channel by then

	sees    atomic.Bool
	threads atomic.Int64 // as of the last report
}

// newProcess takes the driver's end of a control socket, also when it fails.
func newProcess(id core.NodeID, control *os.File) (*process, error) {
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return nil, err
	}
	p := &process{id: id, conn: conn.(*net.UnixConn), asked: make(chan chan reply, 1), first: make(chan reply, 1), ended: make(chan struct{})}
	p.asked <- p.first
	return p, nil
}

// run hands out what the process says until it ends, is an instance or breaks the protocol. It never waits
// for who asked: an answer that comes too late for him is his all the same, and not the next one's.
func (p *process) run() error {
	defer close(p.ended)
	defer p.conn.Close()
	buffer := make([]byte, launch.MaxPacket)
	for {
		n, _, flags, _, err := p.conn.ReadMsgUnix(buffer, nil)
		if err != nil || n == 0 {
			return nil
		}
		var r reply
		if flags&unix.MSG_TRUNC != 0 {
			err = fmt.Errorf("a packet of over %d bytes", launch.MaxPacket)
		} else {
			err = json.Unmarshal(buffer[:n], &r)
		}
		if err == nil && r.Error != nil && (r.Error.Kind == "" || r.Error.Fault == "") {
			err = fmt.Errorf("an error without a kind or a fault: %.200q", buffer[:n])
		}
		if err != nil {
			err = core.Errorf(core.KindInternal, core.FaultDriver, "the process of %s cannot be understood: %w", p.id, err)
			r = reply{Error: core.AsError(err)}
		}
		select {
		case answer := <-p.asked:
			answer <- r
		default:
			return fmt.Errorf("the process of %s spoke out of turn: %.200q", p.id, buffer[:n])
		}
		if err != nil {
			return err
		}
	}
}

// await waits for an answer, and returns errEnded when none comes any more.
func (p *process) await(ctx context.Context, answer <-chan reply) (reply, error) {
	var r reply
	select {
	case r = <-answer:
	case <-ctx.Done():
		return r, p.late(ctx)
	case <-p.ended:
		select {
		case r = <-answer: // its last word
		default:
			return r, errEnded
		}
	}
	if r.Error != nil {
		return r, r.Error
	}
	return r, nil
}

// ask waits for its turn, asks and returns the answer.
func (p *process) ask(ctx context.Context, r request, descriptors ...int) (reply, error) {
	packet, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	if len(packet) > launch.MaxPacket {
		return reply{}, core.Errorf(core.KindTooLarge, core.FaultCaller, "what %s is to import takes %d bytes to say, over %d: fewer packages", p.id, len(packet), launch.MaxPacket)
	}
	answer := make(chan reply, 1)
	select {
	case p.asked <- answer:
	case <-p.ended:
		return reply{}, p.gone()
	case <-ctx.Done():
		return reply{}, p.late(ctx)
	}
	if _, _, err := p.conn.WriteMsgUnix(packet, unix.UnixRights(descriptors...), nil); err != nil {
		p.conn.Close() // nobody else gets a turn
		return reply{}, p.gone()
	}
	return p.await(ctx, answer)
}

// gone is the answer about a process that core still knows and that has ended.
func (p *process) gone() error {
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the process of %s has ended", p.id).Again()
}

func (p *process) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return core.Errorf(core.KindCanceled, core.FaultCaller, "nobody waits for %s any more: %w", p.id, ctx.Err())
	}
	return core.Errorf(core.KindTimeout, core.FaultDriver, "%s did not answer in time: %w", p.id, ctx.Err())
}

// park waits until a new process has said that it stands in its sandbox.
func (p *process) park(ctx context.Context) error {
	r, err := p.await(ctx, p.first)
	if errors.Is(err, errEnded) {
		return &core.Error{Kind: core.KindUnavailable, Fault: core.FaultDriver, Retryable: true, Message: "the process of " + string(p.id) + " ended before it stood in its sandbox", Err: err}
	}
	if err == nil && !r.Parked {
		return p.misunderstood(r, "parked")
	}
	p.sees.Store(r.Sees)
	p.threads.Store(1)
	return err
}

// fork has the zygote fork a child that has control as its control socket and goes through gate.
func (p *process) fork(ctx context.Context, control, gate *os.File) error {
	r, err := p.ask(ctx, request{Op: "fork"}, int(control.Fd()), int(gate.Fd()))
	if errors.Is(err, errEnded) {
		return p.gone()
	}
	if err == nil && !r.Forked {
		return p.misunderstood(r, "forked")
	}
	return err
}

func (p *process) load(ctx context.Context, load core.Load) (core.Report, error) {
	answer, err := p.askImporter(ctx, request{Op: "import", Packages: load.Packages, Modules: load.Modules, Watch: load.Watch, Draw: load.Draw})
	if err == nil && answer.Threads < 1 {
		err = p.misunderstood(answer, "a report")
	}
	if err != nil {
		return core.Report{}, err
	}
	p.threads.Store(int64(answer.Threads))
	report := core.Report{Took: seconds(answer.Took), Threads: answer.Threads, Modules: map[string]time.Duration{}, Reads: answer.Reads, Asks: answer.Asks, Drawn: answer.Drawn}
	for module, took := range answer.Modules {
		report.Modules[module] = seconds(took)
	}
	return report, nil
}

// askImporter is ask, of a process whose end is the fault of what it imports.
func (p *process) askImporter(ctx context.Context, r request) (reply, error) {
	answer, err := p.ask(ctx, r)
	if errors.Is(err, errEnded) {
		err = core.Errorf(core.KindExit, core.FaultHandler, "the process of %s ended while it imported: %w%s", p.id, err, core.SeeLogs)
	}
	return answer, err
}

// askSeen begins or ends that the library looks at what imported code does.
func (p *process) askSeen(ctx context.Context, op string) (reply, error) {
	answer, err := p.askImporter(ctx, request{Op: op})
	if err == nil && !answer.Sees {
		err = p.misunderstood(answer, "what it sees")
	}
	return answer, err
}

// loadSeen is load, and adds to the report the variables and files that the library sees the imported code
// look at: all, if it sees none.
func (p *process) loadSeen(ctx context.Context, load core.Load) (report core.Report, err error) {
	seen, sees := reply{Reads: []string{core.AllVariables}, Asks: []string{core.InDirectory}}, p.sees.Load()
	if sees {
		if _, err = p.askSeen(ctx, "look"); err != nil {
			return report, err
		}
	}
	report, err = p.load(ctx, load)
	if err == nil && sees {
		seen, err = p.askSeen(ctx, "looked")
	}
	if err != nil {
		return core.Report{}, err
	}
	report.Reads, report.Asks = together(report.Reads, seen.Reads), together(report.Asks, seen.Asks)
	return report, nil
}

// together returns the names of two lists in order, each once.
func together(a, b []string) []string {
	names := slices.Concat(a, b)
	slices.Sort(names)
	return slices.Compact(names)
}

// misunderstood ends the talk with a process that says something else than it should: what it says next is no
// better.
func (p *process) misunderstood(r reply, want string) error {
	p.conn.Close()
	return core.Errorf(core.KindInternal, core.FaultDriver, "the process of %s said %+v where it should have said %s", p.id, r, want)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
