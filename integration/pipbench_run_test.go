package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does pipbench measure Pipsqueak, and new processes, with every answer right? Do artificial functions answer
// what they have to?

// measured is what a test reads of a request in a file of results.
type measured struct {
	Function, Language, Start, Error string
	Latency                          float64 `json:"latency_ms"`
	Phases                           map[string]float64
}

// requestsIn are the requests in a file of results, and whether the run has ended.
func requestsIn(t *testing.T, path string) (all []measured, ended bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	coretest.Must(t, err)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var line struct {
			Request *measured
			Ended   *string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if line.Request != nil {
			all = append(all, *line.Request)
		}
		ended = ended || line.Ended != nil
	}
	return all, ended
}

// TestPipbenchRun makes packages, functions and a trace in four languages, and runs it on a worker and as new
// processes.
func TestPipbenchRun(t *testing.T) {
	rubySystem(t)
	program := filepath.Join(programs(t), "pipbench")
	dir := filepath.Join(t.TempDir(), "bench")
	for _, language := range []string{"python", "node", "ruby", "native"} {
		succeed(t, program, "packages", "--language", language, "--count", "30", "--seed", "3", "--scale", "0.001", "--out", dir)
	}
	functions := functionsOf(t, dir, "--count", "2", "--seed", "23") // which need no more packages than it takes
	w := workerOf(t, dir)
	trace := filepath.Join(dir, "trace.jsonl")
	succeed(t, program, "trace", dir, "--model", "poisson", "--rate", "4", "--duration", "10s", "--out", trace)
	for target, flags := range map[string][]string{"pipsqueak": {"--server", w.url}, "command": {"--closed", "1"}} {
		t.Run(target, func(t *testing.T) {
			out := filepath.Join(dir, target+".jsonl")
			succeed(t, program, append([]string{"run", dir, "--target", target, "--trace", trace, "--out", out}, flags...)...)
			requests, ended := requestsIn(t, out)
			if len(requests) < 20 || !ended {
				t.Fatalf("%d requests", len(requests))
			}
			languages := map[string]int{}
			for _, q := range requests {
				languages[q.Language]++
				isStart := q.Start == "process"
				if target == "pipsqueak" {
					isStart = (q.Start == "warm" || q.Start == "fork" || q.Start == "cold") && q.Phases["total"] > 0 && q.Phases["total"] <= q.Latency
				}
				if q.Error != "" || q.Latency <= 0 || !isStart {
					t.Errorf("%+v", q)
				}
			}
			if len(languages) != 4 {
				t.Errorf("requests are of %v", languages)
			}
		})
	}
	brings := map[string]bool{}
	for _, f := range functions {
		brings[f.Language] = brings[f.Language] || f.Closure > len(f.Packages)
		if len(f.Packages) < 2 {
			t.Errorf("%s requires %d packages", f.Name, len(f.Packages))
		}
		for _, nonce := range []string{"a", "zz9Z", "a"} {
			got := w.run(t, f.Name, `{"nonce":"`+nonce+`","cpu_ms":2,"wait_ms":1.5,"memory":100000}`)
			if body := strings.ReplaceAll(strings.TrimSpace(string(got.body)), " ", ""); got.status != 200 || body != f.want(nonce) {
				t.Errorf("%s answers %q with %v, want %s", f.Name, nonce, got, f.want(nonce))
			}
		}
	}
	for language, does := range brings {
		if !does {
			t.Errorf("no function in %s has a package that another one requires", language)
		}
	}
}
