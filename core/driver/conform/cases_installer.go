package conform

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// functionCases come before those that need functions.
var functionCases = []Case{
	{Name: "function/is-resolved-and-built", Clauses: []string{"C32"}, Capability: core.CapabilityInstall, run: func(t *trial) {
		for _, name := range []string{conform, raises, exits} {
			if err := t.function(name).unmade; err != nil {
				t.errorf("the function %s: %v", name, err)
			}
		}
	}},
}

var installerCases = []Case{
	{Name: "resolve/without-packages", Clauses: []string{"C22", "C32"}, Capability: core.CapabilityInstall, run: resolveNone},
	{Name: "resolve/what-cannot-be", Clauses: []string{"C23"}, Capability: core.CapabilityInstall, run: resolveWrong},
	{Name: "resolve/unknown-runtime", Clauses: []string{"C24"}, Capability: core.CapabilityInstall, run: resolveUnknown},
	{Name: "resolve/no-gate", Clauses: []string{"C24"}, Capability: core.CapabilityInstall, run: resolveNoGate},
	{Name: "resolve/deadline", Clauses: []string{"C10"}, Capability: core.CapabilityInstall, run: resolveDeadline},
	{Name: "install/nothing", Clauses: []string{"C11", "C32"}, Capability: core.CapabilityInstall, run: installNothing},
	{Name: "install/canceled", Clauses: []string{"C10"}, Capability: core.CapabilityInstall, run: installCanceled},
	{Name: "build/what-cannot-be", Clauses: []string{"C34"}, Capability: core.CapabilityBuild, Since: 2, run: buildWrong},
}

// copied copies a function and returns how a sandbox shows it, to be written to.
func (t *trial) copied(name string) core.Mount {
	dir := filepath.Join(t.dir, "copy-"+string(t.newID()))
	t.must(copyTree(filepath.Join(t.options.Handlers, name), dir), "copying %s", name)
	t.atEnd(func() { os.RemoveAll(dir) })
	return core.Mount{Source: dir, Target: core.CodeDir, Writable: true}
}

func (t *trial) resolve(door core.Door) (core.Resolution, error) {
	return t.shared().Parts().Installer.Resolve(t.within(callTime), core.ResolveRequest{Runtime: t.runtime().ID, Handler: t.function(conform).handler, Door: door})
}

func resolveNone(t *trial) {
	mount := t.copied(conform)
	s := t.box(core.RoleInstaller, func(c *core.SandboxConfig) { c.Mounts = append([]core.Mount{mount}, c.Runtime.Tools...) })
	r, err := t.resolve(s.Door())
	t.must(err, "Resolve of a function without packages")
	if len(r.Packages) != 0 {
		t.errorf("a function without packages resolves to %+v", r)
	}
	if _, _, err := s.Entered(); err != nil {
		t.errorf("Resolve returned, and nobody has been in its sandbox: %v", err)
	}
}

// wrongFunction copies the fixture wrong, and says what its name has to be found in an error.
func (t *trial) wrongFunction() core.Mount {
	if _, err := os.Stat(filepath.Join(t.options.Handlers, wrong)); err != nil {
		t.skip("there is no fixture %q: %v", wrong, err)
	}
	return t.copied(wrong)
}

func resolveWrong(t *trial) {
	if t.shared().Parts().Builder != nil {
		t.skip("the driver builds: what is wrong may be found there (build/what-cannot-be)")
	}
	_, err := t.resolve(t.installer(t.wrongFunction()))
	e := t.failure("Resolve of nonsense", err, core.FaultHandler, core.KindInstall)
	if !strings.Contains(e.Message, "kit-nonsense") {
		t.errorf("the message %q does not name kit-nonsense", e.Message)
	}
}

func resolveUnknown(t *trial) {
	_, err := t.shared().Parts().Installer.Resolve(t.within(callTime), core.ResolveRequest{Runtime: "none-at-all", Handler: "a.b", Door: t.installer(t.copied(conform))})
	t.mustFail("Resolve for a runtime that is not there", err, core.FaultCaller, core.KindUnsupported, core.KindNotFound, core.KindInvalid)
}

func resolveNoGate(t *trial) {
	_, err := t.resolve(core.Door{ID: t.newID(), Gate: "/none/gate"})
	t.mustFail("Resolve at a gate that is not there", err, core.FaultWorker, core.KindUnavailable, core.KindInvalid, core.KindInternal)
}

func resolveDeadline(t *trial) {
	gate, id := t.falseGate(), t.newID()
	began := time.Now()
	_, err := t.shared().Parts().Installer.Resolve(t.within(300*time.Millisecond), core.ResolveRequest{Runtime: t.runtime().ID, Handler: t.function(conform).handler, Door: gate.door(id)})
	if !isOneOf(err, core.KindTimeout) {
		t.errorf("Resolve behind a gate that does not open ends with %s, and not as timeout", inWords(err))
	}
	if took := time.Since(began); took > patience {
		t.errorf("Resolve returned after %v, with a deadline of 300 ms", took)
	}
	t.usable("Resolve that missed its deadline")
}

// install calls Install, and returns what is in /out afterwards.
func (t *trial) install(packages ...core.Locked) ([]os.DirEntry, error) {
	dir := filepath.Join(t.dir, "out-"+string(t.newID()))
	t.must(os.Mkdir(dir, 0o700), "making /out")
	t.must(os.Chmod(dir, 0o777), "making /out")
	t.atEnd(func() { os.RemoveAll(dir) })
	s := t.installer(core.Mount{Source: dir, Target: core.OutDir, Writable: true})
	_, err := t.shared().Parts().Installer.Install(t.within(callTime), core.InstallRequest{Runtime: t.runtime().ID, Packages: packages, Door: s}, nil)
	entries, readErr := os.ReadDir(dir)
	t.must(readErr, "looking into /out")
	return entries, err
}

func installNothing(t *trial) {
	out, err := t.install()
	t.must(err, "Install of nothing")
	for _, entry := range out {
		if !strings.HasPrefix(entry.Name(), ".") {
			t.errorf("Install of nothing leaves %s", entry.Name())
		}
	}
}

// installCanceled gives up an installation that has just begun.
func installCanceled(t *trial) {
	gate, id := t.falseGate(), t.newID()
	_, err := t.shared().Parts().Installer.Install(t.canceled(200*time.Millisecond), core.InstallRequest{Runtime: t.runtime().ID,
		Packages: []core.Locked{{Name: "kit-is-not-there", Version: "1.2.3"}}, Door: gate.door(id)}, nil)
	t.mustFail("Install that was canceled", err, core.FaultCaller, core.KindCanceled)
	t.usable("Install that was canceled")
}

func buildWrong(t *trial) {
	mount := t.wrongFunction()
	if _, err := t.resolve(t.installer(mount)); err != nil {
		t.mustFail("Resolve of what cannot be built", err, core.FaultHandler, core.KindInstall, core.KindBuild)
		return
	}
	_, err := t.shared().Parts().Builder.Build(t.within(callTime), core.BuildRequest{Runtime: t.runtime().ID, Handler: t.function(conform).handler, Door: t.installer(mount)}, nil)
	e := t.failure("Build of nonsense", err, core.FaultHandler, core.KindBuild)
	if !strings.Contains(e.Message, "kit_nonsense") && !strings.Contains(e.Message, "kit-nonsense") {
		t.errorf("the message %q does not name kit_nonsense", e.Message)
	}
}
