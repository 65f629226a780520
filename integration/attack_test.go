package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Does everything hold, and would it fall without the wall that is said to stop it?

// attacks are all of them.
var attacks = func() []attack {
	all := slices.Concat(insideAttacks, limitAttacks, traceAttacks, []attack{survivorAttack, forgery})
	for i := range outsiders {
		outsiders[i].by = outside
		all = append(all, outsiders[i].attack)
	}
	return all
}()

// TestAttacks tries all attacks, and writes the table to PIPSQUEAK_REPORT. With PIPSQUEAK_WITHOUT it tries
// instead, for that set of walls, or for "all" sets, those that the walls stop, against a build without them:
// all of these have to fall.
func TestAttacks(t *testing.T) {
	if without := os.Getenv("PIPSQUEAK_WITHOUT"); without != "" {
		source := copySource(t)
		for _, set := range sets(attacks) {
			if without == "all" || slices.Contains(strings.Split(without, ","), set) {
				t.Run(set, func(t *testing.T) { source.fall(t, set) })
			}
		}
		return
	}
	a := enter(t, programs(t), func(attack) bool { return true })
	tabulate(t, a.table(attacks))
	for _, one := range attacks {
		fell := a.fell(one)
		for _, where := range fell {
			if one.open == "" {
				t.Errorf("%v got something done: %s", where, a.outcomes[where].how)
			}
		}
		if one.open != "" && len(fell) == 0 && a.tried(one) {
			t.Errorf("%q is closed: %s", one.name, one.open)
		}
	}
}

// fall tries the attacks that a set of walls stops, without them.
func (c copied) fall(t *testing.T, set string) {
	programs, restore := c.without(t, set)
	defer restore()
	stops := func(one attack) bool { return one.walls == set }
	a := enter(t, programs, stops)
	tabulate(t, "without "+set+"\n"+a.table(slices.DeleteFunc(slices.Clone(attacks), func(one attack) bool { return !stops(one) })))
	for where, came := range a.outcomes {
		if !came.fell {
			t.Errorf("without %s it holds all the same, and shows nothing: %+v: %s", set, where, came.how)
		}
	}
}

// tabulate adds a table to the report.
func tabulate(t *testing.T, table string) {
	t.Helper()
	t.Log(table)
	path := os.Getenv("PIPSQUEAK_REPORT")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.WriteString(table + "\n")
		_ = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAttackList holds that each attack says what stops it, in words that mean something, and that each wall
// is where it is said to be.
func TestAttackList(t *testing.T) {
	sources, err := filepath.Glob(filepath.Join("testdata", "attacks", "*.c"))
	if err != nil {
		t.Fatal(err)
	}
	coded, named := map[string]bool{}, map[string]bool{}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^(?:ATTACK|CALL)\(\w+, "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			coded[match[1]] = true
		}
	}
	for _, one := range attacks {
		if named[one.name] {
			t.Errorf("%q is there twice", one.name)
		}
		named[one.name] = true
		if (one.walls == "") == (one.unshown == "") {
			t.Errorf("%q has to say which walls stop it, or why no build can show that", one.name)
		}
		for _, name := range wallsOf(one.walls) {
			if walls[name] == nil {
				t.Errorf("%q: there is no wall %q", one.name, name)
			}
		}
		if one.by != outside && one.name != survivorAttack.name && !coded[one.name] {
			t.Errorf("%q has no code in testdata/attacks", one.name)
		}
	}
	for name := range coded {
		if !named[name] {
			t.Errorf("nobody knows who tries to %s", name)
		}
	}
	of := regexp.MustCompile(`(\d+)\s+(?:attempts at other functions|ways out)`)
	tried := len(slices.DeleteFunc(slices.Clone(attacks), func(one attack) bool { return one.by&packaged == 0 }))
	for name, text := range documents(t) {
		for _, match := range of.FindAllStringSubmatch(text, -1) {
			if match[1] != strconv.Itoa(tried) {
				t.Errorf("%s: packages try %s, and in fact %d", name, match[0], tried)
			}
		}
	}
	if len(attacks) < 120 {
		t.Errorf("%d attacks, and there were 120", len(attacks))
	}
	used := strings.Join(sets(attacks), " + ")
	for name, edits := range walls {
		if !slices.Contains(wallsOf(used), name) {
			t.Errorf("the wall %q stops nothing", name)
		}
		for _, e := range edits {
			text, err := os.ReadFile(filepath.Join(repositoryRoot(t), e.file))
			if err != nil || !strings.Contains(string(text), e.old) {
				t.Errorf("%s, where the wall %q is, has no %q: say how it is taken down now", e.file, name, e.old)
			}
		}
	}
}

// TestWallsComeDown builds the programs without any wall.
func TestWallsComeDown(t *testing.T) {
	copySource(t).without(t, strings.Join(slices.Sorted(maps.Keys(walls)), " + "))
}
