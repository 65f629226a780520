package conform

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var importCases = []Case{
	{Name: "import/reports-each-module", Clauses: []string{"C18", "Z8"}, run: importReports},
	{Name: "import/in-order", Clauses: []string{"C18"}, run: importOrder},
	{Name: "import/nothing", Clauses: []string{"C11"}, run: importNothing},
	{Name: "import/twice", Clauses: []string{"C18"}, run: importTwice},
	{Name: "import/is-inherited", Clauses: []string{"C15"}, run: importInherited},
	{Name: "import/of-one-is-not-of-its-sibling", Clauses: []string{"C15"}, run: importApart},
	{Name: "import/first-package-wins", Clauses: []string{"Z8"}, run: importWhich},
	{Name: "import/many-packages", Clauses: []string{"Z8", "C18"}, run: importMany},
	{Name: "import/threads-are-counted", Clauses: []string{"Z8"}, run: importThreads},
	{Name: "import/raises", Clauses: []string{"C20", "Z9"}, run: importRaises},
	{Name: "import/raises-with-a-cause", Clauses: []string{"C20", "E25"}, Since: 3, run: importCause},
	{Name: "import/asks-for-the-end", Clauses: []string{"C20", "Z9"}, run: importExits},
	{Name: "import/ends-the-process", Clauses: []string{"C20", "Z12"}, run: importDies},
	{Name: "import/unknown-module", Clauses: []string{"C20", "C24"}, run: importUnknown},
	{Name: "import/prints", Clauses: []string{"G10"}, run: importPrints},
	{Name: "import/failed-is-never-used-again", Clauses: []string{"C21", "Z10"}, run: importFailed},
	{Name: "import/deadline", Clauses: []string{"C10"}, run: func(t *trial) {
		t.givenUp(core.FaultDriver, core.KindTimeout, false)
	}},
	{Name: "import/canceled", Clauses: []string{"C10", "Z14"}, run: func(t *trial) {
		t.givenUp(core.FaultCaller, core.KindCanceled, true)
	}},
	{Name: "import/at-once", Clauses: []string{"C9"}, run: importAtOnce},
	{Name: "import/by-an-instance", Clauses: []string{"C19"}, run: importInstance},
	{Name: "import/by-the-unknown", Clauses: []string{"C17"}, run: importNobody},
}

func (t *trial) importing(z *node, modules ...string) (core.Report, error) {
	return t.shared().Import(t.within(callTime), z.id, t.load(modules...))
}

func importReports(t *trial) {
	z := t.zygote()
	r, err := t.importing(z, modA, modB)
	t.must(err, "Import")
	for _, m := range []string{modA, modB} {
		if took, has := r.Modules[t.module(m)]; !has || took < 0 || took > r.Took {
			t.errorf("the report has %v for %s, and %v in all", took, m, r.Took)
		}
	}
	if took := r.Modules[t.module(modB)]; took < 40*time.Millisecond {
		t.errorf("%s takes 50 ms, and the report says %v", modB, took)
	}
	if len(r.Modules) != 2 || r.Threads != 1 {
		t.errorf("the report has %d modules and %d threads", len(r.Modules), r.Threads)
	}
}

func importOrder(t *trial) {
	for _, order := range [][]string{{modA, modB}, {modB, modA}} {
		z := t.zygote(order...)
		t.hasPrinted(z, "stdout", strings.Join(order, "\n")+"\n")
	}
}

func importNothing(t *trial) {
	r, err := t.shared().Import(t.within(callTime), t.zygote().id, core.Load{})
	t.must(err, "Import of nothing")
	if len(r.Modules) != 0 || r.Threads != 1 {
		t.errorf("the report of an import of nothing is %+v", r)
	}
}

func importTwice(t *trial) {
	z := t.zygote(modA)
	r, err := t.importing(z, modA, modA)
	t.must(err, "Import of what is imported")
	if _, has := r.Modules[t.module(modA)]; !has {
		t.errorf("the report of the second import does not have the module: %+v", r)
	}
	t.hasPrinted(z, "stdout", modA+"\n")
}

func importInherited(t *trial) {
	below := t.fork(t.shared(), t.zygote(modA), core.RoleZygote)
	_, err := t.importing(below, modA, modB)
	t.must(err, "Import")
	t.hasPrinted(below, "stdout", modB+"\n")
}

func importApart(t *trial) {
	a, b := t.zygote(modA), t.zygote()
	_, err := t.importing(b, modA)
	t.must(err, "Import")
	t.hasPrinted(a, "stdout", modA+"\n")
	t.hasPrinted(b, "stdout", modA+"\n")
	t.lives(t.rootNode, "imports of its children")
}

func importWhich(t *trial) {
	dirs := t.packageDirs()
	for i := range dirs {
		z := t.zygote()
		load := t.load(modWhich)
		load.Packages = []string{dirs[i], dirs[1-i]}
		_, err := t.shared().Import(t.within(callTime), z.id, load)
		t.must(err, "Import of %s", modWhich)
		t.hasPrinted(z, "stdout", modWhich+" "+t.packages[i].Version+"\n")
	}
}

func importMany(t *trial) {
	load := t.load(modB)
	for range 400 {
		load.Packages = append([]string{"/packages/" + string(t.newID()) + "-1.0.0"}, load.Packages...)
	}
	z := t.zygote()
	_, err := t.shared().Import(t.within(callTime), z.id, load)
	t.must(err, "Import with 400 packages")
	i := t.fork(t.shared(), z, core.RoleInstance)
	t.imports(i, t.handlerLoad())
	t.alive(i, "an import with 400 packages")
}

func importThreads(t *trial) {
	z := t.zygote()
	r, err := t.importing(z, modThreads)
	t.must(err, "Import of %s", modThreads)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", z.pid))
	t.must(err, "counting the threads of a zygote")
	if r.Threads != len(threads) {
		t.fatalf("the zygote has %d threads after the import of %s, and the report has %d", len(threads), modThreads, r.Threads)
	}
	if r.Threads < 2 {
		t.skip("the language leaves no thread behind: the report has %d", r.Threads)
	}
}

// raised checks an error about an exception while something was imported. A compiled module cannot be loaded
// for want of a symbol, which has no blanks in its name.
func (t *trial) raised(doing string, err error) {
	e := t.failure(doing, err, core.FaultHandler, core.KindException)
	x := e.Exception
	if x == nil {
		t.fatalf("%s: the error %s has no exception", doing, inWords(err))
	}
	if x.Type == "" || !strings.Contains(strings.ReplaceAll(x.Message, "_", " "), "kit says no") {
		t.errorf("%s: the exception is %q: %q; it has the message %q", doing, x.Type, x.Message, "kit says no")
	}
	t.cleanStack(x.Stack)
}

// cleanStack checks that a stack has the user's frames and none of the runtime's, whose files the Description
// mounts.
func (t *trial) cleanStack(stack []string) {
	if len(stack) == 0 && t.notes.Stackless == "" {
		t.errorf("the stack is empty")
	}
	for _, frame := range stack {
		for _, m := range t.runtime().Mounts {
			if strings.Contains(frame, m.Target+"/") || strings.HasSuffix(frame, m.Target) {
				t.errorf("the stack has a frame of the runtime: %s", frame)
			}
		}
	}
}

func importRaises(t *trial) {
	_, err := t.importing(t.zygote(), modRaises)
	t.raised("Import of what raises", err)
	t.usable("Import of what raises")
}

// importCause: what is behind an exception comes over the control wire too. Code that cannot be loaded for
// want of a symbol has raised nothing.
func importCause(t *trial) {
	_, err := t.importing(t.zygote(), modRaises)
	x := t.failure("Import of what raises", err, core.FaultHandler, core.KindException).Exception
	if x == nil || t.notes.Causeless != "" || !strings.Contains(x.Message, "kit says no") {
		return
	}
	if len(x.Causes) != 1 || x.Causes[0].Message != "the kit has a reason" || x.Causes[0].Relation == "" {
		t.errorf("an exception that was raised because of another one, %q, is reported with %+v", "the kit has a reason", x.Causes)
		return
	}
	t.cleanStack(x.Causes[0].Stack)
}

func importExits(t *trial) {
	_, err := t.importing(t.zygote(), modExits)
	t.mustFail("Import of what asks for the end of the process", err, core.FaultHandler, core.KindException, core.KindExit)
	t.usable("Import of what asks for the end of the process")
}

func importDies(t *trial) {
	z := t.zygote()
	_, err := t.importing(z, modDies)
	t.mustFail("Import of what ends the process", err, core.FaultHandler, core.KindExit)
	t.ends(z, "an import that ends the process")
	t.usable("Import of what ends the process")
}

func importUnknown(t *trial) {
	_, err := t.importing(t.zygote(), missing)
	e := t.failure("Import of a module that is not there", err, core.FaultHandler, core.KindException)
	if !strings.Contains(e.Message, missing) {
		t.errorf("the message %q does not name the module", e.Message)
	}
}

func importPrints(t *trial) {
	z := t.zygote(modB)
	t.hasPrinted(z, "stdout", modB+"\n")
}

// importFailed: whatever the driver says of a node whose import has failed, it says it soon, and it is no
// child.
func importFailed(t *trial) {
	d, z := t.shared(), t.zygote()
	_, err := t.importing(z, modRaises)
	t.raised("Import of what raises", err)
	s := t.box(core.RoleInstance, of(z))
	if err := d.Fork(t.within(patience), s.Door().ID, z.id, s.Door()); err == nil || isOneOf(err, core.KindTimeout) {
		t.errorf("a fork of a process whose import has failed gives %v, and not an error at once", err)
	}
}

// givenUp: an import that does not end is given up. The driver then has done with that process, and says so
// of a fork.
func (t *trial) givenUp(fault core.Fault, kind core.Kind, cancel bool) {
	d, z := t.shared(), t.zygote()
	ctx := t.within(300 * time.Millisecond)
	if cancel {
		ctx = t.canceled(300 * time.Millisecond)
	}
	began := time.Now()
	_, err := d.Import(ctx, z.id, t.load(modHangs))
	t.mustFail("Import of what does not end", err, fault, kind)
	if took := time.Since(began); took > patience {
		t.errorf("Import returned %v after it was called", took)
	}
	s := t.box(core.RoleInstance, of(z))
	if err := d.Fork(t.within(patience), s.Door().ID, z.id, s.Door()); err == nil || isOneOf(err, core.KindTimeout) {
		t.errorf("%v later a fork of that process gives %v: the driver still waits for its import", patience, err)
	}
	t.usable("an import that was given up")
}

func importAtOnce(t *trial) {
	zygotes := []*node{t.zygote(), t.zygote(), t.zygote(), t.zygote()}
	hanging, d, ctx := t.zygote(), t.shared(), t.within(callTime)
	hangs, fills := t.load(modHangs), t.load(modA)
	go func() { _, _ = d.Import(ctx, hanging.id, hangs) }()
	var wg sync.WaitGroup
	for _, z := range zygotes {
		wg.Go(func() {
			if _, err := d.Import(ctx, z.id, fills); err != nil {
				t.errorf("one of several imports at once: %v", err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		t.errorf("they had to wait for one that hangs")
	}
	t.usable("imports at once")
}

func importInstance(t *trial) {
	i := t.instance()
	_, err := t.importing(i, modA)
	t.gone("Import by an instance", err)
	t.alive(i, "an attempt to have it import over the driver")
}

func importNobody(t *trial) {
	_, err := t.shared().Import(t.within(callTime), "never-was", t.load(modA))
	t.gone("Import by an unknown node", err)
}
