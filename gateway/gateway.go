// Package gateway is the front that every HTTP API stands on. It listens, gives each request an id, bounds
// bodies and connections, counts events, and answers errors by one table of statuses. An API adds its routes,
// as gateway/v1 does; /healthz and /metrics are the front's own. Results, logs and metrics apart, every
// answer is JSON, errors included; docs/http.md has the promises to users.
//
// The gateway cannot tell one worker from a cluster, and keeps no state but metrics.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// When the gateway ends, requests may continue for grace. Those that have not ended by then are answered with
// an error, which may take lastAnswers.
const (
	grace       = 10 * time.Second
	lastAnswers = time.Second
)

// Gateway is an http.Handler over a core.Service:
//
//	front := gateway.New(service, log)
//	v1.Mount(front)
//	err := front.Serve(ctx, listener)
type Gateway struct {
	service     core.Service
	log         *slog.Logger
	router      *mux.Router
	events      []events
	origins     *http.CrossOriginProtection
	metrics     *metrics
	connections *connections
	logEvents   bool
	closing     chan struct{} // closed when Serve begins to end
	close       func()
}

// New returns a Gateway for the service. The caller closes the service after the last request.
func New(service core.Service, log *slog.Logger) *Gateway {
	g := &Gateway{
		service:     service,
		log:         log,
		origins:     http.NewCrossOriginProtection(),
		metrics:     newMetrics(service, log),
		connections: newConnections(),
		closing:     make(chan struct{}),
	}
	g.close = sync.OnceFunc(func() { close(g.closing) })
	// Paths are matched as they were sent. Decoded, %2F in a name would be a separator, and mux would
	// redirect a path with ".." or "//" instead of refusing it.
	g.router = mux.NewRouter().UseEncodedPath().SkipClean(true)
	g.router.NotFoundHandler = g.answer(NotFound)
	g.Route("/healthz", Methods{http.MethodGet: healthz})
	g.Route("/metrics", Methods{http.MethodGet: g.metrics.serve})
	return g
}

// Service returns the service that is served.
func (g *Gateway) Service() core.Service { return g.service }

// Closing is closed when the gateway begins to end. An answer that does not end by itself, a followed log,
// ends then.
func (g *Gateway) Closing() <-chan struct{} { return g.closing }

// LogEvents writes a line to the log for each event. Call it before the first request.
func (g *Gateway) LogEvents() { g.logEvents = true }

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &reply{ResponseWriter: w}
	defer g.recovered(out, r)
	if r.ContentLength != 0 {
		r.Body = steady(w, r.Body)
	}
	// Events do not go through mux. Its regular expressions and its two copies of the request would more than
	// double the gateway's cost of a warm event: 0.6 to 1.5 µs, and 1.1 KB of garbage (BenchmarkRun,
	// BenchmarkMux).
	for _, e := range g.events {
		if name, found := strings.CutPrefix(r.URL.Path, e.prefix); found {
			e.serve(out, r, name)
			return
		}
	}
	g.router.ServeHTTP(out, r)
}

// errStopped answers the requests that have not ended after grace.
var errStopped = core.Errorf(core.KindCanceled, core.FaultWorker, "the worker was stopped before this had ended, and nobody can say how far it came")

// Serve answers requests on the listener until the context ends, and closes the listener. When the context
// ends, it refuses new requests, ends followed logs, gives other requests ten seconds (grace), answers the
// remaining ones with errStopped, and returns nil. It returns an error when the listener fails.
func (g *Gateway) Serve(ctx context.Context, listener net.Listener) error {
	base, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	server := &http.Server{
		Handler:           g,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         g.connections.count,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// No WriteTimeout and no ReadTimeout: uploads, invocations and followed logs may take any time.
		// steadyBody and steadyConn end those that stall.
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(steadyListener{listener}) }()
	select {
	case err := <-served:
		return core.Errorf(core.KindInternal, core.FaultWorker, "cannot go on serving at %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	g.close()
	if g.service.Stopper != nil {
		g.service.Stopper.Stop()
	}
	late := time.AfterFunc(grace, func() { giveUp(errStopped) })
	defer late.Stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+lastAnswers)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		g.log.Warn("cut requests that did not end", "took", grace+lastAnswers, "err", err)
		_ = server.Close() // it could only fail with the error that was just logged
	}
	<-served //nolint:errcheck // it says only that the server was closed
	return nil
}

// Handler answers a request, or returns an error to be answered with.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Methods are the handlers of one path.
type Methods map[string]Handler

// events are the paths of events.
type events struct {
	prefix string
	serve  func(w http.ResponseWriter, r *http.Request, name string)
}

// Events serves the paths that begin with the prefix, for every method. The name is the rest of the path,
// decoded. Call it before the first request.
func (g *Gateway) Events(prefix string, serve func(w http.ResponseWriter, r *http.Request, name string)) {
	g.events = append(g.events, events{prefix, serve})
}

// Route serves a path by its methods. It adds HEAD where there is GET, and OPTIONS, and answers 405 to other
// methods. Call it before the first request.
func (g *Gateway) Route(path string, m Methods) {
	allow := []string{http.MethodOptions}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m[method] != nil {
			allow = append(allow, method)
		}
	}
	if m[http.MethodGet] != nil {
		allow = append(allow, http.MethodHead)
		m[http.MethodHead] = m[http.MethodGet]
	}
	allowed := strings.Join(allow, ", ")
	g.router.Handle(path, g.answer(func(w http.ResponseWriter, r *http.Request) error {
		h := m[r.Method]
		if h == nil {
			return OtherMethod(w, r, allowed)
		}
		if err := g.origins.Check(r); err != nil {
			return &statusError{http.StatusForbidden, core.Errorf(core.KindInvalid, core.FaultCaller,
				"%s %s was sent by a page of another site, which may not change functions: %w", r.Method, Clip(r.URL.Path), err)}
		}
		if names := codings(r); len(names) > 0 {
			return unknownCoding(names, "identity")
		}
		return h(w, r)
	}))
}

// answer returns a handler as an http.Handler that answers with the handler's errors.
func (g *Gateway) answer(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			g.Fail(w, r, err)
		}
	})
}

// OtherMethod answers a method that a path has no handler for.
func OtherMethod(w http.ResponseWriter, r *http.Request, allowed string) error {
	w.Header().Set("Allow", allowed)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &statusError{http.StatusMethodNotAllowed, core.Errorf(core.KindInvalid, core.FaultCaller,
		"%s is not a method of %s; it has %s", Clip(r.Method), Clip(r.URL.Path), allowed)}
}

// NotFound answers a path that no route has.
func NotFound(_ http.ResponseWriter, r *http.Request) error {
	return core.Errorf(core.KindNotFound, core.FaultCaller,
		"there is nothing at %s; events go to /run/<name>, functions are under /v1/functions", Clip(r.URL.Path))
}

func healthz(w http.ResponseWriter, _ *http.Request) error {
	return WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// recovered is deferred around a request. It turns a panic into an internal error, or into a broken
// connection when an answer has begun.
func (g *Gateway) recovered(w *reply, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	g.log.Error("recover", "method", r.Method, "path", r.URL.Path, "err", cause, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	g.write(w, http.StatusInternalServerError, core.Errorf(core.KindInternal, core.FaultWorker,
		"a defect of Pipsqueak ended this request; its log has the details, please report it"))
}

// reply is a ResponseWriter that records whether an answer has begun, its status and its size.
type reply struct {
	http.ResponseWriter
	begun  bool
	status int // 0 until WriteHeader, which means 200
	size   int // bytes of the body
}

func (w *reply) WriteHeader(status int) {
	w.begun, w.status = true, status
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(p []byte) (int, error) {
	w.begun = true
	w.size += len(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
