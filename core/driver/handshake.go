// Package driver carries core.Driver and core.Installer across the process boundary. Open starts a driver's
// program and is the host's side; Serve is the whole main of a driver; Fleet keeps all drivers of a directory
// alive. PROTOCOL.md specifies the wire, for drivers that are not written in Go too.
//
// Mutex order: Fleet.mu before the mutex of a driver's log, whose last lines say why it died. The mutex of a
// handshakeReader is taken alone, as is the one that lets a stream send one message at a time. None is held
// across a call to a driver.
package driver

import (
	"context"
	"fmt"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

// Prefix begins the file name of every driver; the language follows it.
const Prefix = "pipsqueak-driver-"

// The protocol version changes only when an old driver and a new host, or the reverse, would misunderstand
// each other. Optional parts are capabilities instead. Serve speaks the current one; a host also speaks the
// previous one.
const (
	previousVersion = 2
	currentVersion  = 3
)

// The cookie is no secret: it lets a driver tell that it was started by a host and not by hand.
const (
	cookieKey   = "PIPSQUEAK_DRIVER_COOKIE"
	cookieValue = "4f9c1c1e-a driver is started by its host"
)

var handshake = goplugin.HandshakeConfig{MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}

// pluginName is the key under which both sides find the one plugin; it never crosses the wire.
const pluginName = "driver"

// versions is what a side can speak: impl is nil on the host.
func versions(impl core.Driver, numbers ...int) map[int]goplugin.PluginSet {
	sets := map[int]goplugin.PluginSet{}
	for _, n := range numbers {
		sets[n] = goplugin.PluginSet{pluginName: &plugin{impl: impl}}
	}
	return sets
}

// plugin lets go-plugin register the services on the driver's side and hand out the connection on the host's.
type plugin struct {
	goplugin.NetRPCUnsupportedPlugin
	impl core.Driver
}

func (p *plugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if p.impl == nil {
		return fmt.Errorf("Serve was called without a core.Driver")
	}
	driverpb.RegisterDriverServer(s, &driverServer{impl: p.impl})
	if parts := implemented(p.impl); parts.Installer != nil {
		driverpb.RegisterInstallerServer(s, &installerServer{parts: parts})
	}
	return nil
}

// implemented returns the parts that a driver in this program has: those whose methods it has.
func implemented(impl core.Driver) (parts core.Parts) {
	parts.Installer, _ = impl.(core.Installer)
	parts.Builder, _ = impl.(core.Builder)
	parts.Compiler, _ = impl.(core.Compiler)
	parts.Scanner, _ = impl.(core.Scanner)
	return parts
}

func (p *plugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
