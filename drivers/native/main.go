// Command pipsqueak-driver-native makes processes of compiled functions: zygotes that have loaded shared
// libraries, and the instances forked from them, which load a function's shared object. The host that runs in
// those processes is in runtime/loop.
//
// The same program is the installer: a sandbox shows it and starts it with the request as its arguments.
package main

import (
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "{") {
		os.Exit(beInstaller(strings.Join(os.Args[1:], "")))
	}
	driver.Serve(newDriver(driver.Logger(os.Stderr)))
}
