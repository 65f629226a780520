package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	var opened workerConfig
	closed := 0
	p := &program{open: func(_ context.Context, c workerConfig) (core.Service, func(context.Context) error, error) {
		opened = c
		return newWorld().service(), func(ctx context.Context) error { closed++; return ctx.Err() }, nil
	}}
	if got := runAt(t.Context(), p, "", "", "serve", "--network", "none", "--egress-allow", "10.2.0.0/16"); got.status != 1 || !strings.Contains(got.err, "--egress-allow needs --network egress") {
		t.Error(got)
	}
	if got := runAt(t.Context(), p, "", "", "serve", "--zygotes", "none"); got.status != 1 || !strings.Contains(got.err, `--zygotes "none" is neither all nor roots`) {
		t.Error(got)
	}
	if got := runAt(t.Context(), p, "", "", "serve", "--listen", address); got.status != 1 || !strings.Contains(got.err, "cannot listen at "+address) {
		t.Errorf("on a taken address: %+v", got)
	}
	for _, name := range []string{"https://worker1.example", "worker1.example:8080", "a,,b"} {
		if got := runAt(t.Context(), p, "", "", "serve", "--host", name); got.status == 0 || !strings.Contains(got.err, "--host") {
			t.Errorf("with the name %q: %+v", name, got)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	done, listening := make(chan ran, 1), make(chan string, 1)
	go func() {
		done <- runTelling(ctx, p, func(out string) { listening <- out }, "", "", "serve", "--listen", "127.0.0.1:0", "--data", "/d", "--drivers", "/r", "--memory", "1G", "--zygotes", "roots", "--host", "worker1.example")
	}()
	var line string
	select {
	case line = <-listening:
	case got := <-done:
		t.Fatalf("it ended: %+v", got)
	}
	served := strings.TrimSuffix(strings.TrimPrefix(line, "listening on http://"), "\n")
	runAt(t.Context(), &program{}, served, "", "invoke", "hello").want(t, 0, "{}\n", "")
	for host, want := range map[string]int{"worker1.example": 200, "worker2.example": 421, "": 200} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+served+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("for the host %q: status %d, want %d", host, answer.StatusCode, want)
		}
	}
	cancel()
	if got := <-done; got.status != 0 || got.out != "listening on http://"+served+"\n" || closed != 1 || opened.Data != "/d" || opened.Drivers != "/r" || opened.Memory != 1<<30 || !opened.RootsOnly {
		t.Errorf("%+v, closed %d times, opened %+v", got, closed, opened)
	}

	p.open = func(_ context.Context, c workerConfig) (core.Service, func(context.Context) error, error) {
		c.Log.Log(t.Context(), slog.LevelInfo, "open")
		return core.Service{}, nil, errors.New("no cgroups here")
	}
	if got := runAt(t.Context(), p, "", "", "serve", "--listen", "127.0.0.1:0"); got.status != 1 || !strings.Contains(got.err, "pipsqueak: no cgroups here") {
		t.Errorf("%+v", got)
	}
}

// A worker that was killed may still have its address for a moment when the next one starts.
func TestServeWaitsForAddress(t *testing.T) {
	killed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { killed.Close() })
	listener, err := listen(t.Context(), killed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := listen(ctx, "127.0.0.1:0:0"); err == nil {
		t.Error("an address that is none is listened at")
	}
}

// A worker with a certificate speaks TLS, and the command line uses the files that its variables name.
func TestServeTLS(t *testing.T) {
	p := &program{open: func(context.Context, workerConfig) (core.Service, func(context.Context) error, error) {
		return newWorld().service(), func(context.Context) error { return nil }, nil
	}}
	servers, clients := coretest.NewAuthority(t), coretest.NewAuthority(t)
	cert, key := servers.Issue(t, t.TempDir(), time.Now().Add(time.Hour), "127.0.0.1")
	for told, flags := range map[string][]string{
		"tls-key":         {"--tls-cert", cert},
		"--tls-client-ca": {"--tls-client-ca", clients.CA},
		"private key":     {"--tls-cert", cert, "--tls-key", cert},
	} {
		if got := runAt(t.Context(), p, "", "", append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...); got.status == 0 || !strings.Contains(got.err, told) {
			t.Errorf("%v: %+v", flags, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, listening := make(chan ran, 1), make(chan string, 1)
	go func() {
		done <- runTelling(ctx, p, func(out string) { listening <- out }, "", "", "serve", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", clients.CA)
	}()
	var url string
	select {
	case line := <-listening:
		url = strings.TrimSuffix(strings.TrimPrefix(line, "listening on "), "\n")
	case got := <-done:
		t.Fatalf("it ended: %+v", got)
	}
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("it listens on %s", url)
	}
	lists := func(told string) {
		t.Helper()
		if got := runAt(t.Context(), &program{}, url, "", "list"); got.status != 1 || !strings.Contains(got.err, told) {
			t.Errorf("%+v; want %s", got, told)
		}
	}
	lists("PIPSQUEAK_CA")
	own, itsKey := clients.Issue(t, t.TempDir(), time.Now().Add(time.Hour))
	t.Setenv("PIPSQUEAK_CA", servers.CA)
	lists("PIPSQUEAK_CERT")
	t.Setenv("PIPSQUEAK_CERT", own)
	t.Setenv("PIPSQUEAK_KEY", itsKey)
	runAt(t.Context(), &program{}, url, "", "invoke", "hello").want(t, 0, "{}\n", "")
	cancel()
	if got := <-done; got.status != 0 {
		t.Errorf("%+v", got)
	}
}
