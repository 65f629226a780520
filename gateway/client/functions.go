package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func functionPath(name string) string { return "/v1/functions/" + url.PathEscape(name) }

func applicationPath(name string) string { return "/v1/applications/" + url.PathEscape(name) }

func withQuery(path string, query url.Values) string {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// Functions returns the deployed functions, sorted by name.
func (c Client) Functions(ctx context.Context) (functions []core.Function, err error) {
	return c.FunctionsIn(ctx, "")
}

// FunctionsIn returns the functions of a namespace, of all namespaces if it is empty, sorted by name.
func (c Client) FunctionsIn(ctx context.Context, namespace string) (functions []core.Function, err error) {
	query := url.Values{}
	if namespace != "" {
		query.Set("namespace", namespace)
	}
	return functions, c.get(ctx, withQuery("/v1/functions", query), &functions)
}

// FunctionsOf returns the functions of an application, none when there is no such application.
func (c Client) FunctionsOf(ctx context.Context, application string) ([]core.Function, error) {
	functions, err := c.Functions(ctx)
	return slices.DeleteFunc(functions, func(f core.Function) bool { return f.Application != application }), err
}

// Function returns one function.
func (c Client) Function(ctx context.Context, name string) (function core.Function, err error) {
	return function, c.get(ctx, functionPath(name), &function)
}

// Snapshot returns what is alive now.
func (c Client) Snapshot(ctx context.Context) (snapshot core.Snapshot, err error) {
	return snapshot, c.get(ctx, "/v1/tree", &snapshot)
}

// Demand returns what a plan of the tree is made from.
func (c Client) Demand(ctx context.Context) (demand core.Demand, err error) {
	return demand, c.get(ctx, "/v1/demand", &demand)
}

// Remove removes a function.
func (c Client) Remove(ctx context.Context, name string) error {
	response, err := c.send(ctx, http.MethodDelete, functionPath(name), "application/json", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Logs copies the lines that the query asks for to out, in the media type of accept. With Follow it continues
// until the context ends.
func (c Client) Logs(ctx context.Context, name, accept string, query core.LogQuery, out io.Writer) error {
	v := url.Values{}
	if query.Follow {
		v.Set("follow", "true")
	}
	if query.Errors {
		v.Set("errors", "true")
	}
	if query.Tail != core.AllLines {
		v.Set("tail", strconv.Itoa(query.Tail))
	}
	if !query.Since.IsZero() {
		v.Set("since", query.Since.UTC().Format(time.RFC3339Nano))
	}
	if query.Request != "" {
		v.Set("request", query.Request)
	}
	return c.copy(ctx, withQuery(functionPath(name)+"/logs", v), accept, out)
}

// Deploy deploys an archive under the name; an empty name leaves it to the archive's settings. The query has
// the options of the deploy (docs/http.md). Progress may be nil.
func (c Client) Deploy(ctx context.Context, name string, query url.Values, archive io.Reader, progress func(core.Progress)) (core.Function, error) {
	method, path := http.MethodPost, "/v1/functions"
	if name != "" {
		method, path = http.MethodPut, functionPath(name)
	}
	end, err := c.follow(ctx, method, withQuery(path, query), archive, progress)
	return end.Function, err
}

// Lock resolves the packages of an archive, and deploys nothing.
func (c Client) Lock(ctx context.Context, archive io.Reader, progress func(core.Progress)) (core.Lock, error) {
	end, err := c.follow(ctx, http.MethodPost, "/v1/locks", archive, progress)
	return end.Lock, err
}

// DeployApplication deploys an application. The form has an archive for each function; media is its media
// type. Query and progress are as for Deploy.
func (c Client) DeployApplication(ctx context.Context, name string, query url.Values, media string, form io.Reader, progress func(core.Progress)) (core.Application, error) {
	header := http.Header{"Content-Type": {media}}
	maps.Copy(header, c.Header)
	c.Header = header
	end, err := c.follow(ctx, http.MethodPut, withQuery(applicationPath(name), query), form, progress)
	return end.Application, err
}

// RemoveApplication removes an application, and returns the names of its functions.
func (c Client) RemoveApplication(ctx context.Context, name string) ([]string, error) {
	var answer struct{ Removed []string }
	err := c.ask(ctx, http.MethodDelete, applicationPath(name), nil, &answer)
	return answer.Removed, err
}

// Answer is the answer to an event.
type Answer struct {
	RequestID string          `json:"request_id"`
	Start     core.Start      `json:"start"`
	Phases    []Phase         `json:"phases"`
	Result    json.RawMessage `json:"result"`
}

// Phase is one entry of the header Server-Timing.
type Phase struct {
	Name string  `json:"name"`
	Ms   float64 `json:"ms"`
}

func (p Phase) String() string { return fmt.Sprintf("%.3f ms", p.Ms) }

// Invoke runs an event. When the server answers with an error, everything but the result is set.
func (c Client) Invoke(ctx context.Context, name string, event io.Reader) (Answer, error) {
	response, err := c.send(ctx, http.MethodPost, "/run/"+url.PathEscape(name), "application/json", event)
	if response == nil {
		return Answer{}, err
	}
	a := AnswerOf(response.Header)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if a.Result, err = io.ReadAll(response.Body); err != nil {
		return a, c.unreadable(err)
	}
	return a, nil
}

// AnswerOf returns the answer that headers describe, without a result. It skips malformed entries of
// Server-Timing.
func AnswerOf(header http.Header) Answer {
	a := Answer{RequestID: header.Get("X-Request-Id"), Start: core.Start(header.Get("Pipsqueak-Start")), Phases: []Phase{}}
	for entry := range strings.SplitSeq(header.Get("Server-Timing"), ",") {
		name, took, found := strings.Cut(strings.TrimSpace(entry), ";dur=")
		if ms, err := strconv.ParseFloat(took, 64); found && err == nil {
			a.Phases = append(a.Phases, Phase{name, ms})
		}
	}
	return a
}
