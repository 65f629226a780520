package conform

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var leakCases = []Case{
	{Name: "leak/driver-over-forks", Clauses: []string{"Z5", "G1"}, run: leakDriverForks},
	{Name: "leak/driver-over-preloads", Clauses: []string{"Z5", "G13"}, run: leakDriverPreloads},
	{Name: "leak/driver-over-failures", Clauses: []string{"C21", "Z5"}, run: leakDriverFailures},
	{Name: "leak/zygote-over-forks", Clauses: []string{"G10"}, run: leakZygote},
	{Name: "leak/instance-over-events", Clauses: []string{"E1"}, run: leakInstance},
	{Name: "leak/zombies", Clauses: []string{"Z7", "G12"}, run: leakZombies},
}

// returns checks that something countable comes back to what it was.
func (t *trial) returns(what string, count func() int, do func()) {
	do() // once for what is opened for good
	before := 0
	t.soon(func() bool { was := before; before = count(); time.Sleep(20 * time.Millisecond); return was == before })
	do()
	if !t.soon(func() bool { return count() <= before }) {
		t.errorf("%s: %d before, and %d after", what, before, count())
	}
}

// briefly forks and kills.
func (t *trial) briefly(parent *node, times int) {
	for range times {
		n, err := t.tryFork(t.shared(), parent, t.keptBox(core.RoleInstance, of(parent)))
		t.must(err, "Fork")
		end(n.box)
	}
}

func leakDriverForks(t *trial) {
	d, root := t.shared(), t.root()
	t.returns("descriptors of the driver over 10 forks", func() int { return len(descriptors(d.PID())) }, func() { t.briefly(root, 10) })
}

func leakDriverPreloads(t *trial) {
	d := t.shared()
	count := func() int { return len(descriptors(d.PID())) + descendants(d.PID()) }
	t.returns("descriptors of the driver and processes below it over 3 preloads", count, func() {
		for range 3 {
			n, err := t.tryPreload(d, t.keptBox(core.RoleZygote))
			t.must(err, "Preload")
			end(n.box)
		}
	})
}

func leakDriverFailures(t *trial) {
	d := t.shared()
	t.returns("descriptors of the driver over 4 failed imports and 4 failed forks", func() int { return len(descriptors(d.PID())) }, func() {
		for range 4 {
			z, err := t.tryFork(d, t.root(), t.keptBox(core.RoleZygote, of(t.root())))
			t.must(err, "Fork")
			_, err = t.importing(z, modRaises)
			t.raised("Import of what raises", err)
			id := t.newID()
			if err := d.Fork(t.within(callTime), id, z.id, core.Door{ID: id, Gate: "/none/gate"}); err == nil {
				t.errorf("a fork at no gate did not fail")
			}
			end(z.box)
		}
	})
}

func leakZygote(t *trial) {
	z := t.zygote()
	pid := z.pid
	t.returns("descriptors of a zygote over 10 forks", func() int { return len(descriptors(pid)) }, func() { t.briefly(z, 10) })
}

func leakInstance(t *trial) {
	n := t.instance()
	t.returns("descriptors of an instance over 50 events", func() int { return len(descriptors(n.pid)) }, func() {
		for range 50 {
			t.alive(n, "an event")
		}
	})
}

func leakZombies(t *trial) {
	z := t.zygote()
	t.briefly(z, 10)
	if !t.soon(func() bool { return len(children(z.pid)) == 0 }) {
		t.errorf("10 forks have ended, and the zygote still has the children %v", children(z.pid))
	}
}

// lastCases look back at all that the drivers have written.
var lastCases = []Case{
	{Name: "last/stdout-has-handshakes-alone", Clauses: []string{"C4"}, run: lastStdout},
	{Name: "last/stderr-is-log", Clauses: []string{"C8"}, run: lastStderr},
}

func lastStdout(t *trial) {
	t.usable("all that")
	var others []string
	for line := range strings.Lines(t.stdout.String()) {
		if !strings.HasPrefix(line, "1|") || !strings.HasSuffix(line, "|grpc|\n") {
			others = append(others, line)
		}
	}
	if len(others) > 0 {
		t.errorf("on stdout are %d lines besides the handshakes, the first %.200q", len(others), others[0])
	}
}

func lastStderr(t *trial) {
	t.shared()
	for line := range strings.Lines(t.stderr.String()) {
		var fields map[string]any
		if strings.TrimSpace(line) == "" {
			continue
		}
		err := json.Unmarshal([]byte(line), &fields)
		level, _ := fields["@level"].(string)
		_, text := fields["@message"].(string)
		stamp, _ := fields["@timestamp"].(string)
		_, stampErr := time.Parse("2006-01-02T15:04:05.000000Z07:00", stamp)
		if err != nil || !text || stampErr != nil || !slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, level) {
			t.errorf("on stderr is %.200q, and not a line of hclog's JSON", line)
			return
		}
	}
}
