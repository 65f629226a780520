package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// theFiles is a set of one package, for which a house shows its files.
var theFiles = core.NewSet(core.Package{Name: "files", Version: "1", Digest: "any"})

// houseWith returns a house for a function with the handler's text, and packages with the files.
func houseWith(t *testing.T, handler string, packages map[string]string) *drivertest.House {
	t.Helper()
	h := newHouse(t, map[string]string{"handler.py": handler})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, packages)
	return h
}

// result sends an event and decodes the result.
func result[T any](t *testing.T, answer string) (value T) {
	t.Helper()
	text, ok := strings.CutPrefix(answer, "R")
	if !ok || json.Unmarshal([]byte(text), &value) != nil {
		t.Fatalf("the answer is %s", answer)
	}
	return value
}

// TestReads has packages read the environment in every way, and finds which variables.
func TestReads(t *testing.T) {
	packages := []drivertest.Probed{
		{Name: "none", Source: "import os\nos.environ['SET_BY_IT'] = 'x'\nos.environ['PYTHON_X'] = 'x'\ndef later(): return os.environ['LATER']\n"},
		{Name: "item", Source: "import os\ntry: os.environ['A']\nexcept KeyError: pass\nos.environ.get('B'); os.getenv('C'); 'D' in os.environ; os.environ.setdefault('E', 'e')\n"},
		{Name: "raw", Source: "import os\nos.environb.get(b'F'); os.getenvb(b'G'); os.environ.pop('H', None)\n"},
		{Name: "all", Source: "import os\n{**os.environ}\n"},
		{Name: "copies", Source: "import os\nos.environ.copy()\n"},
		{Name: "inner", Source: "import inner_part\n"},
		{Name: "native", Source: "import ctypes, os\nctypes.CDLL(os.path.dirname(__file__) + '/reads.so')\n"},
		{Name: "zone", Source: "import time\nZONE = time.timezone\n"},
		{Name: "zone_name", Source: "from time import tzname\n"},
		{Name: "zone_star", Source: "from time import *\nsleep(0)\nZONE = timezone\n"},
		{Name: "local", Source: "import datetime\nOFFSET = datetime.datetime.now().astimezone().utcoffset()\n"},
		{Name: "locals", Source: "import time\nOFFSET = time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, 0))\n"},
		{Name: "writes", Source: "import time\nYEAR = time.strftime('%Y %Z', time.gmtime(0))\n"},
		{Name: "universal", Source: "import datetime, time, logging\nNOW = datetime.datetime.now(datetime.timezone.utc).isoformat()\nYEAR = time.strftime('%Y %%Z', time.gmtime(0))\ntime.time()\n"},
		{Name: "place", Source: "import locale\nlocale.setlocale(locale.LC_TIME, '')\n"},
		{Name: "place_c", Source: "import locale\nlocale.setlocale(locale.LC_ALL, 'C')\nlocale.setlocale(locale.LC_ALL)\n"},
		{Name: "ours", Source: "import os\nos.getenv('OMP_NUM_THREADS'), os.getenv('PYTHONPATH')\n"},
	}
	files := map[string]string{"inner_part.py": "from os import environ\nenviron.get('I')\n",
		"reads.c": "#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) { getenv(\"C1\"); secure_getenv(\"C2\"); getenv(\"GOTO_NUM_THREADS\"); }\n"}
	for _, p := range packages {
		files[p.Name+".py"] = p.Source
	}
	h := newHouse(t, files)
	compile(t, h.Packages, "reads.c", "reads.so")
	found := h.Probe(t, packages)
	for name, want := range map[string][]string{"none": nil, "native": {"C1", "C2"}, "item": {"A", "B", "C", "D", "E"}, "raw": {"F", "G", "H"}, "all": {"*"}, "copies": {"*"}, "inner": {"I"}, "ours": nil,
		"zone": {"TZ"}, "zone_name": {"TZ"}, "zone_star": {"TZ"}, "local": {"TZ"}, "locals": {"TZ"}, "writes": {"TZ"}, "universal": nil,
		"place": {"LANG", "LC_ALL", "LC_TIME", "LOCPATH"}, "place_c": nil} {
		if got := found[name].Reads; !slices.Equal(got, want) {
			t.Errorf("%s reads %v, want %v", name, got, want)
		}
	}
}

// TestEnvironment has a time zone in the environment, and a package that sets variables when it is imported:
// both are as in any process.
func TestEnvironment(t *testing.T) {
	h := houseWith(t, `
import os, sets, time
def handler(event, context):
    own = {name: value for name, value in sorted(os.environ.items()) if name not in ("PYTHONPATH", "PIPSQUEAK_PACKAGES")}  # for programs
    return [time.tzname[0], time.localtime(0).tm_hour, own]
`, map[string]string{"sets.py": "import os\nos.environ['SET'] = 'by it'\nos.environ['A'] = 'its own'\n"})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, "sets")
	if err != nil {
		t.Fatal(err)
	}
	zone := func(l *core.HandlerLoad) { l.Env = map[string]string{"TZ": "XYZ-9", "A": "b"} }
	for _, parent := range []struct {
		name   string
		answer string
	}{
		{"cold", drivertest.Ask(t, h.Instance(t, root, theFiles, zone), `1`)},
		{"fork", drivertest.Ask(t, h.Instance(t, zygote, theFiles, zone), `1`)},
	} {
		if want := `R["XYZ",9,{"A":"its own","SET":"by it","TZ":"XYZ-9"}]`; parent.answer != want {
			t.Errorf("%s: %s, want %s", parent.name, parent.answer, want)
		}
	}
}

// TestOwnTimes has a handler ask for its process's times long after its zygote began: they are the process's
// own.
func TestOwnTimes(t *testing.T) {
	h := houseWith(t, `
import logging, os, resource, time
def handler(event, context):
    began = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    record = logging.LogRecord("name", 10, "", 1, "", (), None)
    return {"logging": record.relativeCreated / 1000, "start": time.clock_gettime(time.CLOCK_BOOTTIME) - began,
            "processor": time.process_time(), "usage": resource.getrusage(resource.RUSAGE_SELF).ru_utime}
`, map[string]string{"burns.py": "import logging, time\nend = time.monotonic() + 3\nwhile time.monotonic() < end: pass\n"})
	zygote, _, err := h.Zygote(t, h.Root(t), theFiles, "burns")
	if err != nil {
		t.Fatal(err)
	}
	for name, seconds := range result[map[string]float64](t, drivertest.Ask(t, h.Instance(t, zygote, theFiles), `1`)) {
		if seconds < 0 || seconds > 2.5 {
			t.Errorf("%s: %f s", name, seconds)
		}
	}
}

// TestOwnIdentity has zygotes import what keeps something of its process: copies of multiprocessing, with the
// key by which processes trust each other, and the number of the main thread.
func TestOwnIdentity(t *testing.T) {
	const copied = "import os\nclass AuthenticationString(bytes): pass\nclass Main:\n    _config = {'authkey': AuthenticationString(os.urandom(32))}\n_current_process = Main()\ndef current_process(): return _current_process\n"
	h := houseWith(t, `
import multiprocessing, threading
import billiard.process, multiprocess.process
def handler(event, context):
    keys = [one.current_process()._config["authkey"].hex() for one in (multiprocessing, multiprocess.process, billiard.process)]
    assert type(billiard.process.current_process()._config["authkey"]) is billiard.process.AuthenticationString
    return {"keys": keys, "thread": [threading.main_thread().native_id == threading.get_native_id()]}
`, map[string]string{"multiprocess/__init__.py": "", "multiprocess/process.py": copied, "billiard/__init__.py": "", "billiard/process.py": copied,
		"keeps.py": "import multiprocessing, multiprocess.process, billiard.process, threading\n"})
	zygote, _, err := h.Zygote(t, h.Root(t), theFiles, "keeps")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		found := result[map[string][]any](t, drivertest.Ask(t, h.Instance(t, zygote, theFiles), `1`))
		for _, key := range found["keys"] {
			if seen[key.(string)] {
				t.Errorf("two instances have the key %s", key)
			}
			seen[key.(string)] = true
		}
		if found["thread"][0] != true {
			t.Error("the main thread has the number of another process's")
		}
	}
}

const generators = `
import random, sqlite3, time, numpy.random
class Own(random.Random): pass
class Box: pass
system, own, by_hand, held = random.Random(), Own(), random.Random(42), Box()
held.inside = random.Random()
later = random.Random(7); later.seed()
legacy, legacy_by_hand = numpy.random.RandomState(), numpy.random.RandomState(42)
new, new_by_hand = numpy.random.Generator(numpy.random.BitGenerator()), numpy.random.Generator(numpy.random.BitGenerator(42))
everywhere = random.SystemRandom()
database = sqlite3.connect(":memory:")
def sql(): return database.execute("SELECT random()").fetchone()[0]
sql()
def draw():
    return {"random": random.random(), "sql": sql(), "system": system.random(), "own": own.random(), "held": held.inside.random(), "later": later.random(), "everywhere": everywhere.random(),
            "legacy": legacy.random(), "new": new.random(), "by_hand": by_hand.random(), "legacy_by_hand": legacy_by_hand.random(), "new_by_hand": new_by_hand.random()}
`

// numpyRandom has what this driver goes by in numpy.random: which seeds are the system's, and how a state is
// replaced.
const numpyRandom = `
import random
class SeedSequence:
    def __init__(self, entropy=None): self.entropy, self.spawn_key = random.SystemRandom().getrandbits(128) | 1 << 127 if entropy is None else entropy, ()
class BitGenerator:
    def __init__(self, seed=None): self._seed_seq = SeedSequence(seed); self.state = {"state": self._seed_seq.entropy}
    def random_raw(self, size=None, output=True): self.state["state"] = self.state["state"] * 6364136223846793005 + 1 & (1 << 128) - 1; return self.state["state"] >> 64
class Generator:
    def __init__(self, bits): self.bit_generator = bits
    def random(self): return self.bit_generator.random_raw()
class RandomState:
    def __init__(self, seed=None):
        self._bit_generator, self.spare = BitGenerator(seed), random.random()
        if seed is not None: self.seed(seed)
    def seed(self, seed=None): self._bit_generator.state, self._bit_generator._seed_seq, self.spare = BitGenerator(seed).state, None, 0
    def set_state(self, state): self._bit_generator.state, self.spare = {"state": state["state"]}, state["gauss"]
    def random(self): return self._bit_generator.random_raw() + self.spare
_rand = RandomState()
def seed(): _rand.seed()
`

// TestGenerators has packages make generators of random numbers: those that the system has seeded differ in
// every fork, of every generation; those that their author has seeded are the same, as in any process.
func TestGenerators(t *testing.T) {
	h := houseWith(t, "import generators\ndef handler(event, context): return generators.draw()\n", map[string]string{"generators.py": generators, "numpy/__init__.py": "",
		"numpy/random.py": numpyRandom, "later.py": "import generators\nagain = generators.random.Random()\n"})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, "generators")
	if err != nil {
		t.Fatal(err)
	}
	below, _, err := h.Zygote(t, zygote, theFiles, "later")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string][]float64{}
	for _, parent := range []string{"root", "zygote", "zygote", "below", "below"} {
		from := map[string]func() string{
			"root":   func() string { return drivertest.Ask(t, h.Instance(t, root, theFiles), `1`) },
			"zygote": func() string { return drivertest.Ask(t, h.Instance(t, zygote, theFiles), `1`) },
			"below":  func() string { return drivertest.Ask(t, h.Instance(t, below, theFiles), `1`) },
		}
		for name, number := range result[map[string]float64](t, from[parent]()) {
			drawn[name] = append(drawn[name], number)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(drawn)) {
		different := len(slices.Compact(slices.Sorted(slices.Values(drawn[name]))))
		if want := map[bool]int{true: 1, false: 5}[strings.HasSuffix(name, "by_hand")]; different != want {
			t.Errorf("%s: of %v %d are different, want %d", name, drawn[name], different, want)
		}
	}
}

// TestSiblings has zygotes two generations below one that has drawn from OpenSSL, and processes that
// instances fork, draw from it: no two get the same, although nothing but a changed pid tells the library of
// the forks.
func TestSiblings(t *testing.T) {
	h := houseWith(t, `
import os, draws, sys
def handler(event, context):
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, draws.draw().encode())
        os._exit(0)
    drawn = [os.read(r, 99).decode(), draws.draw()]
    return drawn + [sys.modules["again"].number] if "again" in sys.modules else drawn
`, map[string]string{"again.py": "import draws\nnumber = draws.draw()\n",
		"draws.py": "import ctypes\ndef draw():\n    text = ctypes.create_string_buffer(16)\n    assert crypto.RAND_bytes(text, 16) == 1\n    return text.raw.hex()\ncrypto = ctypes.CDLL('libcrypto.so.3')\ndraw()\n"})
	zygote := h.Root(t)
	drawn := map[string]int{}
	count := func(answer string) {
		for _, number := range result[[]string](t, answer) {
			drawn[number]++
		}
	}
	for _, module := range []string{"draws", "math", "math"} {
		var err error
		if zygote, _, err = h.Zygote(t, zygote, theFiles, module); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			sibling, _, err := h.Zygote(t, zygote, theFiles, "again")
			if err != nil {
				t.Fatal(err)
			}
			count(drivertest.Ask(t, h.Instance(t, sibling, theFiles), `1`))
			count(drivertest.Ask(t, h.Instance(t, zygote, theFiles), `1`))
		}
	}
	if len(drawn) != 3*2*5 {
		t.Errorf("%d are different, want %d: %v", len(drawn), 3*2*5, drawn)
	}
}

// TestRepeats has packages seed generators with what differs from process to process: nobody can see that,
// and a probe finds it.
func TestRepeats(t *testing.T) {
	const why = "^gives the same random numbers in every fork$"
	packages := []drivertest.Probed{
		{Name: "quiet", Source: "x = 1\n"},
		{Name: "fine", Source: "import random\nr = random.Random()\nfixed = random.Random(42)\n"},
		{Name: "clock", Source: "import random, time\nfine, r = random.Random(), random.Random(time.time_ns())\n", Told: why},
		{Name: "deep", Source: "import random, os\nclass Box: pass\nb = Box()\nb.box = Box()\nb.box.random = random.Random(os.urandom(8))\n", Told: why},
		{Name: "gives", Source: "import os\n_key = os.urandom(8).hex()\ndef token_hex(): return _key\n", Told: why},
		{Name: "above", Source: "import clock\n", Requires: []string{"clock==1"}, Told: "^imports clock, which gives the same random numbers in every fork$"},
		{Name: "seeds", Source: "import random\nrandom.seed(42)\n"},
		{Name: "documents", Source: "import itertools, os, random, time\nclass ObjectId:\n    _machine, _next = os.urandom(3), itertools.count(random.getrandbits(24))\n    def __init__(self, given=None): self._id = b'%x%s%x' % (int(time.time()), self._machine, next(self._next))\n    def __str__(self): return self._id.hex()\n", Told: why},
		{Name: "counts", Source: "import itertools, os, time\n_next = itertools.count(int.from_bytes(os.urandom(5), 'big'))\ndef generate_id(prefix='', *, size=9): return f'{time.time():.3f}-{next(_next)}'\n", Told: why},
		{Name: "xid", Source: "import os, datetime\n_key = os.urandom(9)\nclass _Text:\n    def __str__(self): return f'{datetime.datetime.now()}{_key}'\ndef new(): return _Text()\n", Told: why},
		{Name: "secret", Source: "import os, secrets\n_key = os.urandom(9)\ndef new_id(): return secrets.token_hex(8)\ndef sign(): return _key\ndef generate_report(): return _key\ndef new_token(key): return _key\n"},
		{Name: "flake", Source: "import time, os\nclass SnowflakeId:\n    def __init__(self): self.text = f'{time.time_ns()}-7-{os.getpid()}'\n    def __str__(self): return self.text\n"},
		{Name: "notices", Source: "import os\n_pid, _key = os.getpid(), os.urandom(9).hex()\ndef make_id():\n    global _pid, _key\n    if _pid != os.getpid(): _pid, _key = os.getpid(), os.urandom(9).hex()\n    return _key\n"},
		{Name: "plain", Source: "class Token: pass\nclass Nonce:\n    def __str__(self): return object.__repr__(self)\n"},
		{Name: "waits", Source: "import sys, time\ndef make_id():\n    while True: pass\ndef new_token(): time.sleep(99)\ndef new_uuid(): sys.exit(3)\n"},
	}
	files := map[string]string{}
	for _, p := range packages {
		files[p.Name+".py"] = p.Source
	}
	newHouse(t, files).Probe(t, packages)
}

// TestIdentities has names of functions and classes, and finds which make identities.
func TestIdentities(t *testing.T) {
	for names, want := range map[string]bool{
		"ObjectId objectid object_id uuid UUID uuid1 uuid4 uuid7 uuid_hex guid ulid ULID cuid cuid2 ksuid KSUID Ksuid xid nanoid nano_id shortid short_id": true,
		"generate_id generateId createId newId new_id makeId make_id gen_id unique_id make_request_id new_session_id generate_secret generate_secret_key":  true,
		"token nonce token_hex token_urlsafe generate_token new_nonce create_token generate_nonce random random_hex":                                       true,
		"id get_id thread_id get_ident process_id user_id valid_id is_uuid parse_uuid from_uuid Tokenizer tokens void valid grid Identity generate key":    false,
		"ulid:new ksuid:generate shortuuid:random nanoid:generate ulid_py:new xid:create":                                                                  true,
		"ulid:parse report:new reports:generate uuid_tools:check":                                                                                          false,
	} {
		for _, name := range strings.Fields(names) {
			module, name, there := strings.Cut(name, ":")
			if !there {
				module, name = "", module
			}
			var got bool
			ask(t, "from _pipsqueak.drawn import gives; print(json.dumps(gives(sys.argv[1], sys.argv[2])))", nil, &got, name, module)
			if got != want {
				t.Errorf("%s of %q makes identities: %t, want %t", name, module, got, want)
			}
		}
	}
}
