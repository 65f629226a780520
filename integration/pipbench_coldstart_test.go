package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does pipbench coldstart see starts of every kind?

func TestPipbenchColdstart(t *testing.T) {
	system(t)
	out := filepath.Join(t.TempDir(), "starts")
	succeed(t, filepath.Join(programs(t), "pipbench"), "coldstart", "--out", out, "--language", "native", "--quick", "--starts", "2")
	text, err := os.ReadFile(filepath.Join(out, "starts.jsonl"))
	coretest.Must(t, err)
	seen := map[int]map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var start struct {
			Packages int
			Kind     string
			Ms       float64
		}
		coretest.Must(t, json.Unmarshal(lines.Bytes(), &start))
		if seen[start.Packages] == nil {
			seen[start.Packages] = map[string]float64{}
		}
		seen[start.Packages][start.Kind] = start.Ms
	}
	for _, packages := range []int{0, 1, 5} {
		for _, kind := range []string{"new process", "new sandbox", "fork from the root", "fork from a full zygote", "parked child", "warm"} {
			if seen[packages][kind] <= 0 {
				t.Errorf("%d packages: no start is a %s: %v", packages, kind, seen[packages])
			}
		}
	}
	for _, name := range []string{"starts.md", "starts.csv", "start-native.svg", "start-languages.svg"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() < 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
