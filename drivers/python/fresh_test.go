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
	for name, want := range map[string][]string{"none": nil, "native": {"C1", "C2"}, "item": {"A", "B", "C", "D", "E"}, "raw": {"F", "G", "H"}, "all": {"*"}, "copies": {"*"}, "inner": {"I"}, "ours": nil} {
		if got := found[name].Reads; !slices.Equal(got, want) {
			t.Errorf("%s reads %v, want %v", name, got, want)
		}
	}
}

// TestEnvironment has a time zone in the environment, and a package that sets variables when it is imported: both are as in any process.
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

// numpyRandom has what this driver goes by in numpy.random: which seeds are the system's, and how a state is replaced.
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

// TestGenerators has packages make generators of random numbers: those that the system has seeded differ in every fork, of every generation; those that their author
// has seeded are the same, as in any process.
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

// TestSiblings has zygotes two generations below one that has drawn from OpenSSL, and processes that instances fork, draw from it: no two get the same, although nothing
// but a changed pid tells the library of the forks.
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

// TestRepeats has packages seed generators with what differs from process to process: nobody can see that, and a probe finds it.
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
	}
	files := map[string]string{}
	for _, p := range packages {
		files[p.Name+".py"] = p.Source
	}
	newHouse(t, files).Probe(t, packages)
}
