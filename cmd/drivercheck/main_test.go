package main

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func checked(t *testing.T, args ...string) (status int, out, complaints string) {
	t.Helper()
	var o, e strings.Builder
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

// program returns a driver that is built, and the flag with its handlers.
func program(t *testing.T) []string {
	t.Helper()
	path := filepath.Join(cmp.Or(os.Getenv("PIPSQUEAK_BIN"), "../../bin"), "pipsqueak-driver-python")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make build first", err)
	}
	return []string{path, "--handlers", "../../drivers/python/testdata/handlers"}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--report", "html"}, {"a", "--run", "("}, {"--clauses", "a"}, {"--none"}} {
		if status, _, complaints := checked(t, args...); status != exitUsage || !strings.Contains(complaints, "drivercheck --help") {
			t.Errorf("%q: %d, %q", args, status, complaints)
		}
	}
	for _, args := range [][]string{{"/none/pipsqueak-driver-x"}, {os.Args[0]}, {program(t)[0], "--handlers", "/none"}} {
		if status, _, complaints := checked(t, args...); status != exitFailed || !strings.HasPrefix(complaints, "drivercheck: /") {
			t.Errorf("%q: %d, %q", args, status, complaints)
		}
	}
}

func TestClausesAreListed(t *testing.T) {
	status, out, _ := checked(t, "--clauses")
	for _, want := range []string{"C1   ", "start/no-cookie", "C29  ", "no case: it binds the host", "E16  "} {
		if status != exitOK || !strings.Contains(out, want) {
			t.Errorf("--clauses: %d, without %q:\n%s", status, want, out)
		}
	}
}

func TestReports(t *testing.T) {
	args := append(program(t), "--run", "^start/(no-cookie|handshake)$")
	status, out, complaints := checked(t, args...)
	if status != exitOK || !strings.HasPrefix(out, "ok   start/no-cookie") || !strings.Contains(out, "2 cases: 2 ok, 0 failed, 0 skipped") {
		t.Errorf("text: %d %q %q", status, out, complaints)
	}
	_, out, _ = checked(t, append(args, "--report", "json")...)
	var told struct {
		OK    int `json:"ok"`
		Cases []struct {
			Name    string   `json:"name"`
			Clauses []string `json:"clauses"`
			Status  string   `json:"status"`
		} `json:"cases"`
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil || told.OK != 2 || len(told.Cases) != 2 || told.Cases[0].Name != "start/no-cookie" ||
		told.Cases[0].Clauses[0] != "C1" || told.Cases[0].Status != "ok" {
		t.Errorf("json: %v %q", err, out)
	}
	_, out, _ = checked(t, append(args, "--report", "junit")...)
	var suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Cases    []struct {
			Name string `xml:"name,attr"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(out), &suite); err != nil || suite.Tests != 2 || suite.Failures != 0 || len(suite.Cases) != 2 || suite.Cases[0].Name != "no-cookie" {
		t.Errorf("junit: %v %q", err, out)
	}
}

// TestFailureIsTold examines a program that says more than a handshake on stdout, and starts without a
// cookie.
func TestFailureIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipsqueak-driver-chatty")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'hello & <good day>'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{path, "--handlers", program(t)[2], "--run", "^start/no-cookie$"}
	status, out, _ := checked(t, args...)
	for _, want := range []string{"FAIL start/no-cookie", "exits with 0, and not with 1", `says "hello & <good day>\n" on stdout`, "C1 asks: without the cookie"} {
		if status != exitFailed || !strings.Contains(out, want) {
			t.Errorf("%d, without %q: %s", status, want, out)
		}
	}
	_, out, _ = checked(t, append(args, "--report", "junit")...)
	var suite struct {
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Failure struct {
				Message string `xml:"message,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(out), &suite); err != nil || suite.Failures != 1 || !strings.Contains(suite.Cases[0].Failure.Text, "hello & <good day>") {
		t.Errorf("junit: %v %q", err, out)
	}
}
