package zygote

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxPacket bounds one message of the zygote loop.
const maxPacket = 128 << 10

// The messages of the zygote loop, one JSON object a packet. The driver asks, the process answers; a process that has just
// been forked speaks first ("parked").
type request struct {
	Op       string        `json:"op"` // "fork", "import"
	Packages []string      `json:"packages,omitempty"`
	Modules  []string      `json:"modules,omitempty"`
	Handler  *handlerWords `json:"handler,omitempty"`
}

type handlerWords struct {
	Function string            `json:"function"`
	Version  int               `json:"version"`
	Handler  string            `json:"handler"`
	Memory   int64             `json:"memory"`
	Env      map[string]string `json:"env"`
}

type reply struct {
	Parked  bool               `json:"parked"`
	Forked  bool               `json:"forked"`
	Took    float64            `json:"took"`    // s
	Modules map[string]float64 `json:"modules"` // s
	Threads int                `json:"threads"`
	Error   *core.Error        `json:"error"` // the fault is the handler's when its code or a package of its raised, else the driver's
}

// process is one process of the language, as long as its control socket is open.
type process struct {
	id      core.NodeID
	conn    *net.UnixConn
	replies chan reply
	turn    sync.Mutex // one request at a time; held by fork and load only
}

func newProcess(id core.NodeID, control *os.File) (*process, error) {
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return nil, err
	}
	// Room for an answer that nobody waits for any more.
	return &process{id: id, conn: conn.(*net.UnixConn), replies: make(chan reply, 2)}, nil
}

// run reads until the process ends or becomes an instance, which closes its control socket.
func (p *process) run() {
	defer close(p.replies)
	defer p.conn.Close()
	buffer := make([]byte, maxPacket)
	for {
		n, err := p.conn.Read(buffer)
		if err != nil || n == 0 {
			return
		}
		var r reply
		if err := json.Unmarshal(buffer[:n], &r); err != nil {
			r = reply{Error: core.Errorf(core.KindInternal, core.FaultDriver, "unreadable reply of %s: %w", p.id, err)}
		}
		p.replies <- r
	}
}

func (p *process) receive(ctx context.Context) (reply, error) {
	select {
	case r, open := <-p.replies:
		if !open {
			return r, &core.Error{Kind: core.KindUnavailable, Fault: core.FaultDriver, Retryable: true, Message: "the process of " + string(p.id) + " has ended"}
		}
		if r.Error != nil {
			return r, r.Error
		}
		return r, nil
	case <-ctx.Done():
		p.conn.Close() // an answer that comes late must not be taken for the next one's
		return reply{}, core.Errorf(core.KindTimeout, core.FaultDriver, "%s did not answer in time: %w", p.id, ctx.Err())
	}
}

func (p *process) send(r request, descriptors ...int) error {
	packet, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(packet) > maxPacket {
		return core.Errorf(core.KindTooLarge, core.FaultCaller, "what %s is to import takes %d bytes to say, over %d: fewer packages or environment variables", p.id, len(packet), maxPacket)
	}
	if _, _, err := p.conn.WriteMsgUnix(packet, unix.UnixRights(descriptors...), nil); err != nil {
		return &core.Error{Kind: core.KindUnavailable, Fault: core.FaultDriver, Retryable: true, Message: "the process of " + string(p.id) + " has ended", Err: err}
	}
	return nil
}

// fork has the zygote fork a child that has control as its control socket and goes through gate.
func (p *process) fork(ctx context.Context, control, gate *os.File) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := p.send(request{Op: "fork"}, int(control.Fd()), int(gate.Fd())); err != nil {
		return err
	}
	_, err := p.receive(ctx)
	return err
}

func (p *process) load(ctx context.Context, load core.Load) (core.Report, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	r := request{Op: "import", Packages: load.Packages, Modules: load.Modules}
	if load.Handler != nil {
		words := handlerWords(*load.Handler)
		if words.Env == nil {
			words.Env = map[string]string{} // an object in JSON, never null
		}
		r.Handler = &words
	}
	if err := p.send(r); err != nil {
		return core.Report{}, err
	}
	answer, err := p.receive(ctx)
	if err != nil {
		return core.Report{}, err
	}
	report := core.Report{Took: seconds(answer.Took), Threads: answer.Threads, Modules: map[string]time.Duration{}}
	for module, took := range answer.Modules {
		report.Modules[module] = seconds(took)
	}
	return report, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
