package v1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const logged = `{"time":"2026-01-02T03:04:05.678901Z","function":"f","request":"r1","node":"n7","stream":"stdout","text":"<one>"}
{"time":"2026-01-02T03:04:06Z","function":"f","node":"n7","stream":"stderr","text":"two"}
`

func TestLogs(t *testing.T) {
	url := serve(t, &fakeLogs{logs: func(_ context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
		if name != "f" {
			return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
		}
		return io.NopCloser(strings.NewReader(logged)), nil
	}}).URL
	if a := ask(t, "GET", url+"/v1/functions/f/logs", ""); a.status != 200 || a.body != logged || a.header.Get("Content-Type") != ndjson {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	const text = "2026-01-02T03:04:05.678Z r1 n7 stdout <one>\n2026-01-02T03:04:06.000Z - n7 stderr two\n"
	if a := ask(t, "GET", url+"/v1/functions/f/logs", "", "Accept: text/plain"); a.body != text {
		t.Errorf("%s", a.body)
	}
	if a := ask(t, "GET", url+"/v1/functions/g/logs?follow=true", ""); a.status != 404 || a.failure(t).Kind != core.KindNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, "GET", url+"/v1/functions/f/logs?follow=maybe", ""); a.status != 400 || a.failure(t).Kind != core.KindInvalid {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A log that breaks off is not to be taken for a whole one.
func TestLogsBreak(t *testing.T) {
	url := serve(t, &fakeLogs{logs: func(context.Context, string, core.LogQuery) (io.ReadCloser, error) {
		broken := io.MultiReader(strings.NewReader(logged), brokenReader{})
		return io.NopCloser(broken), nil
	}}).URL
	response, err := http.Get(url + "/v1/functions/f/logs")
	if err == nil {
		_, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	if err == nil {
		t.Error("a broken log looked whole")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is on fire") }

// following is a service whose logs never end by themselves. It reports when they are closed.
func following(closed chan<- bool) *fakeLogs {
	return &fakeLogs{logs: func(ctx context.Context, _ string, query core.LogQuery) (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() {
			fmt.Fprint(writer, logged)
			<-ctx.Done()
			writer.CloseWithError(ctx.Err())
			closed <- true
		}()
		return reader, nil
	}}
}

func TestLogsFollow(t *testing.T) {
	closed := make(chan bool, 1)
	url := serve(t, following(closed)).URL
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", url+"/v1/functions/f/logs?follow=true", nil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for range 2 {
		if !lines.Scan() {
			t.Fatal("a line was kept back")
		}
	}
	cancel()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the follower left and the log was not told")
	}
}
