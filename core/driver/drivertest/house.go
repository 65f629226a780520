package drivertest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// houseTime bounds each step of a house, so that a test ends whatever the driver does. It is no judgement of
// how long a step may take.
const houseTime = time.Minute

// protocol is the version that drivers of this repository speak.
const protocol = 3

// House has a driver make processes in sandboxes of this machine, in one program and without the wire between
// them: for what the conformance kit cannot know of a language, in the driver's own tests. What a House is
// asked to make and cannot, ends the test.
type House struct {
	core.Driver
	Runtimes []core.Runtime // of the driver
	Runtime  core.Runtime   // of the processes that are made: the first one, until the test sets another
	Code     string         // directory that instances have as their code
	Packages string         // directory that stands for every package: Code, until the test sets another

	host  *sandbox.Host
	forks bool // the driver has CapabilityFork
	next  int
}

// NewHouse returns a house for the driver, with the files as code. It is gone, with all processes, when the
// test has ended. It needs root and what Libexec returns.
func NewHouse(t testing.TB, driver core.Driver, files map[string]string) *House {
	t.Helper()
	coretest.Requires(t, coretest.Root())
	t.Setenv("PIPSQUEAK_LIBEXEC", Libexec(t))
	code := t.TempDir()
	Write(t, code, files)
	h := &House{Driver: driver, Code: code, Packages: code}
	var err error
	h.host, err = sandbox.Open(sandbox.Config{Dir: filepath.Join(t.TempDir(), "run"), Name: fmt.Sprintf("pipsqueak-test-%d", os.Getpid()), Store: rooms{h},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Output: tell})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.host.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := driver.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Runtimes) == 0 {
		t.Fatal(d.Problems)
	}
	h.Runtimes, h.Runtime = d.Runtimes, d.Runtimes[0]
	h.forks = d.Can(core.CapabilityFork)
	return h
}

// rooms is the store of a house's sandboxes.
type rooms struct{ *House }

func (r rooms) CodePath(string) (string, error)                    { return r.Code, nil }
func (r rooms) PackagePath(core.RuntimeID, string) (string, error) { return r.Packages, nil }

// tell shows to who runs the test what processes print.
func tell(config core.SandboxConfig, stream string, output *sandbox.Output) {
	if text, _ := io.ReadAll(output); len(text) > 0 {
		fmt.Fprintf(os.Stderr, "%s %s: %s", config.ID, stream, text)
	}
}

// Libexec returns the directory with what processes need to enter sandboxes: that of the programs in
// PIPSQUEAK_BIN, which is ../../bin when nothing else is said.
func Libexec(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("PIPSQUEAK_BIN"), "../../bin"), "libexec"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pipsqueak-enter")); err != nil {
		t.Fatalf("%v; run make build first, or name the directory of the programs in PIPSQUEAK_BIN", err)
	}
	return dir
}

// Write writes files, by their names below a directory, which every process may read.
func Write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Root returns a root zygote.
func (h *House) Root(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	s := h.box(t, core.RoleZygote, "", nil)
	ctx, cancel := context.WithTimeout(t.Context(), houseTime)
	defer cancel()
	h.entered(t, s, h.Preload(ctx, s.Door().ID, h.Runtime.ID, s.Door()))
	return s
}

// Zygote forks a zygote from another, and has it import modules of the packages, in order. The error is that
// of the import.
func (h *House) Zygote(t testing.TB, parent *sandbox.Sandbox, packages core.Set, modules ...string) (*sandbox.Sandbox, core.Report, error) {
	t.Helper()
	s := h.parked(t, parent, core.RoleZygote, packages)
	ctx, cancel := context.WithTimeout(t.Context(), houseTime)
	defer cancel()
	report, err := h.Import(ctx, s.Door().ID, core.Load{Packages: dirs(packages), Modules: modules})
	return s, report, err
}

// Instance forks an instance from a zygote and has it import handler.handler, as version 1 of the function f
// with A=b as its environment. The changes are made to that before.
func (h *House) Instance(t testing.TB, parent *sandbox.Sandbox, packages core.Set, changes ...func(*core.HandlerLoad)) *sandbox.Sandbox {
	t.Helper()
	s, _ := h.instance(t, parent, packages, changes)
	return s
}

// Sets does the same, and returns the names of the variables that the instance says the function's own code
// has set.
func (h *House) Sets(t testing.TB, parent *sandbox.Sandbox, packages core.Set, changes ...func(*core.HandlerLoad)) []string {
	t.Helper()
	watch := func(load *core.HandlerLoad) { load.Watch = true }
	s, report := h.instance(t, parent, packages, append([]func(*core.HandlerLoad){watch}, changes...))
	s.Kill()
	return report.Sets
}

func (h *House) instance(t testing.TB, parent *sandbox.Sandbox, packages core.Set, changes []func(*core.HandlerLoad)) (*sandbox.Sandbox, core.HandlerReport) {
	t.Helper()
	s := h.parked(t, parent, core.RoleInstance, packages)
	load := core.HandlerLoad{Function: "f", Version: 1, Handler: "handler.handler", Memory: 128 << 20, Env: map[string]string{"A": "b"}, Packages: dirs(packages)}
	for _, change := range changes {
		change(&load)
	}
	ctx, cancel := context.WithTimeout(t.Context(), houseTime)
	defer cancel()
	report, err := endpoint.Import(ctx, endpoint.Open(s.Endpoint(), protocol), load)
	if err != nil {
		t.Fatalf("importing %s: %v", load.Handler, err)
	}
	return s, report
}

// Ask sends an event, with the request ID r1, to an instance. The answer is the kind of its frame with the
// body: a result begins with R, an exception with X.
func Ask(t testing.TB, s *sandbox.Sandbox, event string) string {
	t.Helper()
	deadline := time.Now().Add(houseTime)
	_ = s.Endpoint().SetDeadline(deadline)
	x := endpoint.New(endpoint.Open(s.Endpoint(), protocol))
	defer x.Free()
	if err := x.Send(core.Invocation{ID: "r1", Depth: 2, Event: []byte(event)}, deadline); err != nil {
		t.Fatalf("sending %.200s: %v", event, err)
	}
	kind, body, err := x.Receive()
	if err != nil {
		t.Fatalf("there is no answer to %.200s: %v", event, err)
	}
	return string(kind) + string(body)
}

// Probed is a package that is one module, and what its probe has to tell.
type Probed struct {
	Name     string   // of both; the version is 1
	Source   string   // of the module, which the test puts where its language looks for it
	Requires []string // "good==1"
	// Told is a regular expression for what is to be told of it: the error of its import, or why no zygote
	// may import it. Empty when there is to be neither.
	Told string
}

// Probe has the packages imported as they are after a deploy, and returns by name what was found.
func (h *House) Probe(t testing.TB, packages []Probed) map[string]core.Probe {
	t.Helper()
	var installed []core.Installed
	for _, p := range packages {
		installed = append(installed, core.Installed{Package: core.Package{Name: p.Name, Version: "1", Digest: p.Name},
			Locked: core.Locked{Name: p.Name, Version: "1", Requires: p.Requires}, Receipt: core.Receipt{Modules: []string{p.Name}}})
	}
	machine := probe.Machine{Driver: h, Runtime: h.Runtime, Create: func(ctx context.Context, config core.SandboxConfig) (probe.Sandbox, error) {
		config.ID = h.newID()
		return h.host.Create(ctx, config)
	}}
	found := map[string]core.Probe{}
	if err := probe.Run(t.Context(), machine, installed, func(p core.Package, probe core.Probe) { found[p.Name] = probe }); err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		got, probed := found[p.Name]
		told := got.Unforkable + got.Errors[p.Name]
		if !probed || (told == "") != (p.Told == "") || !regexp.MustCompile(p.Told).MatchString(told) {
			t.Errorf("%s: %+v, want %q", p.Name, got, p.Told)
		}
	}
	return found
}

// BenchmarkFork measures the steps from a root zygote to an answer, of the handler handler.handler.
func (h *House) BenchmarkFork(b *testing.B) {
	root := h.Root(b)
	steps := []string{"fork+enter", "enter", "import", "event"}
	took := map[string][]float64{}
	for b.Loop() {
		began := time.Now()
		step := func(name string) {
			took[name] = append(took[name], float64(time.Since(began).Microseconds()))
			began = time.Now()
		}
		s := h.parked(b, root, core.RoleInstance, nil)
		step("fork+enter")
		_, enter, _ := s.Entered()
		took["enter"] = append(took["enter"], float64(enter.Microseconds()))
		load := core.HandlerLoad{Function: "f", Version: 1, Handler: "handler.handler", Memory: 128 << 20}
		if _, err := endpoint.Import(b.Context(), endpoint.Open(s.Endpoint(), protocol), load); err != nil {
			b.Fatal(err)
		}
		step("import")
		Ask(b, s, `{"x":1}`)
		step("event")
		s.Endpoint().Close()
		s.Kill()
		<-s.Done()
	}
	for _, name := range steps {
		slices.Sort(took[name])
		b.ReportMetric(took[name][len(took[name])/2], name+"-µs")
	}
}

func (h *House) newID() core.NodeID {
	h.next++
	return core.NodeID(fmt.Sprintf("n%d", h.next))
}

// box makes a sandbox.
func (h *House) box(t testing.TB, role core.Role, parent core.NodeID, packages core.Set) *sandbox.Sandbox {
	t.Helper()
	config := core.SandboxConfig{ID: h.newID(), Role: role, Parent: parent, Forks: h.forks, Runtime: h.Runtime, Packages: packages, Limits: core.DefaultLimits()}
	if role == core.RoleInstance {
		config.Code = "code"
	}
	s, err := h.host.Create(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parked forks a process, as core does.
func (h *House) parked(t testing.TB, parent *sandbox.Sandbox, role core.Role, packages core.Set) *sandbox.Sandbox {
	t.Helper()
	s := h.box(t, role, parent.Door().ID, packages)
	ctx, cancel := context.WithTimeout(t.Context(), houseTime)
	defer cancel()
	if role == core.RoleInstance && h.forks {
		h.entered(t, s, s.Fork(ctx))
	} else {
		h.entered(t, s, h.Fork(ctx, s.Door().ID, parent.Door().ID, s.Door()))
	}
	return s
}

// entered ends the test when a call has not brought a process into the sandbox.
func (h *House) entered(t testing.TB, s *sandbox.Sandbox, err error) {
	t.Helper()
	if _, _, entered := s.Entered(); entered != nil || err != nil {
		t.Fatal(err, entered)
	}
}

// dirs are where packages are inside a sandbox.
func dirs(packages core.Set) (all []string) {
	for _, p := range packages {
		all = append(all, core.PackageDir(p))
	}
	return all
}
