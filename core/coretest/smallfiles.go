package coretest

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

const inSmallFiles = "PIPSQUEAK_TEST_SMALL_FILES"

// SmallFiles is all of a test: it runs do where no file may have more than limit bytes, until do lifts that,
// and stands in for a full disk. The kernel knows such a limit for whole processes only, and go test's own
// log is a file too, so do runs in a process of its own.
func SmallFiles(t *testing.T, limit uint64, do func(lift func())) {
	if os.Getenv(inSmallFiles) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), inSmallFiles+"=1")
		output, err := child.CombinedOutput()
		if err != nil || !bytes.Contains(output, []byte("--- PASS: "+t.Name())) {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	Must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	Must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: before.Max}))
	do(func() { Must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)) })
}
