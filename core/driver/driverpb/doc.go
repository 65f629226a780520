// Package driverpb is the control wire in Go: driver.proto and the code that is generated from it, checked in
// beside it. Nothing outside of core/driver speaks it; everybody else speaks core.
package driverpb

//go:generate sh generate.sh
