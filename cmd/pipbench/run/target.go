package run

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// Target is a platform that is measured.
type Target interface {
	Name() string
	// Deploy makes a function ready, from its directory, and tells whether there was something to do: again,
	// it may be there already.
	Deploy(ctx context.Context, f functions.Function, dir string, again bool) (bool, error)
	Invoke(ctx context.Context, f functions.Function, event []byte) (Answer, error)
	Memory(ctx context.Context) (m Memory, known bool)
	Most() int // requests at once
}

// Memory is what a platform takes: of this, each function's instances.
type Memory struct {
	Bytes     int64
	Functions map[string]int64
}

// Answer is that to one event.
type Answer struct {
	Result []byte
	CPU    float64            // milliseconds of the processors that it took, if the target says so
	Bytes  int64              // of memory that it had for itself, if the target says so
	Held   float64            // for how many milliseconds it had them
	Start  string             // how an instance was had, if the target says so
	Phases map[string]float64 // where the time went, in milliseconds, if the target says so
}

// atOnce is how many requests a server gets at once; more would lack descriptors.
const atOnce = 4096

// Connections returns a client that keeps as many connections as it has requests at once.
func Connections() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = atOnce, atOnce
	return &http.Client{Transport: transport}
}

// Pipsqueak is a worker of Pipsqueak.
type Pipsqueak struct{ Client client.Client }

// Name is pipsqueak.
func (p Pipsqueak) Name() string { return "pipsqueak" }

// Most is how many requests a worker gets at once.
func (p Pipsqueak) Most() int { return atOnce }

// Deploy deploys the function, by its name, and waits until its packages are in a zygote, as `pipsqueak
// deploy` does.
func (p Pipsqueak) Deploy(ctx context.Context, f functions.Function, dir string, again bool) (bool, error) {
	if again {
		if _, err := p.Client.Function(ctx, f.Name); err == nil {
			return false, nil
		}
	}
	archive, err := pack(dir)
	if err != nil {
		return false, err
	}
	_, err = p.Client.Deploy(ctx, f.Name, url.Values{"wait": {"ready"}}, bytes.NewReader(archive), nil)
	return true, err
}

// Invoke invokes the function.
func (p Pipsqueak) Invoke(ctx context.Context, f functions.Function, event []byte) (Answer, error) {
	a, err := p.Client.Invoke(ctx, f.Name, bytes.NewReader(event))
	return answered(a, a.Result), err
}

// Memory is that of all nodes.
func (p Pipsqueak) Memory(ctx context.Context) (Memory, bool) {
	snapshot, err := p.Client.Snapshot(ctx)
	m := Memory{snapshot.Memory, map[string]int64{}}
	for _, n := range snapshot.Nodes {
		if n.Function != "" {
			m.Functions[n.Function] += n.Memory
		}
	}
	return m, err == nil
}

// answered is an answer whose headers the client of Pipsqueak understands; others may send them too.
func answered(a client.Answer, result []byte) Answer {
	answer := Answer{Result: result, Start: string(a.Start)}
	for _, phase := range a.Phases {
		if answer.Phases == nil {
			answer.Phases = map[string]float64{}
		}
		answer.Phases[phase.Name] = phase.Ms
	}
	return answer
}

// pack returns a directory of files as a tar.gz archive.
func pack(dir string) ([]byte, error) {
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zipped)
	if err := archive.AddFS(os.DirFS(dir)); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	err := zipped.Close()
	return buffer.Bytes(), err
}

// URL is a platform that has the functions already, each at an address of its own: Template with the
// function's name for {function}.
type URL struct {
	Template string
	HTTP     *http.Client
}

// NewURL returns the target of an address: of all functions, or with {function} for the name of one.
func NewURL(address string) (URL, error) {
	if !strings.Contains(address, "{function}") {
		address = strings.TrimRight(address, "/") + "/{function}"
	}
	u, err := url.Parse(strings.ReplaceAll(address, "{function}", "f"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return URL{}, fmt.Errorf("--target: %q is neither pipsqueak, openlambda, lambda, command, nor a URL such as http://127.0.0.1:8080/run/{function}", address)
	}
	return URL{address, Connections()}, nil
}

// Name is the template.
func (u URL) Name() string { return u.Template }

// Most is how many requests a server gets at once.
func (u URL) Most() int { return atOnce }

// Deploy does nothing.
func (u URL) Deploy(context.Context, functions.Function, string, bool) (bool, error) {
	return false, nil
}

// Memory is not known.
func (u URL) Memory(context.Context) (Memory, bool) { return Memory{}, false }

// Invoke posts the event.
func (u URL) Invoke(ctx context.Context, f functions.Function, event []byte) (Answer, error) {
	address := strings.ReplaceAll(u.Template, "{function}", url.PathEscape(f.Name))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(event))
	if err != nil {
		return Answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := u.HTTP.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	result, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s: %s", address, response.Status, end(result))
	}
	return answered(client.AnswerOf(response.Header), result), err
}
