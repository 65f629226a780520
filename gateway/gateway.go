// Package gateway is the front that every HTTP API stands on. It listens, gives each request an id, bounds
// bodies and connections, counts events, and answers errors by one table of statuses. An API adds its routes,
// as gateway/v1 does; /healthz and /metrics are the front's own. Results, logs and metrics apart, every
// answer is JSON, errors included; docs/http.md has the promises to users.
//
// The gateway cannot tell one worker from a cluster, and keeps no state but metrics.
//
// Mutex order: those of the connections, of the answers, of the metrics and of the readiness are taken alone.
package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
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
	sites       func(w http.ResponseWriter, r *http.Request, name string)
	routes      func(w http.ResponseWriter, r *http.Request, match core.RouteMatch)
	own         []string // first segments of the paths of Route
	hosts       []string // in lower case
	origins     *http.CrossOriginProtection
	metrics     *metrics
	connections *connections
	guard       *guard        // nil while it is open to everybody
	tls         *Certificates // nil without TLS
	held        *core.Budget  // bytes of events, from their first byte to their end
	answers     *answers
	refused     *lru.Cache[string, *rate.Limiter] // events, by namespace
	logEvents   bool
	closing     chan struct{} // closed when Serve begins to end
	running     atomic.Int64  // requests that came before that
	close       func()

	ready  sync.Mutex // for what is known of the service's readiness: anybody may ask for that, so it is looked at once a second
	looked time.Time
	parts  map[string]string
}

// New returns a Gateway for the service. The caller closes the service after the last request.
func New(service core.Service, log *slog.Logger) *Gateway {
	g := &Gateway{
		service:     service,
		log:         log,
		origins:     http.NewCrossOriginProtection(),
		connections: newConnections(log),
		held:        core.EventBudget(),
		answers:     newAnswers(),
		refused:     newRefused(),
		closing:     make(chan struct{}),
	}
	g.close = sync.OnceFunc(func() { close(g.closing) })
	g.metrics = newMetrics(service, g.readiness, log)
	// Paths are matched as they were sent. Decoded, %2F in a name would be a separator, and mux would
	// redirect a path with ".." or "//" instead of refusing it.
	g.router = mux.NewRouter().UseEncodedPath().SkipClean(true)
	g.router.NotFoundHandler = g.answer(known(NotFound))
	g.Route("/healthz", Methods{http.MethodGet: Open(healthz)})
	g.Route("/readyz", Methods{http.MethodGet: anyone(g.readyz)})
	g.Route("/metrics", Methods{http.MethodGet: All(core.ScopeRead, g.metrics.serve)})
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
	out := &reply{ResponseWriter: w, caller: access.Anyone(), answers: g.answers, ctx: r.Context()}
	defer func() { g.answers.give(&out.kept) }()
	defer g.recovered(out, r)
	if body := r.Body; r.ContentLength != 0 {
		r.Body = steady(w, body)
		// By its own body the server sees that the rest was not read, and closes such that the caller gets
		// the answer. It does not look when the caller has asked for the close.
		defer func() {
			if r.Close && isUnread(r) {
				drain(w, body)
			}
			r.Body = body
		}()
	}
	name, isSite := siteOf(r.Host)
	isSite = isSite && g.sites != nil
	to := g.placeOf(r)
	out.cross, out.routed = g.crossing(r, to.function), to.routed
	if err := g.admit(r, isSite || to.routed, to.foreign, out.cross.allowed); err != nil {
		g.Fail(out, r, err)
		return
	}
	if asks := out.cross; asks.preflight(r) {
		out.cross = cross{}
		asks.answer(out, r)
		return
	}
	begun := g.begin()
	if begun {
		defer g.running.Add(-1)
	}
	switch {
	case isSite:
		g.sites(out, r, name)
		return
	case to.routed:
		g.routes(out, r, to.match)
		return
	case to.foreign:
		g.answer(known(NotFound)).ServeHTTP(out, r)
		return
	}
	// Events do not go through mux. Its regular expressions and its two copies of the request would more than
	// double the gateway's cost of a warm event: 0.6 to 1.5 µs, and 1.1 KB of garbage (BenchmarkRun,
	// BenchmarkMux).
	if e, found := g.event(r.URL.Path); found {
		e.serve(out, r, r.URL.Path[len(e.prefix):])
		return
	}
	// The service refuses events itself. What is asked of the gateway's own state is answered until the end.
	if !begun && !slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, r.URL.Path) {
		g.Fail(out, r, core.Stopping())
		return
	}
	g.router.ServeHTTP(out, r)
}

// begin counts a request, unless the gateway is about to end.
func (g *Gateway) begin() bool {
	g.running.Add(1)
	if g.draining() {
		g.running.Add(-1)
		return false
	}
	return true
}

func (g *Gateway) draining() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

// errStopped answers the requests that have not ended after grace.
var errStopped = core.Errorf(core.KindCanceled, core.FaultWorker, "the worker was stopped before this had ended, and nobody can say how far it came")

// Serve answers requests on the listeners until the context ends, and closes them. When the context ends, it
// refuses new requests, ends followed logs, gives other requests ten seconds (grace), answers the remaining
// ones with errStopped, and returns nil. Until then it takes connections, so that whoever comes learns why.
// It returns an error when a listener fails. Who connects to a unix socket is the operator.
func (g *Gateway) Serve(ctx context.Context, listeners ...net.Listener) error {
	base, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	server := &http.Server{
		Handler:           g,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withOperator,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// No WriteTimeout and no ReadTimeout: uploads, invocations and followed logs may take any time.
		// steadyBody and steadyConn end those that stall.
	}
	if g.tls != nil {
		go g.tls.keep(ctx)
	}
	served := make(chan error, len(listeners))
	for _, listener := range listeners {
		accepted := net.Listener(counted{listener, g.connections})
		if _, local := listener.(*net.UnixListener); g.tls != nil && !local {
			accepted = tls.NewListener(accepted, g.tls.server())
		}
		go func() {
			err := server.Serve(accepted)
			served <- core.Errorf(core.KindInternal, core.FaultWorker, "cannot go on serving at %s: %w", listener.Addr(), err)
		}()
	}
	select {
	case err := <-served:
		_ = server.Close() // of the other listeners; the first error counts
		return err
	case <-ctx.Done():
	}
	if g.service.Stopper != nil {
		g.service.Stopper.Stop()
	}
	g.close()
	late := time.AfterFunc(grace, func() { giveUp(errStopped) })
	defer late.Stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+lastAnswers)
	defer cancel()
	for g.running.Load() > 0 && end.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := server.Shutdown(end); err != nil {
		g.log.Warn("cut requests that did not end", "took", grace+lastAnswers, "err", err)
		_ = server.Close() // it could only fail with the error that was just logged
	}
	for range listeners {
		<-served //nolint:errcheck // it says only that the server was closed
	}
	return nil
}

// Handler answers a request, or returns an error to be answered with.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Methods are the handlers of one path, with what each needs a token for.
type Methods map[string]Guarded

// events are the paths of events.
type events struct {
	prefix string
	pages  bool // browsers' pages may send them
	serve  func(w http.ResponseWriter, r *http.Request, name string)
}

// event returns the events that a path is of.
func (g *Gateway) event(path string) (events, bool) {
	for _, e := range g.events {
		if strings.HasPrefix(path, e.prefix) {
			return e, true
		}
	}
	return events{}, false
}

// Events serves the paths that begin with the prefix, for every method. The name is the rest of the path,
// decoded. Invoke lets in who may send the event. Call it before the first request.
func (g *Gateway) Events(prefix string, serve func(w http.ResponseWriter, r *http.Request, name string)) {
	g.events = append(g.events, events{prefix, false, serve})
}

// Sites serves what functions answer to browsers: the paths that begin with the prefix, as Events does, all
// paths of each host NAME.localhost, with that name, and routes of functions. Call it before the first
// request.
func (g *Gateway) Sites(prefix string, underPath, underHost func(w http.ResponseWriter, r *http.Request, name string),
	routed func(w http.ResponseWriter, r *http.Request, match core.RouteMatch)) {
	g.events = append(g.events, events{prefix, true, underPath})
	g.sites, g.routes = underHost, routed
}

// Route serves a path by its methods. It adds HEAD where there is GET, and OPTIONS, and answers 405 to other
// methods. Call it before the first request.
func (g *Gateway) Route(path string, m Methods) {
	allow := []string{http.MethodOptions}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m[method].handle != nil {
			allow = append(allow, method)
		}
	}
	if m[http.MethodGet].handle != nil {
		allow = append(allow, http.MethodHead)
		m[http.MethodHead] = m[http.MethodGet]
	}
	allowed := strings.Join(allow, ", ")
	m[anyMethod] = known(func(w http.ResponseWriter, r *http.Request) error { return OtherMethod(w, r, allowed) })
	g.router.Handle(path, m.handler(g))
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	g.own = append(g.own, first)
}

// anyMethod stands for the methods that a path does not have.
const anyMethod = ""

// handler returns the methods of a path as an http.Handler.
func (m Methods) handler(g *Gateway) http.Handler {
	each := map[string]http.Handler{}
	for method, guarded := range m {
		each[method] = g.answer(guarded)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, found := each[r.Method]
		if !found {
			h = each[anyMethod]
		}
		h.ServeHTTP(w, r)
	})
}

// answer returns a handler as an http.Handler that lets callers in who may, and answers with the handler's
// errors.
func (g *Gateway) answer(h Guarded) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.handle(w, r, h); err != nil {
			g.Fail(w, r, err)
		}
	})
}

func (g *Gateway) handle(w http.ResponseWriter, r *http.Request, h Guarded) error {
	id, name, wrong := RequestID(r.Header), "", error(nil)
	w.Header().Set(HeaderRequestID, id)
	if h.of == ofNamed {
		name, wrong = NameOf(r)
	}
	caller, err := g.enter(w, r, id, h.scope, h.of, name)
	if err = cmp.Or(err, wrong); err != nil {
		return err
	}
	if names := codings(r); len(names) > 0 {
		return unknownCoding(names, "identity")
	}
	ctx, end := caller.Within(r.Context())
	defer end()
	return h.handle(w, r.WithContext(ctx))
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
		"there is nothing at %s; events go to /run/<name>, requests to /fn/<name>, functions are under /v1/functions", Clip(r.URL.Path))
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
