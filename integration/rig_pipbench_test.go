package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Artificial functions as tests see them, and workers that install their packages.

// artificialFunction is what a test reads of functions.json.
type artificialFunction struct {
	Name, Language, Values string
	Packages               []struct{ Name, Version string }
	Closure                int
}

// functionsOf has pipbench make functions for the packages of a directory, and returns them.
func functionsOf(t *testing.T, dir string, flags ...string) []artificialFunction {
	t.Helper()
	succeed(t, filepath.Join(programs(t), "pipbench"), append([]string{"functions", dir}, flags...)...)
	text, err := os.ReadFile(filepath.Join(dir, "functions/functions.json"))
	var set struct{ Functions []artificialFunction }
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set.Functions
}

// want is the result of a function that is sent a nonce.
func (f artificialFunction) want(nonce string) string {
	n := 0
	for _, b := range []byte(f.Values + nonce) {
		n = (n*31 + int(b)) % 1000003
	}
	return fmt.Sprintf(`{"function":"%s","answer":%d}`, f.Name, n)
}

// aptAt is a command that has a program see a directory as apt's only further source of packages.
func aptAt(sources string, program ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-ec",
		`mount --bind "$1" /etc/apt/sources.list.d; shift; exec "$@"`, "sh", sources}, program...)...)
}

// workerOf starts a worker whose installers take artificial packages of a directory, in every language.
func workerOf(t *testing.T, dir string) *worker {
	t.Helper()
	address := registryOf(t, dir)
	t.Setenv("UV_DEFAULT_INDEX", address+"/python/simple")
	t.Setenv("NPM_CONFIG_REGISTRY", address+"/node/")
	t.Setenv("PIPSQUEAK_GEM_SOURCE", address+"/ruby/")
	sources, data := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(sources, "pipbench.sources"), ordinary(t, sources, nil, "/usr/bin/curl", "-sSf", address+"/native/pipbench.sources"))
	w, err := launch(aptAt(sources, filepath.Join(programs(t), "pipsqueak"), "serve", "--network", "none", "--listen", "127.0.0.1:0", "--data", data), data)
	coretest.Must(t, err)
	stopWith(t, w)
	return w
}
