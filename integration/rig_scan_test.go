package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// scanned is a line of a file of results.
type scanned struct {
	Archive    string           `json:"archive"`
	Digest     string           `json:"digest"`
	Package    string           `json:"package"`
	Suspicions []core.Suspicion `json:"suspicions"`
	Error      string           `json:"error"`
}

// scan runs the real program and returns what it printed and its exit status.
func scan(t testing.TB, args ...string) (string, int) {
	t.Helper()
	coretest.Requires(t, Root, Cgroups)
	cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), append([]string{"scan", "--data", filepath.Join(t.TempDir(), "data")}, args...)...)
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(said), cmd.ProcessState.ExitCode()
}

func results(t testing.TB, file string) map[string]scanned {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]scanned{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var one scanned
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if _, twice := all[one.Archive]; twice {
			t.Errorf("%s has two results", one.Archive)
		}
		all[one.Archive] = one
	}
	return all
}
