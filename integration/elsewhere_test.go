package integration

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Does the client build for the machines at which people sit, and does the core for the other processor?

// elsewhere are the systems that the client is built for besides this one, with what opens a program of
// theirs.
var elsewhere = []struct {
	system, processor string
	open              func(string) (io.Closer, error)
}{
	{"windows", "amd64", func(name string) (io.Closer, error) { return pe.Open(name) }},
	{"darwin", "arm64", func(name string) (io.Closer, error) { return macho.Open(name) }},
	{"linux", "arm64", func(name string) (io.Closer, error) { return elf.Open(name) }},
}

func TestClientBuildsElsewhere(t *testing.T) {
	for _, target := range elsewhere {
		t.Run(target.system, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "pipsqueak")
			goFor(t, target.system, target.processor, "build", "-o", program, "./cmd/pipsqueak")
			opened, err := target.open(program)
			if err != nil {
				t.Fatalf("what was built is no program of %s: %v", target.system, err)
			}
			opened.Close()
		})
	}
}

// TestClientHasNoWorker holds that the client of another system has nothing of a worker in it: what it has of
// core reads and says, and makes no sandbox, keeps no data directory and starts no driver.
func TestClientHasNoWorker(t *testing.T) {
	for folder := range strings.FieldsSeq(goFor(t, "windows", "amd64", "list", "-deps", "-f", "{{if .Module}}{{.ImportPath}}{{end}}", "./cmd/pipsqueak")) {
		for _, of := range []string{"core/worker", "core/store", "core/sandbox", "core/driver", "core/tree", "core/sched", "cmd/pipsqueak/osv"} {
			if folder == modulePath+"/"+of {
				t.Errorf("%s is in it", of)
			}
		}
	}
}

// TestCoreOfArm: vet compiles the tests too, of which those of sandboxes name system calls that not every
// processor has.
func TestCoreOfArm(t *testing.T) {
	goFor(t, "linux", "arm64", "vet", "./core/...")
}

// goFor runs a command of Go for another machine, in the root of the repository, and returns what it prints.
func goFor(t *testing.T, system, processor string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = repositoryRoot(t)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		said := err.Error()
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			said += "\n" + string(failed.Stderr)
		}
		t.Fatalf("%v for %s/%s: %s", cmd.Args, system, processor, said)
	}
	return string(out)
}
