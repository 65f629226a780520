package coldstart

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestCells checks that the functions of all languages differ in nothing but the language.
func TestCells(t *testing.T) {
	for _, language := range profile.Languages {
		p, err := profile.Shipped(language)
		coretest.Must(t, err)
		c := catalog(p)
		all := cells(language, false)
		if len(all) != 10 || len(cells(language, true)) != 3 {
			t.Errorf("%d cells, %d if there are few", len(all), len(cells(language, true)))
		}
		costs := map[string]float64{}
		for _, cell := range all {
			f := cell.build(c)
			if len(f.Packages) != cell.Count || f.Closure != cell.Count || len(f.Values) != 16*cell.Count || f.Language != language {
				t.Errorf("%s: %+v", cell.Name(), f)
			}
			if cell.Count == 20 {
				costs[cell.Cost] = f.Import
			}
		}
		if !(costs["light"] < costs["median"] && costs["median"] < costs["heavy"]) {
			t.Errorf("%s: 20 packages cost %v", language, costs)
		}
	}
}

func TestKinds(t *testing.T) {
	phases := func(names ...string) map[string]float64 {
		all := map[string]float64{"total": 3}
		for _, name := range names {
			all[name] = 1
		}
		return all
	}
	for _, c := range []struct {
		a     run.Answer
		roots bool
		want  Kind
	}{
		{run.Answer{Start: "cold", Phases: phases("preload", "sandbox", "fork", "import")}, true, Sandbox},
		{run.Answer{Start: "cold", Phases: phases("sandbox", "fork", "import")}, true, Root},
		{run.Answer{Start: "fork", Phases: phases("sandbox", "fork", "import")}, true, Root}, // without packages
		{run.Answer{Start: "fork", Phases: phases("sandbox", "fork", "import")}, false, Zygote},
		{run.Answer{Start: "fork", Phases: phases("import")}, false, Parked},
		{run.Answer{Start: "warm", Phases: phases("handler")}, false, Warm},
		{run.Answer{Start: "cold", Phases: phases("fork", "import")}, false, ""},
	} {
		of := ofZygote
		if c.roots {
			of = ofRoot
		}
		if got := of(c.a); got != c.want {
			t.Errorf("%+v is %q, want %q", c.a, got, c.want)
		}
	}
}

// TestPrepare writes packages and functions once, and each function a second time, to have an instance for
// each event.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	all := cells("python", true)
	for range 2 {
		found, err := prepare(t.Context(), dir, all)
		coretest.Must(t, err)
		f := found[Cell{"python", 5, "median"}]
		for name, is := range map[string]bool{f.Name: false, fresh(f).Name: true} {
			text, err := os.ReadFile(filepath.Join(dir, "functions", name, "pipsqueak.yaml"))
			coretest.Must(t, err)
			if strings.Contains(string(text), "reuse: false") != is {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	catalogs, err := packages.Open(dir)
	coretest.Must(t, err)
	if len(catalogs) != 1 || len(catalogs[0].Packages) != 60 {
		t.Errorf("%+v", catalogs)
	}
}

// samples are starts of two languages: what a process takes, and a fifth of that.
func samples() (all []Sample) {
	for _, language := range []string{"python", "ruby"} {
		for _, c := range []Cell{{language, 5, "median"}, {Language: language}} {
			for i := range 9 {
				all = append(all, Sample{Language: language, Count: c.Count, Cost: c.Cost, Kind: Process, Ms: float64(10 + i)},
					Sample{Language: language, Count: c.Count, Cost: c.Cost, Kind: Zygote, Ms: float64(10+i) / 5})
			}
		}
	}
	return all
}

// TestWrite writes tables and figures of what was measured.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	rows := Rows(samples())
	coretest.Must(t, Write(rows, dir))
	for name, want := range map[string]string{
		"starts.md":  "## python\n\n| packages | new process | new sandbox | fork from the root | fork from a full zygote | parked child | warm |\n|---|---|---|---|---|---|---|\n| 0 | 14 | – | – | 2.8 | – | – |\n| 5 median | 14 |",
		"starts.csv": "\nruby,5,median,fork from a full zygote,9,2.8,",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		coretest.Must(t, err)
		if !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q:\n%s", name, want, text)
		}
	}
	for _, name := range []string{"start-python", "start-ruby", "start-languages"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".svg"))
		coretest.Must(t, err)
		if len(text) > 200<<10 || !strings.Contains(string(text), ">fork from a full zygote</text>") || strings.Contains(string(text), ">parked child</text>") {
			t.Errorf("%s: %d bytes", name, len(text))
		}
		for decoder := xml.NewDecoder(strings.NewReader(string(text))); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// TestLittle has one start, which has no median: there is a table, and no figure.
func TestLittle(t *testing.T) {
	dir := t.TempDir()
	coretest.Must(t, Write(Rows(samples()[:1]), dir))
	if figures, err := filepath.Glob(dir + "/*.svg"); err != nil || figures != nil {
		t.Errorf("%q, %v", figures, err)
	}
}

// TestOpen goes on after an interruption: a line that was cut off does not count, and one that is none is an
// error.
func TestOpen(t *testing.T) {
	s := &study{Options: Options{Out: t.TempDir(), Starts: 20}, have: map[Cell]map[Kind]int{}}
	path := filepath.Join(s.Out, "starts.jsonl")
	line := `{"language":"node","packages":5,"cost":"median","kind":"warm","ms":1.5}` + "\n"
	coretest.Must(t, os.WriteFile(path, []byte(line+line+line[:20]), 0o644))
	coretest.Must(t, s.open())
	coretest.Must(t, s.file.Close())
	text, err := os.ReadFile(path)
	c := Cell{"node", 5, "median"}
	if err != nil || string(text) != line+line || s.have[c][Warm] != 2 || !s.lacks(c, Warm) || s.wanted(Sandbox) != 5 {
		t.Errorf("%v, %q, %v", err, text, s.have)
	}
	coretest.Must(t, os.WriteFile(path, []byte(line+"{\n"), 0o644))
	if err := s.open(); err == nil || !strings.Contains(err.Error(), "starts.jsonl: line 2: ") {
		t.Errorf("a line that is none: %v", err)
	}
}
