//go:build !linux

package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// invokeLocal fails: a sandbox needs Linux.
func (p *program) invokeLocal(*cobra.Command, bundle.Part, []byte) (client.Answer, error) {
	return client.Answer{}, core.Errorf(core.KindUnsupported, core.FaultCaller, "'invoke --local' makes a sandbox, for which it needs Linux, and this is %s: deploy to a server", runtime.GOOS)
}

// attach gives the program nothing: a worker needs Linux.
func (p *program) attach() {}

// ofMachine returns the commands that make sandboxes, which say here that they need Linux.
func (p *program) ofMachine() []*cobra.Command { return needLinux(runtime.GOOS) }
