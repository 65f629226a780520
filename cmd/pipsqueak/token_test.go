package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
)

// guarded serves a world behind a guard, over TCP and at a socket.
func guarded(t *testing.T, w *world) (url, socket string) {
	t.Helper()
	t.Setenv(client.TokenVariable, "")
	data, log := t.TempDir(), slog.New(slog.DiscardHandler)
	tokens, err := access.OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	audit := access.OpenAudit(data, log)
	front := gateway.New(access.Restrict(w.service(), tokens, audit), log)
	front.Guard(gateway.Guard{Tokens: tokens, Audit: audit})
	v1.Mount(front)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := listenSocket(data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- front.Serve(ctx, tcp, unix) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		audit.Close()
	})
	return "http://" + tcp.Addr().String(), "unix://" + filepath.Join(data, socketFile)
}

func TestToken(t *testing.T) {
	url, socket := guarded(t, newWorld())
	at := func(url string, args ...string) ran { return runAt(t.Context(), &program{}, url, "", args...) }
	if got := at(url, "token", "create", "ci", "--scopes", "admin"); got.status != 1 || !strings.Contains(got.err, "over the socket") {
		t.Errorf("a first token over TCP: %+v", got)
	}
	made := at(socket, "token", "create", "ci", "--scopes", "invoke,read", "--functions", "hello,x.team", "--expires", time.Now().Add(100*time.Hour).Format(time.RFC3339))
	text := strings.TrimSpace(made.out)
	id := regexp.MustCompile(`^made the token ([0-9a-f]{12}) for ci; it is shown only now:\nIt is the server's only token`).FindStringSubmatch(made.err)
	if made.status != 0 || !regexp.MustCompile(`^pipsqueak_[0-9a-f]{64}$`).MatchString(text) || id == nil {
		t.Fatalf("%+v", made)
	}
	if got := at(url, "invoke", "hello"); got.status != 1 || !strings.Contains(got.err, client.TokenVariable) {
		t.Errorf("without the token: %+v", got)
	}
	t.Setenv(client.TokenVariable, text)
	at(url, "invoke", "hello").want(t, 0, "{}\n", "")
	if got := at(url, "remove", "hello"); got.status != 1 || !strings.Contains(got.err, "the scope deploy of \"hello\"") {
		t.Errorf("remove: %+v", got)
	}
	if got := at(url, "list"); got.status != 0 || strings.Contains(got.out, "report") || !strings.Contains(got.out, "hello") {
		t.Errorf("list: %+v", got)
	}
	t.Setenv(client.TokenVariable, "")

	if got := at(socket, "token", "create", "b", "--scopes", "admin"); got.status != 0 || strings.Contains(got.err, "only token") {
		t.Errorf("a second token: %+v", got)
	}
	listed := at(socket, "token", "list")
	if !regexp.MustCompile(`(?s)^ID +NAME  SCOPES +FUNCTIONS +EXPIRES  USED\n[0-9a-f]{12}  b +admin +\* +never +never\n`+id[1]+`  ci +invoke read  hello, x.team  in \S+ +0s ago\n$`).MatchString(listed.out) || strings.Contains(listed.out, text) {
		t.Errorf("list: %s", listed.out)
	}
	if got := at(socket, "token", "list", "-o", "json"); got.status != 0 || strings.Contains(got.out, text) || strings.Contains(got.out, "sha256") || !strings.Contains(got.out, `"expires"`) {
		t.Errorf("list: %s", got.out)
	}
	at(socket, "token", "revoke", id[1]).want(t, 0, "revoked "+id[1]+" (ci)\n", "")
	if got := at(socket, "token", "revoke", id[1]); got.status != 1 || !strings.Contains(got.err, "token list") {
		t.Errorf("again: %+v", got)
	}
	for _, wrong := range [][]string{{}, {"--scopes", "root"}, {"--scopes", "read", "--functions", "img-*"}, {"--scopes", "read", "--expires", "2001-01-01T00:00:00Z"}} {
		if got := at(socket, append([]string{"token", "create", "n"}, wrong...)...); got.status != 1 || got.out != "" {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
	for _, wrong := range [][]string{{"--scopes", "read", "--expires", "soon"}, {"--scopes", "read", "--expires", "90"}, {"--scopes", "read", "--token", "x"}} {
		if got := at(socket, append([]string{"token", "create", "n"}, wrong...)...); got.status != 2 {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
}

// Without --server the socket is asked if somebody is behind it, and the user does not bring a token.
func TestUsualServer(t *testing.T) {
	const tcp = "http://127.0.0.1:8080"
	_, socket := guarded(t, newWorld())
	path := strings.TrimPrefix(socket, "unix://")
	if got := usualServer(path); got != socket {
		t.Errorf("with a worker behind the socket: %s", got)
	}
	if got := usualServer(path + ".none"); got != tcp {
		t.Errorf("without a socket: %s", got)
	}
	left := filepath.Join(t.TempDir(), "left")
	listener, err := net.Listen("unix", left)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	if got := usualServer(left); got != tcp {
		t.Errorf("with a socket that a killed worker has left: %s", got)
	}
	t.Setenv(client.TokenVariable, "x")
	if got := usualServer(path); got != tcp {
		t.Errorf("with a token: %s", got)
	}
}

func TestListenSocket(t *testing.T) {
	data := t.TempDir()
	for range 2 { // the second time one is left
		listener, err := listenSocket(data)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(data, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		listener.Close()
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, socketFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(foreign); err == nil {
		t.Error("a file of somebody's is replaced")
	}
	if text, err := os.ReadFile(filepath.Join(foreign, socketFile)); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := listenSocket(filepath.Join(data, strings.Repeat("d", 120))); err == nil {
		t.Error("a path that is too long for a socket")
	}
}

func TestMayListen(t *testing.T) {
	data := t.TempDir()
	tokens, err := access.OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	for address, may := range map[string]bool{"127.0.0.1:0": true, "[::1]:0": true, "127.1.2.3:0": true, "0.0.0.0:0": false, ":0": false, "[::]:0": false} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s is not tried: %v", address, err)
			continue
		}
		if err := mayListen(listener, tokens); (err == nil) != may || !may && !strings.Contains(err.Error(), "token create") {
			t.Errorf("%s without tokens: %v", address, err)
		}
		listener.Close()
	}
	ctx, end := access.Operator(0).Within(t.Context())
	defer end()
	audit := access.OpenAudit(data, slog.New(slog.DiscardHandler))
	defer audit.Close()
	if _, _, err := access.Restrict(newWorld().service(), tokens, audit).Tokens.CreateToken(ctx, core.Token{Name: "n", Scopes: core.Scopes(), Functions: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := mayListen(listener, tokens); err != nil {
		t.Errorf("with a token: %v", err)
	}
}
