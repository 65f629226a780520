package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// certificates is where Debian and its kin keep those that the host trusts; what fetches packages trusts the same.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// installEnv is the environment of an installer, in which third-party code may run: nothing of the host but the way out.
func installEnv() []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
	if exists(certificates) {
		env = append(env, "SSL_CERT_FILE="+certificates)
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// wish is what installer.py is asked for.
type wish struct {
	Op       string         `json:"op"`
	Handler  string         `json:"handler,omitempty"`
	Packages []core.Package `json:"packages,omitempty"`
}

// word is what installer.py answers.
type word struct {
	Progress *core.Progress `json:"progress"`
	Result   *struct {
		Packages []core.Package `json:"packages"`
		Imports  []string       `json:"imports"`
	} `json:"result"`
	Error *core.Error `json:"error"`
}

// Resolve implements core.Installer.
func (p *python) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	result, err := p.install(ctx, request.Runtime, request.Sandbox, wish{Op: "resolve", Handler: request.Handler}, nil)
	if err != nil {
		return core.Resolution{}, err
	}
	return core.Resolution{Packages: result.Result.Packages, Imports: result.Result.Imports}, nil
}

// Install implements core.Installer.
func (p *python) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) error {
	_, err := p.install(ctx, request.Runtime, request.Sandbox, wish{Op: "install", Packages: request.Packages}, progress)
	return err
}

// install runs installer.py in the sandbox and returns its last word.
func (p *python) install(ctx context.Context, runtime core.RuntimeID, sandbox core.Sandbox, w wish, progress func(core.Progress)) (word, error) {
	i, ok := p.interpreters[runtime]
	if !ok {
		return word{}, core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", runtime)
	}
	text, err := json.Marshal(w)
	if err != nil {
		return word{}, err
	}
	control, err := zygote.Launch(sandbox, append(i.command(), loopDir+"/installer.py", string(text)), installEnv(), p.log)
	if err != nil {
		return word{}, err
	}
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return word{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		next, err := read(conn)
		switch {
		case ctx.Err() != nil:
			return word{}, core.Errorf(core.KindTimeout, core.FaultCaller, "%s of packages did not end in time: %w", w.Op, ctx.Err())
		case err != nil:
			return word{}, core.Errorf(core.KindInstall, core.FaultWorker, "the installer ended without an answer: %w", err)
		case next.Error != nil:
			return word{}, next.Error
		case next.Result != nil:
			return next, nil
		case next.Progress != nil && progress != nil:
			progress(*next.Progress)
		}
	}
}

// read returns one message: packets that begin with '+' are continued by the next.
func read(conn net.Conn) (word, error) {
	var text []byte
	packet := make([]byte, 128<<10)
	for {
		n, err := conn.Read(packet)
		if err != nil {
			return word{}, err
		}
		if n == 0 || len(text) > 64<<20 {
			return word{}, errors.New("end of its control socket")
		}
		text = append(text, packet[1:n]...)
		if packet[0] == '.' {
			var w word
			return w, json.Unmarshal(text, &w)
		}
	}
}
