// Command pipsqueak-driver-ruby makes processes of CRuby: zygotes that have required gems, and the instances
// forked from them. The loop that runs in those processes is in runtime/loop.
package main

import (
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == debianCommand {
		os.Exit(installDebian(os.Args[2:], os.Stdin, os.Stdout))
	}
	driver.Serve(newDriver(driver.Logger(os.Stderr)))
}
