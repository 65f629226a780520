// Command pipsqueak-driver-python makes processes of CPython: zygotes that have imported packages, and the
// instances forked from them. The loop that runs in those processes is in runtime/loop.
package main

import (
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func main() {
	driver.Serve(newDriver(driver.Logger(os.Stderr)))
}
