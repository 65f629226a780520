package integration

import (
	"archive/zip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Do artificial packages install with the ordinary clients, and cost what they say?

// artificial is what a test reads of packages.json.
type artificial struct {
	Packages []artificialPackage
}

type artificialPackage struct {
	Name     string
	Closure  int
	Size     int64
	Files    int
	Import   float64 `json:"import_ms"`
	Install  float64 `json:"install_ms"`
	Memory   int64
	Builds   bool
	Requires []struct{ Package string }
	Versions []struct {
		Number, Value string
		Archives      []struct{ File string }
	}
}

func (p artificialPackage) latest() (number, value string) {
	v := p.Versions[len(p.Versions)-1]
	return v.Number, v.Value
}

// pipbench has packages of a language made, and returns their directory.
func pipbench(t *testing.T, language string, flags ...string) (string, []artificialPackage) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bench")
	succeed(t, filepath.Join(programs(t), "pipbench"), append([]string{"packages", "--language", language, "--out", dir}, flags...)...)
	text, err := os.ReadFile(filepath.Join(dir, language, "packages.json"))
	var all artificial
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, all.Packages
}

// costs are the costs of packages, of all that were measured, relative to what they say, and in the middle.
type costs struct{ time, memory []float64 }

// measure has a program print the milliseconds and the bytes of each import, and compares those that are
// large enough.
func (c *costs) measure(t *testing.T, p artificialPackage, command *exec.Cmd) {
	t.Helper()
	out, err := command.CombinedOutput()
	_, value := p.latest()
	said := strings.Fields(string(out))
	if err != nil || len(said) != 3 || said[2] != value {
		t.Errorf("%s: %v, want %s: %s", p.Name, err, value, out)
		return
	}
	ms, _ := strconv.ParseFloat(said[0], 64)
	bytes, _ := strconv.ParseFloat(said[1], 64)
	if p.Import >= 5 {
		c.time = append(c.time, ms/p.Import)
	}
	if p.Memory >= 1e6 {
		c.memory = append(c.memory, bytes/float64(p.Memory))
	}
}

// check wants both within 15 % at the median.
func (c *costs) check(t *testing.T, least int) {
	t.Helper()
	for what, ratios := range map[string][]float64{"time": c.time, "memory": c.memory} {
		if len(ratios) < least {
			t.Errorf("the %s of only %d imports was measured", what, len(ratios))
			continue
		}
		slices.Sort(ratios)
		median := ratios[len(ratios)/2]
		t.Logf("%s: %d imports, %.2f of what they should cost at the median, %.2f to %.2f", what, len(ratios), median, ratios[0], ratios[len(ratios)-1])
		if median < 0.85 || median > 1.15 {
			t.Errorf("the %s of imports is %.2f of what it should be", what, median)
		}
	}
}

// costly are up to n packages that cost enough to be measured, and few others.
func costly(all []artificialPackage, n int) (chosen []artificialPackage) {
	for _, p := range all {
		if len(chosen) < n && p.Import >= 5 && p.Memory >= 1e6 && p.Files < 200 {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

const pythonCost = `
import importlib, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
for name in sys.argv[2:]:
    importlib.import_module(name)
resident()
before, began = resident(), time.thread_time_ns()
module = importlib.import_module(sys.argv[1])
print((time.thread_time_ns() - began) / 1e6, resident() - before, module.value)
`

func TestPipbenchPython(t *testing.T) {
	dir, all := pipbench(t, "python", "--count", "150", "--seed", "2", "--scale", "0.01")
	venv := t.TempDir()
	uv := filepath.Join(programs(t), "libexec", "uv")
	run := func(arguments ...string) {
		t.Helper()
		command := exec.Command(uv, arguments...)
		command.Env = append(os.Environ(), "UV_CACHE_DIR="+filepath.Join(venv, "cache"), "UV_NO_CONFIG=1")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("uv %v: %v\n%s", arguments, err, out)
		}
	}
	run("venv", "--python", "/usr/bin/python3", filepath.Join(venv, "v"))
	python := filepath.Join(venv, "v/bin/python")
	install := []string{"pip", "install", "--no-index", "--find-links", filepath.Join(dir, "python"), "--python", python}
	chosen := costly(all, 8)
	built := 0
	for _, p := range all {
		if p.Builds && built < 1 {
			built++
			chosen = append(chosen, p)
		}
	}
	if built == 0 {
		t.Error("no package is a source distribution")
	}
	for _, p := range chosen {
		install = append(install, p.Name)
	}
	run(install...)
	var c costs
	for _, p := range chosen {
		arguments := []string{"-c", pythonCost, moduleName(p.Name)}
		for _, r := range p.Requires {
			arguments = append(arguments, moduleName(r.Package))
		}
		c.measure(t, p, exec.Command(python, arguments...))
	}
	c.check(t, 6)
}

// moduleName is how programs name an artificial package.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// TestPipbenchSizes looks into wheels: files and bytes are those that the catalog says, at the scale of the
// bytes.
func TestPipbenchSizes(t *testing.T) {
	dir, all := pipbench(t, "python", "--count", "20", "--seed", "8", "--scale", "0.1")
	for _, p := range all {
		for _, v := range p.Versions {
			if p.Builds {
				continue
			}
			wheel, err := zip.OpenReader(filepath.Join(dir, "python", v.Archives[0].File))
			if err != nil {
				t.Fatal(err)
			}
			files, bytes := 0, int64(0)
			for _, f := range wheel.File {
				if strings.HasPrefix(f.Name, moduleName(p.Name)+"/") {
					files, bytes = files+1, bytes+int64(f.UncompressedSize64)
				}
			}
			wheel.Close()
			// The first module has the work, some 1000 bytes, however small the package is.
			if want := p.Size / 10; files != p.Files || bytes < want*9/10 || bytes > want*11/10+4096 {
				t.Errorf("%s %s: %d files with %d bytes, want %d with %d", p.Name, v.Number, files, bytes, p.Files, want)
			}
		}
	}
}
