//go:build !linux

package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

// attach gives the program nothing: a worker needs Linux.
func (p *program) attach() {}

// ofMachine returns the commands that make sandboxes, which say here that they need Linux.
func (p *program) ofMachine() []*cobra.Command { return needLinux(runtime.GOOS) }
