package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// openGuard opens the guard of a worker on a data directory, and writes nothing there.
func openGuard(config workerConfig, each float64) (gateway.Guard, error) {
	if each < 0 || each > 1e6 {
		return gateway.Guard{}, core.Errorf(core.KindInvalid, core.FaultCaller, "--client-rate is %v; it is a number of requests a second, 0 for any number", each)
	}
	tokens, err := access.OpenTokens(config.Data)
	return gateway.Guard{Tokens: tokens, Audit: access.OpenAudit(config.Data, config.Log), Rate: each}, err
}

// settingsOf returns the flags that a command was given, for the audit log.
func settingsOf(cmd *cobra.Command) map[string]string {
	settings := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { settings[f.Name] = f.Value.String() })
	return settings
}

// mayListen refuses an address that other machines reach, on a worker that has no tokens.
func mayListen(listener net.Listener, tokens *access.Tokens) error {
	if tcp, is := listener.Addr().(*net.TCPAddr); !is || tcp.IP.IsLoopback() || tokens.Any() {
		return nil
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "other machines reach %s, and this worker has no token yet, so all of them could run code here: "+
		"start it without --listen, make a token with 'sudo pipsqueak token create NAME --scopes admin', and start it with --listen again", listener.Addr())
}

// listenSocket listens at the socket in the data directory, where a worker that was killed may have left one.
// The worker that listens has the directory to itself.
func listenSocket(data string) (net.Listener, error) {
	path := filepath.Join(data, socketFile)
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Nobody else could enter the directory in the meantime.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// tell says who is served, where and how.
func tell(config workerConfig, url string, tokens *access.Tokens, noSocket error) {
	log := config.Log
	log.Info("serve", "url", url, "data", config.Data)
	if noSocket != nil {
		log.Warn("serve", "err", "there is no socket for root, by which tokens are made: "+noSocket.Error())
	}
	if !tokens.Any() {
		log.Info("no token was ever made: whoever on this machine reaches the address can deploy and run code; 'sudo pipsqueak token create' ends that")
	}
}
