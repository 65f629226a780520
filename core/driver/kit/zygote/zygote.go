// Package zygote is a ready core.Driver for any language whose runtime can run a short loop: it starts
// processes through the launcher, has them fork, and has them import, over one control socket for each
// process (PROTOCOL.md, zygote loop). A language brings a command line and the loop.
package zygote

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// Language is what a driver knows of its language.
type Language struct {
	// Describe is core.Driver's.
	Describe func(ctx context.Context) (core.Description, error)
	// Command returns the command that starts the loop of a runtime, one of those that Describe told of last,
	// with paths inside the sandbox. Its environment is core.Everywhere with Env over it, and nothing else.
	Command func(runtime core.RuntimeID) (argv []string, err error)
	Env     []string
	// Watches says that the loop itself reports which variables and files imported code looks at
	// (PROTOCOL.md, C44). Otherwise Library is preloaded and sees these, and the loop need not report any.
	Watches bool
	Log     *slog.Logger
}

// Where a runtime's processes find the driver's files, when core.Runtime.Mounts has what Files returns.
const (
	LibraryPath = filesPath + launch.Library
	filesPath   = "/pipsqueak/"
)

// Files returns the mounts that the processes of a language need besides their interpreter: the library, at
// LibraryPath, and libexec/<language> with the loop, at /pipsqueak/<language>.
func Files(language string) ([]core.Mount, error) {
	return Show(launch.Library, language)
}

// Show returns mounts of files and folders of libexec. Processes see each below /pipsqueak: libexec/lua/loop
// at /pipsqueak/lua/loop. What installers alone need goes into core.Runtime.Tools, so that no function sees
// it.
func Show(names ...string) ([]core.Mount, error) {
	libexec, err := launch.Libexec()
	if err != nil {
		return nil, err
	}
	var mounts []core.Mount
	for _, name := range names {
		mounts = append(mounts, core.Mount{Source: filepath.Join(libexec, name), Target: filesPath + name})
	}
	return mounts, nil
}

// Driver implements core.Driver.
type Driver struct {
	language Language

	mu        sync.Mutex
	described []core.Runtime
	processes map[core.NodeID]*process
}

// New returns a driver for the language.
func New(language Language) *Driver {
	return &Driver{language: language, processes: map[core.NodeID]*process{}}
}

// Describe implements core.Driver.
func (d *Driver) Describe(ctx context.Context) (core.Description, error) {
	description, err := d.language.Describe(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.described = description.Runtimes
	return description, err
}

// has reports whether the language has described the runtime, or nothing yet.
func (d *Driver) has(id core.RuntimeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.described == nil || slices.ContainsFunc(d.described, func(r core.Runtime) bool { return r.ID == id })
}

// environment returns that of a zygote.
func (d *Driver) environment() (env []string) {
	for name, value := range core.Everywhere() {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	if !d.language.Watches {
		env = append(env, "LD_PRELOAD="+LibraryPath)
	}
	return append(env, d.language.Env...)
}

// Preload implements core.Driver.
func (d *Driver) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, door core.Door) error {
	if !d.has(runtime) {
		return core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", runtime)
	}
	if d.knows(id) {
		return conflict(id) // before anybody goes to the gate, which lets one in only
	}
	argv, err := d.language.Command(runtime)
	if err != nil {
		return err
	}
	control, _, err := launch.Start(door, argv, d.environment(), d.language.Log)
	if err != nil {
		return err
	}
	p, err := d.adopt(id, control)
	if err != nil {
		return err
	}
	if err := p.park(ctx); err != nil {
		d.forget(p)
		return err
	}
	return nil
}

// Fork implements core.Driver. A child that is an instance closes its control socket, and so is forgotten.
func (d *Driver) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	zygote, err := d.process(parent)
	if err != nil {
		return err
	}
	if threads := zygote.threads.Load(); threads > 1 {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "fork %s: it has %d threads", parent, threads)
	}
	child, err := d.fork(ctx, id, zygote, door)
	if err == nil {
		err = child.park(ctx)
	}
	if err != nil && child != nil {
		d.forget(child)
	}
	return err
}

// fork returns the child as soon as it is forked, and whenever there is something to forget.
func (d *Driver) fork(ctx context.Context, id core.NodeID, zygote *process, door core.Door) (*process, error) {
	ours, theirs, err := launch.ControlPair()
	if err != nil {
		return nil, err
	}
	// The child has its own of both when the zygote has answered. While ours are open nobody sees that the
	// child has ended.
	defer theirs.Close()
	child, err := d.adopt(id, ours)
	if err != nil {
		return nil, err
	}
	gate, err := launch.Knock(door)
	if err != nil {
		return child, err
	}
	defer gate.Close()
	return child, zygote.fork(ctx, theirs, gate)
}

// Import implements core.Driver.
func (d *Driver) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	p, err := d.process(id)
	if err != nil {
		return core.Report{}, err
	}
	imports := p.load
	if load.Watch && !d.language.Watches {
		imports = p.loadSeen
	}
	report, err := imports(ctx, load)
	if err != nil {
		d.forget(p)
	}
	return report, err
}

func (d *Driver) process(id core.NodeID) (*process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.processes[id]
	if p == nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker,
			"%s is no zygote of this driver, or has ended", id).Again()
	}
	return p, nil
}

func (d *Driver) knows(id core.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.processes[id] != nil
}

func conflict(id core.NodeID) error {
	return core.Errorf(core.KindConflict, core.FaultWorker, "the node %s is there already", id)
}

// adopt takes the driver's end of a control socket, also when it fails, and follows the process at its other
// end.
func (d *Driver) adopt(id core.NodeID, control *os.File) (*process, error) {
	p, err := newProcess(id, control)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.processes[id] != nil {
		p.conn.Close()
		return nil, conflict(id)
	}
	d.processes[id] = p
	go func() {
		if err := p.run(); err != nil {
			d.language.Log.Warn("lose", "node", id, "err", err)
		}
		d.forget(p)
	}()
	return p, nil
}

// forget closes the control socket of a process, which then is nobody's.
func (d *Driver) forget(p *process) {
	p.conn.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.processes[p.id] == p {
		delete(d.processes, p.id)
	}
}
