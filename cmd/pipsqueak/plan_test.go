package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// planWorld has three functions: two with pandas, one with a package that was never measured.
func planWorld() *world {
	numpy, pandas, plot, odd := core.Package{Name: "numpy", Version: "2"}, core.Package{Name: "pandas", Version: "2.1"}, core.Package{Name: "plot", Version: "3"}, core.Package{Name: "odd", Version: "1"}
	rt := core.RuntimeID("python3.11")
	return &world{demand: core.Demand{
		Budget: 1 << 30,
		Functions: []core.FunctionDemand{
			{Name: "chart", Runtime: rt, Packages: core.NewSet(numpy, pandas, plot), Use: 2},
			{Name: "odd", Runtime: rt, Packages: core.NewSet(odd), Use: 2},
			{Name: "report", Runtime: rt, Packages: core.NewSet(numpy, pandas), Use: 8},
		},
		Packages: []core.PackageCost{
			{Package: numpy, Runtime: rt, Took: 50 * time.Millisecond, Bytes: 4 << 20},
			{Package: pandas, Runtime: rt, Took: 250 * time.Millisecond, Bytes: 9 << 20, Requires: []string{"numpy"}},
			{Package: plot, Runtime: rt, Took: 350 * time.Millisecond, Bytes: 120 << 20, Requires: []string{"numpy"}},
			{Package: odd, Runtime: rt, Bytes: 1 << 20},
		},
	}}
}

func TestPlanCommand(t *testing.T) {
	pipsqueak(t, planWorld(), "", "plan", "--budget", "20M").want(t, 0, `1 zygote, 15.0 MiB of 20.0 MiB; a start imports 58ms on average, without zygotes 308ms
ZYGOTE  RUNTIME     SET             MEMORY    SAVES  TOTAL   FUNCTIONS
0       python3.11  {numpy pandas}  15.0 MiB  300ms  2.998s  2
`, "")
	pipsqueak(t, planWorld(), "", "plan", "--budget", "20M", "--why", "chart").want(t, 0, `chart starts from zygote 0, which saves 300ms of each start: pandas==2.1
    (250ms), numpy==2 (50ms)
it imports 350ms itself: plot==3 (350ms)
with 100.0 MiB more it would import 350ms, and a start of any function 58ms on
    average instead of 58ms
`, "")
	got := pipsqueak(t, planWorld(), "", "plan", "--budget", "60M", "--why", "chart")
	if !strings.HasSuffix(got.out, "it would import 0s, and a start of any function 0s on\n    average instead of 58ms\n") {
		t.Errorf("what 100 MiB buy: %+v", got)
	}
	pipsqueak(t, planWorld(), "", "plan", "--why", "odd").want(t, 0, `odd starts from the root zygote
it imports 0s itself: odd==1 (not measured)
with 100.0 MiB more it would import 0s, and a start of any function 0s on
    average instead of 0s
`, "")
	got = pipsqueak(t, planWorld(), "", "plan", "--why", "reprot")
	if got.status != 1 || !strings.Contains(got.err, `the plan has no function "reprot"; did you mean`) {
		t.Errorf("%+v", got)
	}
	pipsqueak(t, &world{}, "", "plan").want(t, 0, "0 zygotes, 0 B of 0 B; a start imports 0s on average, without zygotes 0s\n", "")
}

func TestPlanOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	printed := pipsqueak(t, planWorld(), "", "plan", "--out", file, "-o", "json")
	text, err := os.ReadFile(file)
	coretest.Must(t, err)
	var made treePlan
	coretest.Must(t, json.Unmarshal(text, &made))
	if printed.status != 0 || printed.out != string(text) || made.Budget != 512<<20 || len(made.Zygotes) != 2 || made.Zygotes[1].Parent != 0 || len(made.Functions) != 3 || made.Functions[0].From != 1 {
		t.Errorf("%+v, in the file %s", printed, text)
	}
	got := pipsqueak(t, planWorld(), "", "plan", "--out", filepath.Join(file, "below"))
	if got.status != 1 || !strings.Contains(got.err, "cannot write") {
		t.Errorf("%+v", got)
	}
}

// A trace has the starts, and nothing else, of the functions that are deployed.
func TestPlanTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	const log = `time=2026-01-02T03:04:05.000Z level=INFO msg=event fn=chart version=3 request=36ce start=fork took=4.1ms kind=ok status=200 in=19 out=412
time=2026-01-02T03:04:05.000Z level=INFO msg=event fn=chart version=3 request=36cf start=cold took=4.1ms kind=ok status=200 in=19 out=412
time=2026-01-02T03:04:06.000Z level=INFO msg=event fn=report version=3 request=36d0 start=warm took=4.1ms kind=ok status=200 in=19 out=412
time=2026-01-02T03:04:06.000Z level=INFO msg=event fn=gone version=1 request=36d1 start=fork took=4.1ms kind=ok status=200 in=19 out=412
time=2026-01-02T03:04:06.000Z level=WARN msg=deploy fn=report start=fork kind=invalid err="…"
`
	coretest.Must(t, os.WriteFile(file, []byte(log), 0o600))
	got := pipsqueak(t, planWorld(), "", "plan", "--trace", file, "-o", "json")
	var made treePlan
	coretest.Must(t, json.Unmarshal([]byte(got.out), &made))
	if len(made.Functions) != 1 || made.Functions[0].Name != "chart" || made.Functions[0].Count != 2 || got.err != "not deployed: 1 function of the trace\n" {
		t.Errorf("%+v", got)
	}
	coretest.Must(t, os.WriteFile(file, []byte("nothing\n"), 0o600))
	for _, wrong := range []string{file, file + ".not"} {
		if got := pipsqueak(t, planWorld(), "", "plan", "--trace", wrong); got.status != 1 || !strings.Contains(got.err, "trace") && !strings.Contains(got.err, "serve --events") {
			t.Errorf("%s: %+v", wrong, got)
		}
	}
}
