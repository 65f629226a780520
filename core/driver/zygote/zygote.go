// Package zygote is a ready core.Driver for any language whose runtime can run a short loop: it starts processes through the
// launcher, has them fork, and has them import, over one control socket for each process (PROTOCOL.md, zygote loop). A
// language brings a command line and the loop.
package zygote

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Language is what a driver knows of its language.
type Language struct {
	// Describe is core.Driver's.
	Describe func(ctx context.Context) (core.Description, error)
	// Command returns the command that starts the loop of a runtime, with paths inside the sandbox. Its environment is Env
	// and nothing else.
	Command func(runtime core.RuntimeID) (argv []string, err error)
	Env     []string
	Log     *slog.Logger
}

// Library is the file name of the shared library with ps_enter, for languages that load it at run time. It lies in Libexec.
const Library = "libpipsqueak-enter.so"

// Libexec returns the directory with what drivers start and load: the one that PIPSQUEAK_LIBEXEC names, else libexec beside
// the running program.
func Libexec() (string, error) {
	if dir := os.Getenv("PIPSQUEAK_LIBEXEC"); dir != "" {
		return dir, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), "libexec"), nil
}

// Driver implements core.Driver.
type Driver struct {
	language Language

	mu        sync.Mutex
	processes map[core.NodeID]*process
}

// New returns a driver for the language.
func New(language Language) *Driver {
	return &Driver{language: language, processes: map[core.NodeID]*process{}}
}

// Describe implements core.Driver.
func (d *Driver) Describe(ctx context.Context) (core.Description, error) {
	return d.language.Describe(ctx)
}

// Preload implements core.Driver.
func (d *Driver) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, sandbox core.Sandbox) error {
	argv, err := d.language.Command(runtime)
	if err != nil {
		return err
	}
	control, err := Launch(sandbox, argv, d.language.Env, d.language.Log)
	if err != nil {
		return err
	}
	p, err := d.adopt(id, control)
	if err != nil {
		return err
	}
	return d.park(ctx, p)
}

// Fork implements core.Driver.
func (d *Driver) Fork(ctx context.Context, id, parent core.NodeID, sandbox core.Sandbox) error {
	zygote, err := d.process(parent)
	if err != nil {
		return err
	}
	gate, err := dialGate(sandbox)
	if err != nil {
		return err
	}
	ours, theirs, err := controlPair()
	if err != nil {
		gate.Close()
		return err
	}
	child, err := d.adopt(id, ours)
	if err == nil {
		err = zygote.fork(ctx, theirs, gate)
	}
	// The child has its own by now. Were ours left open, its end would not be seen.
	gate.Close()
	theirs.Close()
	if err != nil {
		if child != nil {
			child.conn.Close()
		}
		return fmt.Errorf("forking %s from %s: %w", id, parent, err)
	}
	return d.park(ctx, child)
}

// park waits until a new process has said that it stands in its sandbox.
func (d *Driver) park(ctx context.Context, p *process) error {
	reply, err := p.receive(ctx)
	if err == nil && !reply.Parked {
		err = core.Errorf(core.KindInternal, core.FaultDriver, "%s said %+v where it should have said parked", p.id, reply)
	}
	if err != nil {
		p.conn.Close()
		return err
	}
	return nil
}

// Import implements core.Driver.
func (d *Driver) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	p, err := d.process(id)
	if err != nil {
		return core.Report{}, err
	}
	return p.load(ctx, load)
}

func (d *Driver) process(id core.NodeID) (*process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.processes[id]
	if p == nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultDriver, "%s is not a process of this driver, or has ended", id)
	}
	return p, nil
}

// adopt takes the driver's end of a control socket and follows the process at its other end.
func (d *Driver) adopt(id core.NodeID, control *os.File) (*process, error) {
	p, err := newProcess(id, control)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.processes[id] = p
	d.mu.Unlock()
	go func() {
		p.run()
		d.mu.Lock()
		if d.processes[id] == p {
			delete(d.processes, id)
		}
		d.mu.Unlock()
	}()
	return p, nil
}
