// Package conform reports whether a driver keeps the contract of core.Driver: a Kit examines the program of a
// driver, case by case, over the real wire and in real sandboxes. docs/conformance.md has the handlers that
// it needs in the driver's language.
//
// Mutex order: each of the three is taken alone: that of a trial, of what processes have printed, and of a
// record.
package conform

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// Options says what is examined.
type Options struct {
	Program  string         // of the driver
	Handlers string         // directory with the handlers of the kit in the driver's language (docs/conformance.md)
	Runtime  core.RuntimeID // one of the driver's; empty for its first
	Env      []string       // what the driver gets besides, as driver.Options.Env
}

// Kit examines one driver. It has the machine's sandboxes to itself under a name of its own, and leaves
// nothing behind.
type Kit struct {
	options  Options
	dir      string        // of everything that the kit makes
	host     *sandbox.Host // nil when this machine makes no sandboxes
	noHost   error         // why
	prints   prints        // of processes in sandboxes
	stdout   record        // of the drivers that were opened
	stderr   record
	language string // as the program's name has it

	driver    *driver.Client // shared by most cases
	noDriver  error          // why it cannot be opened; it is not tried again
	rootNode  *node          // shared by most cases
	rootOf    *driver.Client // that made it
	functions map[string]*function
	packages  core.Set // all of the fixtures, shown in each sandbox
	notes     notes
	counter   int

	packagesBuilt bool  // or tried; it is not tried again
	noPackages    error // why they cannot be built
}

// Open prepares to examine a driver, which it does not start yet. The caller closes the Kit.
func Open(options Options) (*Kit, error) {
	program, err := filepath.Abs(options.Program)
	if err != nil {
		return nil, err
	}
	language, named := strings.CutPrefix(filepath.Base(program), driver.Prefix)
	if _, err := os.Stat(program); err != nil || !named {
		return nil, fmt.Errorf("%s is no program of a driver, which is called %s<language>", program, driver.Prefix)
	}
	if info, err := os.Stat(options.Handlers); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory with the kit's handlers in the driver's language (docs/conformance.md); name it with --handlers", options.Handlers)
	}
	options.Program = program
	dir, err := os.MkdirTemp("", "dc")
	if err != nil {
		return nil, err
	}
	k := &Kit{options: options, dir: dir, language: language, functions: map[string]*function{}, prints: prints{of: map[string]*bytes.Buffer{}}}
	if err := errors.Join(k.readNotes(), k.readPackages()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	k.host, k.noHost = sandbox.Open(sandbox.Config{Dir: filepath.Join(dir, "run"), Name: "drivercheck-" + filepath.Base(dir),
		Store: shelf{k}, Output: k.prints.read, Log: slog.New(slog.DiscardHandler)})
	if k.noHost != nil {
		k.host = nil
	}
	return k, nil
}

// Close ends the driver and its processes and removes everything that the kit has made.
func (k *Kit) Close() error {
	var err error
	if k.host != nil {
		err = k.host.Close()
	}
	if k.driver != nil {
		k.driver.Close()
	}
	return errors.Join(err, os.RemoveAll(k.dir))
}

// shelf is the store of the kit's sandboxes: the digest of a function or a package is its name.
type shelf struct{ kit *Kit }

func (s shelf) CodePath(name string) (string, error) {
	return filepath.Join(s.kit.dir, "functions", name), nil
}
func (s shelf) PackagePath(_ core.RuntimeID, name string) (string, error) {
	return filepath.Join(s.kit.dir, "packages", name), nil
}

// start starts a process of the driver's program.
func (k *Kit) start(ctx context.Context) (*driver.Client, error) {
	return driver.Open(ctx, k.options.Program, driver.Options{Dir: filepath.Join(k.dir, "s"), Env: k.options.Env,
		Log: slog.New(slog.DiscardHandler), Stdout: &k.stdout, Stderr: &k.stderr})
}

// shared returns the driver that most cases use: another process when a case has ended the last one.
func (t *trial) shared() *driver.Client {
	if t.driver != nil && t.driver.Err() != nil {
		t.driver.Close()
		t.driver = nil
	}
	if t.driver == nil && t.noDriver == nil {
		t.driver, t.noDriver = t.start(t.ctx)
	}
	t.must(t.noDriver, "the driver does not start")
	return t.driver
}

// own starts a driver for this case alone.
func (t *trial) own() *driver.Client {
	t.shared() // when it does not start at all, that is told once
	d, err := t.start(t.ctx)
	t.must(err, "the driver does not start a second time")
	t.atEnd(d.Close)
	return d
}

func (t *trial) described() core.Description { return t.shared().Description() }

// version returns the version of the protocol that the driver has chosen.
func (t *trial) version() int {
	t.shared()
	fields := strings.Split(t.stdout.String(), "|")
	if len(fields) < 2 {
		t.fatalf("the driver's handshake is %q", t.stdout.String())
	}
	n, err := strconv.Atoi(fields[1])
	t.must(err, "the version in the handshake %q", t.stdout.String())
	return n
}

// runtime returns the runtime that is examined.
func (t *trial) runtime() core.Runtime {
	d := t.described()
	for _, r := range d.Runtimes {
		if r.ID == cmp.Or(t.options.Runtime, r.ID) {
			return r
		}
	}
	t.mu.Lock()
	t.lacking = true
	t.mu.Unlock()
	t.skip("no runtime %s on this machine: %s", t.options.Runtime, strings.Join(d.Problems, "; "))
	return core.Runtime{}
}

// sandboxes returns the maker of sandboxes, or skips the case on a machine without.
func (t *trial) sandboxes() *sandbox.Host {
	if t.noHost != nil {
		t.mu.Lock()
		t.lacking = true
		t.mu.Unlock()
		t.skip("needs sandboxes: %v", t.noHost)
	}
	return t.host
}

// newID returns an ID that no node has had.
func (t *trial) newID() core.NodeID {
	t.counter++
	return core.NodeID(fmt.Sprintf("n%d", t.counter))
}

// box makes a sandbox, which is killed at the end of the case. The changes are made before.
func (t *trial) box(role core.Role, changes ...func(*core.SandboxConfig)) *sandbox.Sandbox {
	s := t.keptBox(role, changes...)
	t.atEnd(func() { end(s) })
	return s
}

func (t *trial) keptBox(role core.Role, changes ...func(*core.SandboxConfig)) *sandbox.Sandbox {
	config := core.SandboxConfig{ID: t.newID(), Role: role, Forks: t.described().Can(core.CapabilityFork), Runtime: t.runtime(), Packages: t.packages, Limits: core.DefaultLimits()}
	if role == core.RoleInstance {
		config.Code, config.Function = t.function(conform).name, conform
	}
	for _, change := range changes {
		change(&config)
	}
	var s *sandbox.Sandbox
	var err error
	t.soon(func() bool { // the last sandbox of the same ID may still be on its way out
		s, err = t.sandboxes().Create(t.ctx, config)
		return err == nil
	})
	t.must(err, "making a sandbox")
	return s
}

// end kills a sandbox and waits for the end of its process.
func end(s *sandbox.Sandbox) {
	s.Kill()
	<-s.Done()
}

// prints keeps what the processes of sandboxes print.
type prints struct {
	mu sync.Mutex
	of map[string]*bytes.Buffer // by node and stream
}

func (p *prints) read(config core.SandboxConfig, stream string, output *sandbox.Output) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := output.Read(buffer)
		p.mu.Lock()
		key := string(config.ID) + " " + stream
		if p.of[key] == nil {
			p.of[key] = new(bytes.Buffer)
		}
		p.of[key].Write(buffer[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// printed returns what a process has printed so far.
func (t *trial) printed(id core.NodeID, stream string) string {
	t.prints.mu.Lock()
	defer t.prints.mu.Unlock()
	if b := t.prints.of[string(id)+" "+stream]; b != nil {
		return b.String()
	}
	return ""
}

// record is a buffer that may be read while it is written to.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// isOneOf reports whether err is one of the driver's errors with a kind among those.
func isOneOf(err error, kinds ...core.Kind) bool {
	var e *core.Error
	return errors.As(err, &e) && slices.Contains(kinds, e.Kind)
}

// mustFail checks that a call failed, with that fault and one of those kinds.
func (t *trial) mustFail(doing string, err error, fault core.Fault, kinds ...core.Kind) {
	_ = t.failure(doing, err, fault, kinds...)
}

// failure is mustFail, and returns the error.
func (t *trial) failure(doing string, err error, fault core.Fault, kinds ...core.Kind) *core.Error {
	var e *core.Error
	switch {
	case err == nil:
		t.fatalf("%s did not fail; it must, as %v of %s", doing, kinds, fault)
	case !errors.As(err, &e) || e.Fault != fault || !isOneOf(err, kinds...):
		t.fatalf("%s failed with %s; it must as %v of %s", doing, inWords(err), kinds, fault)
	}
	return e
}

func inWords(err error) string {
	var e *core.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%q (%s of %s, retryable: %v)", e.Message, e.Kind, e.Fault, e.Retryable)
}
