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
	"io/fs"
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
	Token  Token        // of every request; empty for none
	err    error        // of every request, because there is no token to send
}

// New returns a client of the server with an address ("127.0.0.1:8080") or a URL. The URL of a unix socket is
// unix:///PATH.
func New(server string) Client {
	base := strings.TrimRight(server, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	c := Client{Base: base}
	if path, is := strings.CutPrefix(base, unixScheme); is {
		c.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}}
	}
	return c
}

const unixScheme = "unix://"

// Do sends a request and returns the response whatever its status is. The caller closes its body. An error
// means that there is none.
func (c Client) Do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	base := c.Base
	if strings.HasPrefix(base, unixScheme) {
		base = "http://localhost"
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not the URL of a server, such as http://127.0.0.1:8080: %w", c.Base, err)
	}
	maps.Copy(request.Header, c.Header)
	maps.Copy(request.Header, header)
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+string(c.Token))
	}
	sender := http.Client{}
	if c.HTTP != nil {
		sender = *c.HTTP
	}
	// A server has no redirects. Whatever sends one gets neither the token nor the function for another
	// server.
	sender.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return sender.Do(request)
}

// send sends a request and turns a status from 300 on into an error. The caller closes the response. With an
// error the response is nil or only good for its headers.
func (c Client) send(ctx context.Context, method, path, accept string, body io.Reader) (*http.Response, error) {
	response, err := c.Do(ctx, method, path, http.Header{"Accept": {accept}, "User-Agent": {"pipsqueak"}}, body)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // what is cut off is no JSON
	var told failure
	if strings.TrimSpace(string(text)) == spokenPlainly {
		return response, core.Errorf(core.KindUnavailable, core.FaultCaller, "the server at %s speaks TLS; write https:// in --server or PIPSQUEAK_SERVER", c.Base)
	}
	if err := json.Unmarshal(text, &told); err != nil || told.Error == nil {
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
	if errors.Is(err, fs.ErrPermission) && strings.HasPrefix(c.Base, unixScheme) {
		return core.Errorf(core.KindDenied, core.FaultCaller, "the socket %s is for root and the worker's own user: use sudo, or a token over TCP", c.Base)
	}
	if untrusted := c.untrusted(err); untrusted != nil {
		return untrusted
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
