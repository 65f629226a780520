package main

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestList(t *testing.T) {
	pipsqueak(t, newWorld(), "", "list").want(t, 0, ``+
		`NAME    VERSION  RUNTIME     PACKAGES  DEPLOYED  VULNERABLE
hello   1        python3.11  0         1h ago    -
report  3        python3.11  2         3d ago    high
`, "")
	w := newWorld()
	w.functions[0].Application, w.functions[1].Vulnerable = "shop", ""
	pipsqueak(t, w, "", "list").want(t, 0, ``+
		`NAME    APPLICATION  VERSION  RUNTIME     PACKAGES  DEPLOYED
hello   shop         1        python3.11  0         1h ago
report  -            3        python3.11  2         3d ago
`, "")
	pipsqueak(t, &world{}, "", "list").want(t, 0, "", "No functions yet; deploy one with 'pipsqueak deploy DIR'.\n")
	pipsqueak(t, &world{}, "", "list", "-o", "json").want(t, 0, "[]\n", "")
}

// A variable has one line, whatever is in it: who sets it adds no other.
func TestOneLineEach(t *testing.T) {
	w := newWorld()
	w.functions[0].EnvSet = map[string]string{"A": "x\nB  forged\tenv set\r\v\f", "C": "y"}
	pipsqueak(t, w, "", "env", "list", "hello").want(t, 0, ``+
		`NAME  VALUE                        FROM
A     x\nB  forged\tenv set\r\v\f  env set
C     y                            env set
`, "")
	if got := pipsqueak(t, w, "", "describe", "hello"); !strings.Contains(got.out, `A=x\nB  forged`) {
		t.Error(got.out)
	}
}

// TestFits looks at the longest names on a terminal, which has 80 columns, and elsewhere, where nothing is
// shortened.
func TestFits(t *testing.T) {
	w, long := newWorld(), strings.Repeat("very-long-name-", 4)
	for i := range w.functions {
		w.functions[i].Name, w.functions[i].Application = long+w.functions[i].Name, long
		w.functions[i].Apart = map[string]string{"seaborn": "seaborn imports matplotlib, which reads MPLBACKEND when it is imported, which is set for this function"}
	}
	for i := range w.tree.Nodes {
		w.tree.Nodes[i].Function = long
		w.tree.Nodes[i].Apart = w.functions[0].Apart
	}
	for _, command := range []string{"list", "tree"} {
		server := serving(w.service())
		got := runAt(t.Context(), &program{}, server.URL, "", command)
		for line := range strings.Lines(got.out) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: a line of %d: %s", command, n, line)
			}
		}
		if got := runAt(t.Context(), &program{wide: true}, server.URL, "", command); !strings.Contains(got.out, long) {
			t.Errorf("%s in a pipe: %s", command, got.out)
		}
		server.Close()
	}
}

func TestDescribe(t *testing.T) {
	pipsqueak(t, newWorld(), "", "describe", "report").want(t, 0, `name          report
version       3
runtime       python3.11
handler       f.f
deployed      Tue 30 Dec 2025 12:00:00 UTC, 3d ago
code          sha256:aa11
memory        256.0 MiB
timeout       1m30s
instances     at most 100
idle timeout  5m
reuse         no: every event gets a fresh instance
network       egress
ready         not to fork: pandas starts 2 threads at import
signed by     96e8, ab67
env           LEVEL=2
              MODE=fast
egress        api.example.com:443
              10.2.0.0/16:5432
routes        GET /reports/{id}
              ANY example.com/report
cors          pages of https://app.example.com may send GET, POST
              with cookies
              with the headers x-token
              and read the headers x-total
              which they may remember for 10m
imports       pandas
loaded        numpy.fft
apart         pandas: pandas starts 2 threads at import
vulnerable    pandas==2.1.0: CVE-1 (GHSA-1), high 7.5, fixed in 2.1.1
              numpy==1.26.4: CVE-2, unknown severity, no fix known
unchecked     six==1

PACKAGE
numpy==1.26.4
pandas==2.1.0
`, "")
	w := newWorld()
	w.functions[0].Application = "shop"
	pipsqueak(t, w, "", "describe", "shop").want(t, 0, `application  shop

NAME   VERSION  RUNTIME     PACKAGES  DEPLOYED
hello  1        python3.11  0         1h ago
`, "")
	got := pipsqueak(t, newWorld(), "", "describe", "../x")
	if got.status != 1 || !strings.Contains(got.err, `the name "../x"`) {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), "", "describe", "nobody")
	if got.status != 1 || !strings.HasPrefix(got.err, `pipsqueak: there is no function "nobody"`) {
		t.Errorf("%+v", got)
	}
}

func TestTree(t *testing.T) {
	pipsqueak(t, newWorld(), "", "tree").want(t, 0, `2 zygotes, 4 instances, 84.0 MiB of 2.0 GiB
driver ruby: it is being restarted
NODE                              STATE     MEMORY    PRIVATE   SERVED     AGE
n1        python3.11              ready     9.0 MiB   1.0 MiB   2 forks    3h
├─ n2     {numpy pandas pytz +2}  ready     60.0 MiB  50.0 MiB  7 forks    1h
│  ├─ n4  report                  busy (3)  6.0 MiB   5.0 MiB   12 events  1m
│  └─ n5  report                  idle      -         -         0 events   0s
└─ n3     hello                   idle      3.0 MiB   900 B     1 event    2s
n9        lost                    idle      -         -         0 events   0s
`, "")
	pipsqueak(t, &world{}, "", "tree").want(t, 0, "0 zygotes, 0 instances, 0 B of 0 B\n", "")
	a, b := pipsqueak(t, newWorld(), "", "tree", "--json"), pipsqueak(t, newWorld(), "", "tree", "-o", "json")
	if a.status != 0 || a.out != b.out || !strings.Contains(a.out, `"version": "2.1.0"`) {
		t.Errorf("%+v", a)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld()
	pipsqueak(t, w, "", "remove", "hello").want(t, 0, "removed hello\n", "")
	if len(w.removed) != 1 || w.removed[0] != "hello" {
		t.Errorf("removed %v", w.removed)
	}
	w.functions[0].Application, w.functions[1].Application = "shop", "shop"
	pipsqueak(t, w, "", "remove", "shop").want(t, 0, "removed hello, report of the application shop\n", "")
	pipsqueak(t, w, "", "remove", "nobody").want(t, 1, "", "pipsqueak: there is no function \"nobody\"\n")
}

func TestLogs(t *testing.T) {
	pipsqueak(t, newWorld(), "", "logs", "hello").want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
	got := pipsqueak(t, newWorld(), "", "logs", "hello", "-o", "json")
	if got.status != 0 || !strings.HasPrefix(got.out, `{"time":`) {
		t.Errorf("%+v", got)
	}
}

func TestLogsAsked(t *testing.T) {
	for _, test := range []struct {
		args string
		want core.LogQuery
	}{
		{"", core.LogQuery{Tail: core.AllLines}},
		{"--tail 0", core.LogQuery{}},
		{"--tail 7 --errors", core.LogQuery{Tail: 7, Errors: true}},
		{"--request a&b=c --since 2026-01-02T03:04:05.5+01:00", core.LogQuery{Tail: core.AllLines, Request: "a&b=c", Since: time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC)}},
	} {
		w := newWorld()
		pipsqueak(t, w, "", append([]string{"logs", "hello"}, strings.Fields(test.args)...)...).want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
		if !reflect.DeepEqual(w.asked, test.want) {
			t.Errorf("%s: %+v", test.args, w.asked)
		}
	}
	w := newWorld()
	pipsqueak(t, w, "", "logs", "hello", "--since", "2d")
	if want := time.Date(2025, 12, 31, 12, 0, 0, 0, time.UTC); !w.asked.Since.Equal(want) { // it is the second of January
		t.Errorf("2d ago is %v", w.asked.Since)
	}
	for _, args := range []string{"--since yesterday", "--since -5m", "--tail few", "--tail -3"} {
		if got := pipsqueak(t, newWorld(), "", append([]string{"logs", "hello"}, strings.Fields(args)...)...); got.status == 0 || got.out != "" || !strings.Contains(got.err, strings.Fields(args)[1]) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestLogsFollowUntilInterrupted(t *testing.T) {
	server := serving(newWorld().service())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runTelling(ctx, &program{}, func(string) { cancel() }, server.URL, "", "logs", "hello", "-f").want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
}

// TestShortSet: a zygote without packages is not drawn as one that has imported nothing.
func TestShortSet(t *testing.T) {
	set := core.NewSet(core.Package{Name: "numpy"}, core.Package{Name: "pandas"}, core.Package{Name: "python-dateutil"})
	modules := []string{"json", "urllib.request", "xml"}
	for want, n := range map[string]core.NodeInfo{
		"{numpy pandas +1}":          {Set: set, Modules: modules},
		"{json urllib.request +1}":   {Modules: modules},
		"{a.module.of.a.long.name}":  {Modules: []string{"a.module.of.a.long.name"}},
		"{a.module.of.a.long.na +1}": {Modules: []string{"a.module.of.a.long.na", "b"}},
	} {
		if got := shortSet(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
