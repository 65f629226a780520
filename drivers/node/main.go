// Command pipsqueak-driver-node makes processes of Node.js: zygotes that have imported packages, and the
// instances forked from them. The loop that runs in those processes, and the addon with which an unmodified
// node is forked, are in runtime/loop.
package main

import (
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func main() {
	driver.Serve(newDriver(driver.Logger(os.Stderr)))
}
