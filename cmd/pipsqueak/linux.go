package main

import (
	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// needLinux returns, for another system than Linux, the commands that make sandboxes. Each fails, whatever
// its arguments, and says what it needs; system is Go's name for the system.
func needLinux(system string) []*cobra.Command {
	var all []*cobra.Command
	for _, command := range []struct{ name, short string }{
		{"serve", "Serve functions"}, {"doctor", "Say what a machine can do"}, {"scan", "Say what is suspicious in packages"},
	} {
		cmd := &cobra.Command{Use: command.name, Short: command.short + " (needs Linux)", GroupID: groupServer,
			FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			err := core.Errorf(core.KindUnsupported, core.FaultCaller,
				"'%s' makes sandboxes, for which it needs Linux, and this is %s: run it on a Linux machine, and talk to that from here with --server URL",
				cmd.CommandPath(), system)
			if command.name == "scan" {
				return unscanned{err}
			}
			return err
		}
		all = append(all, cmd)
	}
	return all
}
