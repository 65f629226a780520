package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// Each failed event is one line in the worker's log and one in the function's, and a flood of refusals is not
// one of lines.
func TestFailed(t *testing.T) {
	var log bytes.Buffer
	r := &reports{log: slog.New(slog.NewTextHandler(&log, nil)), logs: openTestLogs(t, t.TempDir()), secrets: new(secrets)}
	fn := &core.Function{Name: "f", Version: 2}
	raised := core.Errorf(core.KindException, core.FaultHandler, "the handler raised E: %s", strings.Repeat("secret", 10000))
	raised.Exception = &core.Exception{Type: "E", Message: strings.Repeat("secret", 10000), Stack: []string{"a.x:1"}}
	r.failed(fn, core.Invocation{ID: "r1"}, "n1", raised)
	r.failed(fn, core.Invocation{ID: "r2"}, "", core.Errorf(core.KindUnavailable, core.FaultWorker, "not now"))
	for i := range 1000 {
		r.failed(fn, core.Invocation{ID: fmt.Sprint("full", i)}, "", core.Errorf(core.KindExhausted, core.FaultCaller, "all are busy"))
	}
	told := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, want := range []string{
		"level=WARN msg=invoke fn=f version=2 request=r1 kind=exception fault=handler node=n1",
		`level=WARN msg=invoke fn=f version=2 request=r2 kind=unavailable fault=worker err="not now"`,
		`level=WARN msg=invoke fn=f version=2 request=full0 kind=exhausted fault=caller err="all are busy"`,
	} {
		if len(told) != 3 || !strings.HasSuffix(told[i], want) {
			t.Fatalf("%.1000q", told)
		}
	}
	lines := r.logs.lines(t, 2)
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, id := range []string{"r1", "r2", "full0"} {
		if l := lines[i]; l.Request != id || l.Stream != "worker" || l.Function != "f" || l.Time.IsZero() || l.Failure == nil || len(l.Text) > maxLine+100 {
			t.Errorf("%.300v", l)
		}
	}
	if x := lines[0].Failure.Exception; lines[0].Node != "n1" || x == nil || x.Type != "E" || len(x.Stack) != 1 || len(x.Message) > 10000 || !strings.Contains(x.Message, "bytes left out") {
		t.Errorf("%.300v", x)
	}
	r.logs.of("f", 2).refused = lines[2].Time.Add(-refusalRest)
	r.failed(fn, core.Invocation{ID: "later"}, "", core.Errorf(core.KindExhausted, core.FaultCaller, "all are busy"))
	if last := r.logs.lines(t, 2)[3]; last.Text != "all are busy (and 999 events more were refused since the last such line)" {
		t.Errorf("%+v", last)
	}
	r.failed(fn, core.Invocation{ID: "ended"}, "", core.Errorf(core.KindExit, core.FaultHandler, "it ended with code 1%s", core.SeeLogs))
	if last := r.logs.lines(t, 2)[4]; last.Text != "it ended with code 1" {
		t.Errorf("the log says where to look: %q", last.Text)
	}
	r.logs.remove("f", 2)
	r.failed(fn, core.Invocation{ID: "gone"}, "", raised)
	if !strings.Contains(log.String(), "request=gone") {
		t.Error("nothing is told of an event of a function that was removed")
	}
}

// An instance that was ended for what its handler has left behind is told of in both logs, as no failure.
func TestRetired(t *testing.T) {
	var log bytes.Buffer
	r := &reports{log: slog.New(slog.NewTextHandler(&log, nil)), logs: openTestLogs(t, t.TempDir()), secrets: new(secrets)}
	fn := &core.Function{Name: "f", Version: 2}
	r.retired(fn, core.Invocation{ID: "r1"}, "n1", "zombies")
	if want := "level=INFO msg=evict fn=f version=2 request=r1 node=n1 err=zombies\n"; !strings.HasSuffix(log.String(), want) {
		t.Errorf("%q", log.String())
	}
	lines := r.logs.lines(t, 2)
	if len(lines) != 1 {
		t.Fatalf("%v", lines)
	}
	if l := lines[0]; l.Request != "r1" || l.Node != "n1" || l.Stream != "worker" || l.Failure != nil || l.Text != "the instance was ended after this event: zombies" {
		t.Errorf("%+v", l)
	}
	r.logs.remove("f", 2)
	r.retired(fn, core.Invocation{ID: "gone"}, "n1", "zombies")
}

// deployed returns a worker of nothing but a log, functions and their logs.
func deployed(t *testing.T, log io.Writer, functions ...core.Function) *Worker {
	t.Helper()
	kept, _, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &Worker{log: slog.New(slog.NewTextHandler(log, nil)), store: kept, logs: openTestLogs(t, t.TempDir()),
		counts: &counts{there: func(string) bool { return true }}, namespaces: &namespaces{store: kept}, secrets: new(secrets)}
	w.reports = &reports{log: w.log, logs: w.logs, secrets: w.secrets, counts: w.counts}
	w.supply = supply.New(supply.Config{Log: w.log, Store: kept, Live: live{w}})
	t.Cleanup(func() {
		w.supply.Close()
		kept.Close()
	})
	staged, err := kept.Stage()
	if err != nil {
		t.Fatal(err)
	}
	code, release, err := kept.CommitCode(staged)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, fn := range functions {
		fn.Code = code
		if err := kept.Put(fn); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// Each failed deploy is one line in the worker's log, and one in that of the function when it is deployed
// already.
func TestRefused(t *testing.T) {
	var log bytes.Buffer
	fn := core.Function{Name: "f", Version: 1, Runtime: "lang1"}
	w := deployed(t, &log, fn)
	deploy := func(name string) {
		t.Helper()
		if _, err := w.supply.Deploy(t.Context(), core.DeployRequest{Name: name, Archive: strings.NewReader("no archive")}, nil); err == nil {
			t.Error("what is no archive was deployed")
		}
	}
	application := func(name, function string, archive io.Reader) {
		t.Helper()
		one := func(yield func(core.DeployRequest, error) bool) {
			yield(core.DeployRequest{Name: function, Archive: archive}, nil)
		}
		if _, err := w.supply.DeployApplication(t.Context(), core.ApplicationRequest{Name: name, Functions: one}, nil); err == nil {
			t.Error("what is no archive was deployed")
		}
	}
	for _, c := range []struct {
		deploy func()
		begins string
	}{
		{func() { deploy("new") }, "level=WARN msg=deploy fn=new kind=invalid fault=caller err="},
		{func() { deploy("") }, "level=WARN msg=deploy kind=invalid fault=caller err="},
		{func() { deploy("f") }, "level=WARN msg=deploy fn=f kind=invalid fault=caller err="},
		{func() { application("a", "g", strings.NewReader("no archive")) },
			`level=WARN msg=deploy application=a fn=g kind=invalid fault=caller err="nothing of the application a has changed, because of its function g: `},
		{func() { application("no\nname", "", nil) }, `level=WARN msg=deploy application="no\nname" kind=invalid fault=caller err=`},
		{func() { application("f", "", nil) }, "level=WARN msg=deploy application=f kind=conflict fault=caller err="},
		{func() { deploy(strings.Repeat("x", 10000)) }, `level=WARN msg=deploy fn="` + strings.Repeat("x", 100) + "… (9900 bytes left out)"},
	} {
		log.Reset()
		c.deploy()
		_, told, _ := strings.Cut(log.String(), " ")
		if !strings.HasPrefix(told, c.begins) || strings.Count(told, "\n") != 1 || len(told) > 1000 {
			t.Errorf("%.1000q, want %q", told, c.begins)
		}
	}
	live{w}.Note(&fn, "a deploy failed: "+strings.Repeat("error\n", 100000))
	lines := w.logs.lines(t, fn.Version)
	if len(lines) != 2 {
		t.Fatalf("%d lines: %.1000v", len(lines), lines)
	}
	for _, l := range lines {
		if l.Function != "f" || l.Stream != "worker" || l.Request != "" || l.Failure != nil || !strings.HasPrefix(l.Text, "a deploy failed: ") || len(l.Text) > maxLine+100 {
			t.Errorf("%.300v", l)
		}
	}
}

func TestLogQuery(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	r := &reports{log: slog.New(slog.DiscardHandler), logs: l, secrets: new(secrets)}
	fn := &core.Function{Name: "f", Version: 1}
	for i := range 10 {
		l.collect(core.SandboxConfig{Function: "f", Version: 1}, "stdout", &script{{fmt.Sprint("r", i%3), fmt.Sprint(i, "\n")}})
		if i == 4 {
			r.failed(fn, core.Invocation{ID: "r1"}, "n", core.Errorf(core.KindTimeout, core.FaultHandler, "four failed"))
			if err := l.of("f", 1).rotate(); err != nil { // what is asked for may be in both files
				t.Fatal(err)
			}
		}
	}
	all := l.lines(t, 1)
	for asked, want := range map[*core.LogQuery]string{
		{Tail: core.AllLines}:                  "0 1 2 3 4 four failed 5 6 7 8 9",
		{Tail: 3}:                              "7 8 9",
		{Tail: 0}:                              "",
		{Tail: 7}:                              "4 four failed 5 6 7 8 9",
		{Tail: 1000}:                           "0 1 2 3 4 four failed 5 6 7 8 9",
		{Tail: core.AllLines, Request: "r1"}:   "1 4 four failed 7",
		{Tail: 2, Request: "r1"}:               "four failed 7",
		{Tail: core.AllLines, Request: "r"}:    "",
		{Tail: core.AllLines, Errors: true}:    "four failed",
		{Tail: 1, Errors: true, Request: "r1"}: "four failed",
		{Tail: core.AllLines, Errors: true, Request: "r2"}:       "",
		{Tail: core.AllLines, Since: all[8].Time}:                "7 8 9",
		{Tail: 1, Since: all[8].Time}:                            "9",
		{Tail: core.AllLines, Since: all[10].Time.Add(1)}:        "",
		{Tail: core.AllLines, Since: all[3].Time, Request: "r0"}: "3 6 9",
	} {
		if got := textsFor(t, l, "f", *asked); got != want {
			t.Errorf("%+v: %q, want %q", *asked, got, want)
		}
	}
}

func textsFor(t *testing.T, l *logs, name string, query core.LogQuery) string {
	t.Helper()
	r, err := l.read(t.Context(), name, 1, query)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var said []string
	for decoder := json.NewDecoder(r); decoder.More(); {
		var line core.LogLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		said = append(said, line.Text)
	}
	return strings.Join(said, " ")
}

// With Follow, Tail is of the lines that are there, and all that are asked for follow.
func TestLogQueryFollow(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	say := func(request, text string) {
		l.collect(core.SandboxConfig{Function: "f", Version: 1}, "stdout", &script{{request, text + "\n"}})
	}
	say("a", "1")
	say("a", "2")
	say("b", "3")
	r, err := l.read(t.Context(), "f", 1, core.LogQuery{Tail: 1, Request: "a", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines := json.NewDecoder(r)
	for _, want := range []string{"2", "4", "6"} {
		var line core.LogLine
		if err := lines.Decode(&line); err != nil || line.Text != want {
			t.Fatalf("%v, want %s; %v", line, want, err)
		}
		say("b", "no")
		say("a", fmt.Sprint(line.Text[0]-'0'+2))
	}
}

// The last lines of an application are the last of all its functions, and with Follow new ones come after
// them.
func TestMergedLogQuery(t *testing.T) {
	w := deployed(t, io.Discard, core.Function{Name: "a", Version: 1}, core.Function{Name: "b", Version: 1})
	say := func(name, text string) {
		w.logs.collect(core.SandboxConfig{Function: name, Version: 1}, "stdout", &script{{"r", text + "\n"}})
	}
	for i, name := range []string{"a", "b", "b", "a", "b"} {
		say(name, fmt.Sprint(i))
	}
	for tail, want := range map[int]string{core.AllLines: "0 1 2 3 4", 0: "", 1: "4", 3: "2 3 4", 9: "0 1 2 3 4"} {
		r, err := logReading{w.logs, w.store, w.supply}.mergedLogs(t.Context(), []string{"a", "b"}, core.LogQuery{Tail: tail})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for decoder := json.NewDecoder(r); decoder.More(); {
			var line core.LogLine
			if err := decoder.Decode(&line); err != nil {
				t.Fatal(err)
			}
			said = append(said, line.Text)
		}
		r.Close()
		if got := strings.Join(said, " "); got != want {
			t.Errorf("the last %d: %q, want %q", tail, got, want)
		}
	}
	r, err := logReading{w.logs, w.store, w.supply}.mergedLogs(t.Context(), []string{"a", "b"}, core.LogQuery{Tail: 2, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines := json.NewDecoder(r)
	for i := 3; i < 8; i++ {
		if i > 4 {
			say([]string{"a", "b"}[i%2], fmt.Sprint(i))
		}
		var line core.LogLine
		if err := lines.Decode(&line); err != nil || line.Text != fmt.Sprint(i) {
			t.Fatalf("%v, want %d; %v", line, i, err)
		}
	}
}
