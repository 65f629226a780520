package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

func TestZygoteOutlivesItsDriver(t *testing.T) {
	const loop = "runtime/zygote.py"
	if !exists(loop) { // which also has go test run again when it changes
		t.Fatal(loop + " is missing")
	}
	drivertest.Needs(t, exists(defaultInterpreter), defaultInterpreter)
	library := filepath.Join(drivertest.Libexec(t), zygote.Library)
	drivertest.Abandon(t, func() *exec.Cmd { return exec.Command(defaultInterpreter, "-B", loop, library) }, "unittest")
}
