package coretest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Compiler is the need of a C compiler.
func Compiler() Need {
	return Need{"a C compiler", func() error {
		_, err := exec.LookPath("cc")
		return err
	}}
}

// CompileC makes a program of C files and further arguments of the compiler. It ends with a report on
// standard error, and an exit status that is not 0, at the first access to memory that is not its own, and at
// the first undefined behaviour. Leaks are not looked for: that needs ptrace, which a sandbox refuses.
func CompileC(t testing.TB, program string, args ...string) {
	t.Helper()
	for _, name := range args { // read, so that go test takes no result from its cache when C has changed
		beside, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "*.h"))
		below, _ := filepath.Glob(filepath.Join(name, "*.h"))
		for _, file := range append(append(beside, below...), name) {
			_, _ = os.ReadFile(file) // what is no file is for the compiler to refuse
		}
	}
	options := filepath.Join(t.TempDir(), "options.c")
	Must(t, os.WriteFile(options, []byte(`const char *__asan_default_options(void) { return "detect_leaks=0:disable_coredump=0"; }`), 0o600))
	sanitizers := []string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all"} //nolint:misspell // flags of the compiler
	args = append(append([]string{"-g", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, options}, sanitizers...), args...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
