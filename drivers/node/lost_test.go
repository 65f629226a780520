package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

func TestZygoteOutlivesItsDriver(t *testing.T) {
	found, _ := find(t.Context())
	coretest.Requires(t, coretest.Found("Node.js", len(found) > 0))
	files := filepath.Join(drivertest.Libexec(t), "node/loop")
	drivertest.Abandon(t, func() *exec.Cmd {
		cmd := exec.Command(found[0].Executable, "--single-threaded", "--v8-pool-size=0", filepath.Join(files, "zygote.js"), filepath.Join(files, addon))
		cmd.Env = []string{"LD_PRELOAD=" + filepath.Join(files, preload)}
		return cmd
	}, "no-such-package")
}
