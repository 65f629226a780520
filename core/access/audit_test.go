package access

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// entries returns the lines of an audit log, each of which has to be JSON.
func entries(t *testing.T, path string) (all []Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

func openAudit(t *testing.T, data string) (*Audit, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	a := OpenAudit(data, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { a.Close() })
	return a, &log
}

func TestAudit(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(data, auditFile)
	a, log := openAudit(t, data)
	caller := Operator(1000)
	caller.Request = "r1"
	a.Write(caller, "deploy", "f\n", core.Errorf(core.KindConflict, core.FaultCaller, "no\nway"))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	all := entries(t, path)
	if len(all) != 1 || all[0].Who != "uid 1000" || all[0].Request != "r1" || all[0].Action != "deploy" || all[0].Outcome != "conflict" || all[0].Error != "no\nway" || all[0].Time.IsZero() {
		t.Errorf("%+v", all)
	}

	// logrotate renames it, or empties it.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	a.Write(caller, "two", nil, nil)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	a.Write(caller, "three", nil, nil)
	if all := entries(t, path); len(all) != 1 || all[0].Action != "three" || all[0].Outcome != "ok" || len(entries(t, path+".1")) != 1 {
		t.Errorf("after a rotation: %+v", all)
	}

	// A worker that was killed has left half a line.
	a.Close()
	if err := os.WriteFile(path, []byte(`{"time"`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Write(caller, "four", nil, nil)
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "{\"time\"\n{") || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%v, %s", err, text)
	}
	if log.Len() != 0 {
		t.Errorf("the log says %s", log)
	}
}

func TestAuditOfManyAtOnce(t *testing.T) {
	data := t.TempDir()
	a, _ := openAudit(t, data)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { a.Write(Anyone(), "deploy", strings.Repeat("x", 10_000), nil) })
	}
	all.Wait()
	if n := len(entries(t, filepath.Join(data, auditFile))); n != 50 {
		t.Errorf("%d lines", n)
	}
}

// On a full disk the line is in the worker's log.
func TestAuditOnAFullDisk(t *testing.T) {
	data := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(data, auditFile)); err != nil {
		t.Fatal(err)
	}
	a, log := openAudit(t, data)
	a.Write(Operator(0), "remove", "f", nil)
	if !strings.Contains(log.String(), "msg=audit") || !strings.Contains(log.String(), "no space left") || !strings.Contains(log.String(), `\"action\":\"remove\"`) {
		t.Errorf("the log says %s", log)
	}
}
