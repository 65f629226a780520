package drivertest

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// Lines is a program that answers each line of its input with a line, both JSON: a part of a driver that a
// fuzz target calls often.
type Lines struct {
	requests *json.Encoder
	answers  *bufio.Reader
}

// StartLines starts a program, which lives as long as the test's process. Its standard error is the test's.
func StartLines(t testing.TB, program string, argv ...string) *Lines {
	t.Helper()
	cmd := exec.Command(program, argv...)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &Lines{json.NewEncoder(input), bufio.NewReader(output)}
}

// Ask has the program answer a request.
func (l *Lines) Ask(t testing.TB, request, answer any) {
	t.Helper()
	if err := l.requests.Encode(request); err != nil {
		t.Fatalf("the program has ended: %v", err)
	}
	line, err := l.answers.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the program ended without an answer to %.1000q: %v", request, err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		t.Fatalf("the program answers %.1000q: %v", line, err)
	}
}
