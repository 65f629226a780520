package conform

import (
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// watchCases are about what core is told of imported code, by which it decides what is in a zygote.
var watchCases = []Case{
	{Name: "import/tells-what-is-looked-for", Clauses: []string{"C44"}, run: importAsks},
	{Name: "import/tells-which-files-are-looked-for", Clauses: []string{"C44"}, run: importLooks},
	{Name: "import/tells-which-variables-are-read", Clauses: []string{"C44"}, Since: 3, run: importReads},
	{Name: "import/packages-are-shared", Clauses: []string{"C44"}, Since: 3, run: importShared},
}

// watched imports a module in a zygote of its own, and returns what the driver reports of it.
func (t *trial) watched(module string) core.Report {
	load := t.load(module)
	load.Watch = true
	r, err := t.shared().Import(t.within(callTime), t.zygote().id, load)
	t.must(err, "Import of %s", module)
	return r
}

// importAsks: a zygote that has looked for a module in vain is kept away from who has it, if the driver
// tells. One that cannot tell says that it may be any.
func importAsks(t *trial) {
	r := t.watched(modAsks)
	if !slices.ContainsFunc(r.Asks, func(name string) bool { return name == core.AnyPackage || strings.Contains(name, missing) }) {
		t.errorf("%s looks for %s when it is imported, and the report has %q, neither that nor %q", modAsks, missing, r.Asks, core.AnyPackage)
	}
	r, err := t.importing(t.zygote(), modAsks)
	if err != nil || len(r.Asks) > 0 || len(r.Reads) > 0 {
		t.errorf("unasked, the report has %q and %q, %v", r.Asks, r.Reads, err)
	}
}

// importLooks: a zygote has nothing in its working directory, so a package that looks for a file there is
// kept away from functions that have it, if the driver tells. One that cannot tell says that it may be any.
func importLooks(t *trial) {
	r, want := t.watched(modAsks), core.InDirectory+missingFile
	if !slices.Contains(r.Asks, want) && !slices.Contains(r.Asks, core.InDirectory) {
		t.errorf("%s looks for the file %s when it is imported, and the report has %q, neither %q nor %q",
			modAsks, missingFile, r.Asks, want, core.InDirectory)
	}
	if slices.Contains(r.Asks, core.Random) {
		t.errorf("%s draws no random numbers when it is imported, and the report has %q", modAsks, r.Asks)
	}
}

// importReads: the same with the variables that a function sets.
func importReads(t *trial) {
	r := t.watched(modAsks)
	if !slices.Contains(r.Reads, missingVariable) && !slices.Contains(r.Reads, core.AllVariables) {
		t.errorf("%s reads the variable %s when it is imported, and the report has %q, neither that nor %q",
			modAsks, missingVariable, r.Reads, core.AllVariables)
	}
}

// importShared: a driver that sees which files code looks at does so in order that packages that look at none
// are shared.
func importShared(t *trial) {
	if slices.Contains(t.watched(modAsks).Asks, core.InDirectory) {
		t.skip("the driver does not see which files code looks at, so no package is in a zygote of a function with files (docs/drivers.md, Make it fast)")
	}
	modules, apart := []string{modA, modB, modWhich}, 0
	for _, m := range modules {
		asks := t.watched(m).Asks
		if i := slices.IndexFunc(asks, func(name string) bool { return core.IsPlace(name) && name != core.Directory && name != core.Arguments }); i >= 0 {
			apart++
			whose := ""
			if strings.HasPrefix(asks[i], core.InDirectory) {
				whose = " of a function that has such a file"
			}
			t.say("%s is in no zygote%s: the report has %q", m, whose, asks[i])
		}
	}
	t.say("%d of %d packages are shared", len(modules)-apart, len(modules))
	if apart == len(modules) {
		t.errorf("%s looks for no file and keeps no id, and yet no package is shared", modWhich)
	}
}
