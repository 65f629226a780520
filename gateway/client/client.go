// Package client is the Go client of the HTTP API (docs/http.md). The command line, the demo, the benchmarks
// and the tests from outside use it. It knows only the wire and core's vocabulary, so it builds for every
// system.
//
//	c := client.New("127.0.0.1:8080")
//	function, err := c.Deploy(ctx, "hello", nil, archive, progress)
//	answer, err := c.Invoke(ctx, "hello", strings.NewReader(`{"name": "pip"}`))
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Client sends requests to one server. Its methods may be called from many goroutines at once. Every error
// but those of Do is a *core.Error: the server's own, or one about reaching it.
type Client struct {
	Base   string       // URL of the server, without a slash at its end
	Header http.Header  // of every request, besides what the client itself says
	HTTP   *http.Client // sends the requests; nil for http.DefaultClient
}

// New returns a client of the server with an address ("127.0.0.1:8080") or a URL.
func New(server string) Client {
	base := strings.TrimRight(server, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return Client{Base: base}
}

// Do sends a request and returns the response whatever its status is. The caller closes its body. An error
// means that there is none.
func (c Client) Do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not the URL of a server, such as http://127.0.0.1:8080: %w", c.Base, err)
	}
	maps.Copy(request.Header, c.Header)
	maps.Copy(request.Header, header)
	sender := c.HTTP
	if sender == nil {
		sender = http.DefaultClient
	}
	return sender.Do(request)
}

// send sends a request and turns a status from 400 on into an error. The caller closes the response. With an
// error the response is nil or only good for its headers.
func (c Client) send(ctx context.Context, method, path, accept string, body io.Reader) (*http.Response, error) {
	response, err := c.Do(ctx, method, path, http.Header{"Accept": {accept}, "User-Agent": {"pipsqueak"}}, body)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	var told failure
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&told); err != nil || told.Error == nil {
		return response, core.Errorf(core.KindInternal, core.FaultWorker,
			"%s answered %s, and not as Pipsqueak does; is it the right --server?", c.Base, response.Status)
	}
	return response, told.Error
}

// failure is an error as the server writes it.
type failure struct {
	Error *core.Error `json:"error"`
}

// unreachable says why there was no answer.
func (c Client) unreachable(err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		return e // the body could not be made
	}
	var way *net.OpError
	if errors.As(err, &way) && way.Op == "dial" {
		return core.Errorf(core.KindUnavailable, core.FaultCaller,
			"no server answers at %s (%w); start one with 'sudo pipsqueak serve', or name another with --server or PIPSQUEAK_SERVER", c.Base, way.Err)
	}
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the server at %s gave no answer: %w", c.Base, err)
}

func (c Client) unreadable(err error) error {
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the answer of %s broke off or is not Pipsqueak's: %w", c.Base, err)
}

// get reads a JSON answer into value.
func (c Client) get(ctx context.Context, path string, value any) error {
	return c.ask(ctx, http.MethodGet, path, nil, value)
}

// post sends a question as JSON, and reads the answer into value.
func (c Client) post(ctx context.Context, path string, question, value any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return core.AsError(err)
	}
	return c.ask(ctx, http.MethodPost, path, bytes.NewReader(body), value)
}

func (c Client) ask(ctx context.Context, method, path string, body io.Reader, value any) error {
	response, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// copy writes the body of an answer to out.
func (c Client) copy(ctx context.Context, path, accept string, out io.Writer) error {
	response, err := c.send(ctx, http.MethodGet, path, accept, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(out, response.Body); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// ending is the last line of a stream of progress: the result.
type ending struct {
	Function    core.Function    `json:"function"`
	Lock        core.Lock        `json:"lock"`
	Verified    core.Verified    `json:"verified"`
	Application core.Application `json:"application"`
}

// follow sends a body and passes on the progress of the server's work, until its result.
func (c Client) follow(ctx context.Context, method, path string, body io.Reader, progress func(core.Progress)) (ending, error) {
	response, err := c.send(ctx, method, path, "application/x-ndjson", body)
	if err != nil {
		return ending{}, err
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; {
		var line struct {
			failure
			ending
			Progress *core.Progress `json:"progress"`
		}
		if err := lines.Decode(&line); err != nil {
			return ending{}, c.unreadable(err)
		}
		switch {
		case line.Progress != nil:
			if progress != nil {
				progress(*line.Progress)
			}
		case line.Error != nil:
			return ending{}, line.Error
		default:
			return line.ending, nil
		}
	}
}
