package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

func TestZygoteOutlivesItsDriver(t *testing.T) {
	loop := filepath.Join(drivertest.Libexec(t), "python", "zygote.py")
	drivertest.Needs(t, exists(defaultInterpreter), defaultInterpreter)
	library := filepath.Join(drivertest.Libexec(t), zygote.Library)
	drivertest.Abandon(t, func() *exec.Cmd { return exec.Command(defaultInterpreter, "-B", loop, library) }, "unittest")
}
