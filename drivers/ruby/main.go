// Command pipsqueak-driver-ruby makes processes of CRuby: zygotes that have required gems, and the instances forked from
// them. The loop that runs in those processes is in runtime/.
package main

import (
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func main() {
	driver.Serve(newDriver(driver.Logger(os.Stderr)))
}
