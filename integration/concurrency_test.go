package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// May an instance have several events at once, each with its own context, log and end, and does none get what
// is another's?

// companions wait ms milliseconds, and print n before and after; under is how many events their instance had
// at once so far, and made tells instances apart. They raise, end the process, never end, or fill the memory
// on demand.
var companions = map[string]files{
	"node": {"index.js": `
const made = Math.random();
let under = 0, most = 0;
const { setTimeout: sleep } = require('timers/promises');
exports.handler = async (event, context) => {
  const { n, ms, does } = event;
  most = Math.max(most, ++under);
  try {
    console.log('begins', n);
    if (ms !== undefined) await sleep(ms);
    console.error('ends', n);
    if (does === 'raise') throw new RangeError('no ' + n);
    if (does === 'later') setTimeout(() => { throw new RangeError('no ' + n); });
    if (does === 'rejects') Promise.reject(new RangeError('no ' + n));
    if (does === 'exit') process.exit(3);
    if (does === 'block') for (;;);
    if (does === 'grow') for (const kept = [];;) { kept.push(Buffer.alloc(8 << 20, 1)); await sleep(1); }
    if (does !== undefined) await new Promise((resolve) => setTimeout(resolve, 1e6));
    return { n, id: context.awsRequestId, made, most };
  } finally {
    under--;
  }
};
`},
	"python": {"handler.py": `
import random, sys, threading, time
made, under, most, lock = random.random(), 0, 0, threading.Lock()
def handler(event, context):
    global under, most
    n, does = event['n'], event.get('does')
    with lock:
        under += 1
        most = max(most, under)
    try:
        print('begins', n)
        if 'ms' in event: time.sleep(event['ms'] / 1000)
        print('ends', end=' ', file=sys.stderr)
        print(n, file=sys.stderr)
        if does == 'raise': raise ValueError(f'no {n}')
        if does == 'exit': sys.exit(3)
        if does == 'grow':
            kept = []
            while True: kept.append(bytearray(b'x') * (8 << 20))
        if does: time.sleep(1e6)
        return {'n': n, 'id': context.aws_request_id, 'made': made, 'most': most}
    finally:
        with lock: under -= 1
`},
	"python async": {"handler.py": `
import asyncio, logging, random, sys, time
made, under, most = random.random(), 0, 0
log = logging.getLogger('companion')
log.addHandler(logging.StreamHandler(sys.stdout))
async def handler(event, context):
    global under, most
    n, does = event['n'], event.get('does')
    under += 1
    most = max(most, under)
    try:
        log.warning('begins %s', n)
        if 'ms' in event: await asyncio.sleep(event['ms'] / 1000)
        await asyncio.get_running_loop().create_task(ends(n))
        if does == 'raise': raise ValueError(f'no {n}')
        if does == 'exit': sys.exit(3)
        if does == 'grow':
            kept = []
            while True: kept.append(bytearray(b'x') * (8 << 20))
        if does == 'block': time.sleep(1e6)
        if does: await asyncio.sleep(1e6)
        return {'n': n, 'id': context.aws_request_id, 'made': made, 'most': most}
    finally:
        under -= 1
async def ends(n):
    await asyncio.to_thread(print, 'ends', n, file=sys.stderr)
`},
	"ruby": {"handler.rb": `
MADE = rand
LOCK = Mutex.new
$under = $most = 0
def handler(event:, context:)
  n, does = event["n"], event["does"]
  LOCK.synchronize { $most = [$most, $under += 1].max }
  puts "begins #{n}"
  sleep event["ms"] / 1000.0 if event["ms"]
  $stderr.print "ends "
  warn n
  raise KeyError, "no #{n}" if does == 'raise'
  exit 3 if does == 'exit'
  if does == 'grow'
    kept = []
    loop { kept << "x" * (8 << 20) }
  end
  sleep if does
  { n: n, id: context.aws_request_id, made: MADE, most: $most }
ensure
  LOCK.synchronize { $under -= 1 }
end
`},
}

type companion struct {
	N    int
	ID   string
	Made float64
	Most int
}

// accompanied deploys a companion whose instances have several events at once.
func (w *worker) accompanied(t *testing.T, language, name, settings string) string {
	t.Helper()
	name = "beside-" + strings.ReplaceAll(language, " ", "-") + "-" + name
	w.deploy(t, name, companions[language].with("pipsqueak.yaml", "concurrency: 8\n"+settings))
	return name
}

// TestConcurrency: several events are under way in one instance, and each has its own answer, context and
// log.
func TestConcurrency(t *testing.T) {
	system(t)
	w := shared(t)
	for language := range companions {
		t.Run(language, func(t *testing.T) {
			name := w.accompanied(t, language, "many", "max_instances: 2\n")
			w.run(t, name, `{"n":0}`)
			var group sync.WaitGroup
			var mu sync.Mutex
			made, most := map[float64]bool{}, 0
			const events = 3000
			begun := make(chan int)
			for range 16 {
				group.Go(func() {
					for n := range begun {
						id := fmt.Sprintf("%s-%d", name, n)
						event := fmt.Sprintf(`{"n":%d}`, n)
						if n%4 == 0 {
							event = fmt.Sprintf(`{"n":%d,"ms":%d}`, n, n%12)
						}
						var got companion
						if a := w.runAs(t, name, id, event); a.status != 200 || json.Unmarshal(a.body, &got) != nil || got.N != n || got.ID != id {
							t.Errorf("the event %d of the request %s is answered by %s", n, id, a)
						}
						mu.Lock()
						made[got.Made], most = true, max(most, got.Most)
						mu.Unlock()
					}
				})
			}
			for n := range events {
				begun <- n
			}
			close(begun)
			group.Wait()
			if len(made) != 2 || most < 2 || most > 8 {
				t.Errorf("%d instances for 16 events at once, with up to %d at once in one; want 2 with up to 8", len(made), most)
			}
			lines := map[string]int{}
			for _, line := range w.logLines(t, name, "") {
				if _, n, found := strings.Cut(line.Text, "s "); !found || line.Request != name+"-"+n && n != "0" {
					t.Errorf("the line %q is of the request %s", line.Text, line.Request)
				}
				lines[line.Stream]++
			}
			if lines["stdout"] < events || lines["stderr"] < events {
				t.Errorf("the log has %v lines of %d events", lines, events)
			}
		})
	}
}

// TestConcurrencyFills: an instance starts when those that there are have no room, and not before.
func TestConcurrencyFills(t *testing.T) {
	system(t)
	w := shared(t)
	for language := range companions {
		t.Run(language, func(t *testing.T) {
			name := w.accompanied(t, language, "fills", "max_instances: 2\n")
			for _, count := range []int{8, 9} {
				var group sync.WaitGroup
				began := time.Now()
				for n := range count {
					group.Go(func() {
						if a := w.run(t, name, fmt.Sprintf(`{"n":%d,"ms":1000}`, n)); a.status != 200 {
							t.Error(a)
						}
					})
				}
				group.Wait()
				if took, nodes := time.Since(began), w.instances(t, name); took > 4*time.Second || len(nodes) != (count+7)/8 { // two at once would take that
					t.Errorf("%d events of one second each took %v in %d instances", count, took, len(nodes))
				}
			}
		})
	}
}

// TestConcurrencyFaults: what goes wrong in one event is that event's alone, unless it ends the process.
func TestConcurrencyFaults(t *testing.T) {
	system(t)
	w := shared(t)
	faults := map[string]struct {
		kind   core.Kind // of the event that does it
		beside core.Kind // of the event beside it, none if that is answered
		ends   bool      // the instance is of no use afterwards
	}{
		"raise":   {core.KindException, "", false},
		"later":   {core.KindException, "", false},
		"rejects": {core.KindException, "", false},
		"exit":    {core.KindExit, core.KindExit, true},
		"grow":    {core.KindMemory, core.KindMemory, true},
		"block":   {core.KindTimeout, core.KindTimeout, true},
		"hang":    {core.KindTimeout, "", true},
	}
	for language, code := range companions {
		t.Run(language, func(t *testing.T) {
			name := w.accompanied(t, language, "faults", "timeout_ms: 3000\nmemory_mb: 128\nmax_instances: 1\n")
			for does, want := range faults {
				if !strings.Contains(fmt.Sprint(code), "'"+does+"'") && does != "hang" {
					continue // the language has no such thing
				}
				t.Run(does, func(t *testing.T) {
					var first companion
					if a := w.run(t, name, `{"n":0}`); a.status != 200 || json.Unmarshal(a.body, &first) != nil {
						t.Fatal(a)
					}
					var group sync.WaitGroup
					group.Go(func() {
						switch {
						case does == "hang": // it is under way when that one is over, and has time enough then
							time.Sleep(1500 * time.Millisecond)
						case want.beside != "":
							time.Sleep(500 * time.Millisecond)
						}
						id := name + "-" + does + "-beside"
						a := w.runAs(t, name, id, `{"n":1,"ms":2200}`)
						if want.beside != "" {
							expectKind(t, a, want.beside)
						} else if a.status != 200 {
							t.Errorf("beside it: %s", a)
						}
					})
					id := name + "-" + does
					expectKind(t, w.runAs(t, name, id, fmt.Sprintf(`{"n":2,"ms":1000,"does":%q}`, does)), want.kind)
					w.failureLine(t, name, id, want.kind)
					group.Wait()
					var next companion
					if a := w.run(t, name, `{"n":3}`); a.status != 200 || json.Unmarshal(a.body, &next) != nil || (next.Made != first.Made) != want.ends {
						t.Errorf("the next event is answered by %s, after %v", a, first)
					}
				})
			}
		})
	}
}

// expectKind checks of which kind the error is that an event is answered by.
func expectKind(t *testing.T, a answer, kind core.Kind) {
	t.Helper()
	var told struct{ Error core.Error }
	if err := json.Unmarshal(a.body, &told); err != nil || told.Error.Kind != kind {
		t.Errorf("an error of the kind %s is wanted, and not %s", kind, a)
	}
}

// TestConcurrencyRefused: a language whose instances cannot have several events refuses to be deployed with
// them, and so does a bad number.
func TestConcurrencyRefused(t *testing.T) {
	system(t)
	w := shared(t)
	for settings, why := range map[string]string{
		"concurrency: 8\n":                 "take 'concurrency' out of pipsqueak.yaml",
		"concurrency: 0\n":                 "concurrency",
		"concurrency: 101\n":               "100",
		"concurrency: 2\nreuse: false\n":   "remove one of the two",
		"concurrency: many\n":              "events at once in one instance",
		"reuse: false\nconcurrency: 100\n": "remove one of the two",
	} {
		a := w.put(t, "beside-native", speakers["native"].with("pipsqueak.yaml", settings))
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest && a.status != http.StatusNotImplemented || !strings.Contains(string(a.body), why) {
			t.Errorf("%q: %s", settings, a)
		}
	}
	w.deploy(t, "beside-native", speakers["native"].with("pipsqueak.yaml", "concurrency: 1\n"))
	w.deploy(t, "beside-shown", companions["node"].with("pipsqueak.yaml", "concurrency: 7\n"))
	if out, stderr, err := w.command(t, "", "describe", "beside-shown"); err != nil || !strings.Contains(out, "each with up to 7 events at once") {
		t.Errorf("%s%s%v", out, stderr, err)
	}
}

// TestConcurrentStreams has several responses in parts made at once by one instance.
func TestConcurrentStreams(t *testing.T) {
	system(t)
	w := shared(t)
	for kind, code := range streamers {
		t.Run(kind, func(t *testing.T) {
			language := strings.ToLower(strings.NewReplacer(" ", "-", ".", "-").Replace(kind))
			if companions[languageOf(code)] == nil {
				t.Skip("its instances have one event at a time")
			}
			name := "beside-streams-" + language
			w.deploy(t, name, code.with("pipsqueak.yaml", "timeout_ms: 3000\nconcurrency: 8\nmax_instances: 1\n"))
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					response, err := http.Get(w.url + "/fn/" + name + "/parts")
					if err != nil {
						t.Error(err)
						return
					}
					defer response.Body.Close()
					first := make([]byte, 3)
					if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "one" {
						t.Errorf("%q, %v", first, err)
					}
					if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "two" {
						t.Errorf("%q, %v", rest, err)
					}
				})
			}
			began := time.Now()
			group.Wait()
			if took := time.Since(began); took > 3200*time.Millisecond { // one after another takes that
				t.Errorf("eight responses of 0.4 s took %v", took)
			}
			w.holdsBack(t, name)
		})
	}
}

// languageOf returns the language of a function, as companions have it.
func languageOf(f files) string {
	for name := range f {
		switch {
		case strings.HasSuffix(name, "js"):
			return "node"
		case strings.HasSuffix(name, ".py"):
			return "python"
		case strings.HasSuffix(name, ".rb"), strings.HasSuffix(name, ".ru"):
			return "ruby"
		}
	}
	return ""
}
