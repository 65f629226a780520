package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

func TestZygoteOutlivesItsDriver(t *testing.T) {
	loop := filepath.Join(drivertest.Libexec(t), "python/loop/zygote.py")
	coretest.Requires(t, coretest.File(defaultInterpreter))
	library := filepath.Join(drivertest.Libexec(t), launch.Library)
	drivertest.Abandon(t, func() *exec.Cmd { return exec.Command(defaultInterpreter, "-B", loop, library) }, "unittest")
}
