package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

func TestInvoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	for _, test := range []struct {
		piped bool
		args  []string
		out   string
	}{
		{false, nil, "{}\n"},
		{false, []string{"-d", `[1, 2]`}, "[1, 2]\n"},
		{false, []string{`[1, 2]`}, "[1, 2]\n"},
		{false, []string{"-d", "@" + file}, `{"from":"file"}` + "\n"},
		{false, []string{"@event.json"}, `{"from":"file"}` + "\n"},
		{false, []string{"-d", "-"}, `"typed"` + "\n"},
		{false, []string{"-"}, `"typed"` + "\n"},
		{true, nil, `"typed"` + "\n"},
		{true, []string{"1"}, "1\n"},
		{true, []string{"-d", ""}, "{}\n"},
	} {
		server := serving(newWorld().service())
		runAt(t.Context(), &program{piped: test.piped}, server.URL, `"typed"`+"\n", append([]string{"invoke", "hello"}, test.args...)...).want(t, 0, test.out, "")
		server.Close()
	}
	if got := pipsqueak(t, newWorld(), "", "invoke", "hello", "event.json"); got.status != 1 || !strings.Contains(got.err, "@event.json sends what is in it") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "invoke", "hello", "1", "-d", "2"); got.status != 2 || !strings.Contains(got.err, "leave one out") {
		t.Errorf("%+v", got)
	}
}

// slow is an input that nobody types into for a while.
type slow struct{ text io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(1100 * time.Millisecond)
	return s.text.Read(p)
}

// TestInvokeWaits says that it waits for an event, so that nobody waits for it.
func TestInvokeWaits(t *testing.T) {
	var said bytes.Buffer
	p := program{in: slow{strings.NewReader("7")}, err: &said}
	if event, err := p.event("-"); err != nil || string(event) != "7" || !strings.Contains(said.String(), "waiting for the event") {
		t.Errorf("%q, %v, said %q", event, err, said.String())
	}
}

func TestInvokeShowsPhases(t *testing.T) {
	got := pipsqueak(t, newWorld(), "", "invoke", "hello", "-v")
	request, rest, _ := strings.Cut(got.err, "\n")
	if !strings.HasPrefix(request, "request  ") {
		t.Errorf("%q", request)
	}
	got.err = rest
	got.want(t, 0, "{}\n", `start    fork
fork     1.234 ms
handler  0.076 ms
total    1.500 ms
`)
	got = pipsqueak(t, newWorld(), "", "invoke", "hello", "-o", "json")
	var i client.Answer
	if err := json.Unmarshal([]byte(got.out), &i); err != nil || i.Start != core.StartFork || string(i.Result) != "{}" ||
		len(i.Phases) != 3 || i.Phases[0] != (client.Phase{Name: "fork", Ms: 1.234}) {
		t.Errorf("%+v", got)
	}
}

func TestInvokeFails(t *testing.T) {
	w := newWorld()
	w.invoke = func(core.Invocation) (core.Result, error) {
		e := core.Errorf(core.KindException, core.FaultHandler, "the handler of hello raised")
		e.Exception = &core.Exception{Type: "ValueError", Message: "no", Stack: []string{"handler.py:3 in handler", "  raise ValueError('no')\n"},
			Notes: []string{"look there"}, Causes: []core.Cause{{Relation: core.RelationCause, Exception: core.Exception{Type: "KeyError", Message: "'x'", Stack: []string{"handler.py:1"}}}}}
		return core.Result{}, e
	}
	got := pipsqueak(t, w, "", "invoke", "hello")
	got.err = regexp.MustCompile("--request [0-9a-f]{32}'").ReplaceAllString(got.err, "--request ID'")
	got.want(t, 1, "", `pipsqueak: the handler of hello raised
  handler.py:3 in handler
    raise ValueError('no')
ValueError: no
  note: look there
  caused by KeyError: 'x'
      handler.py:1
Run 'pipsqueak logs hello --request ID' for what it printed.
`)
	got = pipsqueak(t, newWorld(), "", "invoke", "hello", "-d", "{")
	if got.status != 1 || !strings.Contains(got.err, "the event is not JSON") || strings.Contains(got.err, "logs") {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), strings.Repeat("1", core.MaxEvent+5), "invoke", "hello", "-d", "-", "-v")
	if got.status != 1 || !strings.Contains(got.err, "the event is over") {
		t.Errorf("%+v", got)
	}
}
