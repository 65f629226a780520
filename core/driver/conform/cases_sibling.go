package conform

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var siblingCases = []Case{
	{Name: "sibling/state", Clauses: []string{"C15"}, run: siblingState},
	{Name: "sibling/randomness", Clauses: []string{"Z7"}, run: siblingRandom},
	{Name: "sibling/randomness-after-draws-in-zygotes", Clauses: []string{"Z7"}, run: siblingRandomBelow},
	{Name: "sibling/randomness-after-a-draw-in-the-root", Clauses: []string{"Z7"}, run: siblingRandomRoot},
	{Name: "sibling/environment", Clauses: []string{"E9", "E23"}, run: siblingEnv},
	{Name: "sibling/files", Clauses: []string{"G9"}, run: siblingFiles},
	{Name: "sibling/descriptors", Clauses: []string{"G10", "Z5"}, run: siblingDescriptors},
	{Name: "sibling/streams", Clauses: []string{"G10", "E8"}, run: siblingStreams},
	{Name: "sibling/memory-is-shared", Clauses: []string{"C15"}, run: siblingShares},
	{Name: "sibling/crash", Clauses: []string{"Z12", "E17"}, run: siblingCrash},
}

func siblingState(t *trial) {
	a, b := t.instance(), t.instance()
	for want := 1; want <= 3; want++ {
		var got int
		if t.result(a, do{"do": "state"}, &got); got != want {
			t.errorf("the %d. event finds the count %d", want, got)
		}
	}
	var got int
	if t.result(b, do{"do": "state"}, &got); got != 1 {
		t.errorf("the first event of a sibling finds the count %d", got)
	}
}

// drawn are the numbers that processes have drawn, by their source.
type drawn map[string]map[string]bool

const told = "told" // is among the numbers of a source when the case has failed by it: once is enough

func siblingRandom(t *trial) {
	all := drawn{}
	t.draw(all, t.root())
	t.draw(all, t.root())
}

// siblingRandomBelow: a generator that seeds itself at its first use has done so in a zygote here, and not in
// the root.
func siblingRandomBelow(t *trial) { t.family(t.zygote(modA), t.zygote(modA)) }

// siblingRandomRoot: here it has done so in the root.
func siblingRandomRoot(t *trial) {
	root := t.preload(t.shared())
	_, err := t.shared().Import(t.within(callTime), root.id, t.load(modA))
	t.must(err, "Import of %s by a root zygote", modA)
	t.family(root)
}

// family checks that nobody below the zygotes, each of which has imported kit_a, draws what another one does.
// Two children of the first draw once more, when they import kit_b, and one of these has children that are
// zygotes.
func (t *trial) family(zygotes ...*node) {
	all, first := drawn{}, zygotes[0]
	a, b := t.fork(t.shared(), first, core.RoleZygote), t.fork(t.shared(), first, core.RoleZygote)
	for _, z := range []*node{a, b} {
		_, err := t.shared().Import(t.within(callTime), z.id, t.load(modB))
		t.must(err, "Import of %s", modB)
	}
	c, d := t.fork(t.shared(), a, core.RoleZygote), t.fork(t.shared(), a, core.RoleZygote)
	for _, z := range zygotes {
		t.drewOnce(all, t.draw(all, z), modA)
		t.draw(all, z)
	}
	for _, z := range []*node{a, b} {
		t.drewOnce(all, t.draw(all, z), modB)
		t.draw(all, z)
	}
	t.draw(all, c)
	t.draw(all, d)
}

// draw has an instance that is forked from the parent draw twice, and returns it.
func (t *trial) draw(all drawn, parent *node) *node {
	n := t.fork(t.shared(), parent, core.RoleInstance)
	t.imports(n, t.handlerLoad())
	for range 2 {
		t.note(all, n, do{"do": "random"})
	}
	return n
}

// drewOnce notes what a module drew when the zygote of an instance imported it: from each of the language's
// sources.
func (t *trial) drewOnce(all drawn, n *node, module string) {
	var sources map[string]string
	t.result(t.instance(), do{"do": "random"}, &sources)
	numbers := t.note(all, n, do{"do": "drawn", "module": t.module(module)})
	for source := range sources {
		if numbers[source] == "" {
			t.errorf("%s draws nothing from %s, of which the handler draws: that it seeds itself early or late is not seen", module, source)
		}
	}
}

// note has an instance tell of numbers, none of which may have been drawn before.
func (t *trial) note(all drawn, n *node, event do) map[string]string {
	var numbers map[string]string
	t.result(n, event, &numbers)
	if len(numbers) == 0 {
		t.fatalf("the event %v is answered without a random number", event)
	}
	for source, number := range numbers {
		if all[source] == nil {
			all[source] = map[string]bool{}
		}
		if all[source][number] && !all[source][told] {
			t.errorf("two siblings, or one process twice, have drawn %.80s from %s", number, source)
			all[source][told] = true
		}
		all[source][number] = true
	}
	return numbers
}

func siblingEnv(t *trial) {
	want := map[string]string{"A": "b", "EMPTY": "", "UNICODE": "é 🐭", "LINES": "a\nb"}
	a, b := t.parked(), t.parked()
	load := t.handlerLoad()
	load.Env = want
	t.imports(a, load)
	t.imports(b, t.handlerLoad())
	var got, other map[string]string
	t.result(a, do{"do": "env"}, &got)
	t.result(b, do{"do": "env"}, &other)
	if rest := given(got); !maps.Equal(rest, want) {
		t.errorf("the environment is %q, and was to be %q", rest, want)
	}
	if rest := given(other); !maps.Equal(rest, t.handlerLoad().Env) {
		t.errorf("the environment of a sibling is %q", rest)
	}
}

// given returns an environment without what tells programs where packages are (E23).
func given(env map[string]string) map[string]string {
	rest := maps.Clone(env)
	maps.DeleteFunc(rest, func(_, value string) bool {
		for dir := range strings.SplitSeq(value, ":") {
			within := func(root string) bool { return strings.HasPrefix(dir+"/", root+"/") }
			if dir != "" && !slices.ContainsFunc([]string{core.PackagesDir, core.CodeDir, "/pipsqueak"}, within) {
				return false
			}
		}
		return value != ""
	})
	return rest
}

func siblingFiles(t *trial) {
	a, b := t.instance(), t.instance()
	var got string
	if t.result(a, do{"do": "file", "path": "/tmp/kit", "text": "of a"}, &got); got != "of a" {
		t.errorf("a file in /tmp holds %q after it was written", got)
	}
	ask := t.ask(b, do{"do": "file", "path": "/tmp/kit"})
	if ask.kind != 'X' {
		t.errorf("a sibling reads the file: %s", ask)
	}
}

// siblingDescriptors looks for pipes and sockets that two processes have both.
func siblingDescriptors(t *trial) {
	a, b := t.instance(), t.instance()
	others := map[string]int{"the zygote": t.rootNode.pid, "the driver": t.shared().PID(), "its sibling": b.pid}
	for _, who := range slices.Sorted(maps.Keys(others)) {
		if shared := both(streamsOf(a.pid), streamsOf(others[who])); len(shared) > 0 {
			t.errorf("an instance has %v open, and %s has too", shared, who)
		}
	}
}

func siblingStreams(t *trial) {
	a, b := t.instance(), t.instance()
	t.result(a, do{"do": "print", "out": "of a\n"}, nil)
	t.result(b, do{"do": "print", "out": "of b\n"}, nil)
	t.hasPrinted(a, "stdout", "of a\n")
	t.hasPrinted(b, "stdout", "of b\n")
}

// hasPrinted checks what a process has printed in all.
func (t *trial) hasPrinted(n *node, stream, want string) {
	if !t.soon(func() bool { return t.printed(n.id, stream) == want }) {
		t.errorf("on %s is %.300q, and not %.300q", stream, t.printed(n.id, stream), want)
	}
}

func siblingShares(t *trial) {
	z := t.zygote(modA)
	n := t.fork(t.shared(), z, core.RoleInstance)
	time.Sleep(50 * time.Millisecond)
	shared, private := rollup(n.pid, "Shared_Clean", "Shared_Dirty"), rollup(n.pid, "Private_Clean", "Private_Dirty")
	if shared < heldBytes*9/10 {
		t.errorf("a parked child shares %d KiB with its zygote, which holds %d KiB in %s alone", shared>>10, heldBytes>>10, modA)
	}
	if private > shared/2 || private > 10<<20 {
		t.errorf("a parked child has %d KiB for itself, and shares %d KiB", private>>10, shared>>10)
	}
}

func siblingCrash(t *trial) {
	a, b := t.instance(), t.instance()
	t.isCut(a, do{"do": "crash"})
	t.alive(b, "the crash of a sibling")
	t.lives(t.rootNode, "the crash of its child")
	t.usable("the crash of an instance")
}

// isCut sends an event in which the instance ends, and returns how it ended.
func (t *trial) isCut(n *node, event any) core.Exit {
	t.sendEvent(n, event)
	a, err := n.wire.receive(4 * patience)
	if err == nil && a.kind == 'D' { // it may tell what ends it
		a, err = n.wire.receive(patience)
	}
	if err == nil {
		t.errorf("the event %v, in which the process ends, is answered by %s", event, a)
	}
	return t.ends(n, "its handler's end")
}
