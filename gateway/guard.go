package gateway

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
)

// Guarded is a handler with what a request needs a token for.
type Guarded struct {
	handle Handler
	scope  core.Scope // empty if every token will do
	of     reach
}

// reach says for which functions a token has to have a scope.
type reach int

const (
	ofNone  reach = iota + 1 // no token is needed, and none is looked at
	ofAny                    // none is needed; who has one may see more
	ofToken                  // any token will do
	ofSome                   // at least one; the service decides about each
	ofNamed                  // the one in the path
	ofAll                    // all, because what is asked for belongs to all
)

// Open returns a handler for everybody, with a token or without.
func Open(handle Handler) Guarded { return Guarded{handle, "", ofNone} }

// Named returns a handler for callers that have the scope for the function in the path.
func Named(scope core.Scope, handle Handler) Guarded { return Guarded{handle, scope, ofNamed} }

// Some returns a handler for callers that have the scope for some functions; the service shows and does no
// more than that.
func Some(scope core.Scope, handle Handler) Guarded { return Guarded{handle, scope, ofSome} }

// All returns a handler for callers that have the scope for all functions.
func All(scope core.Scope, handle Handler) Guarded { return Guarded{handle, scope, ofAll} }

// anyone returns a handler for callers with any token, or without one.
func anyone(handle Handler) Guarded { return Guarded{handle, "", ofAny} }

// known returns a handler for callers with any token.
func known(handle Handler) Guarded { return Guarded{handle, "", ofToken} }

// Guard is what a gateway asks who a caller is. Without one it takes requests of anyone.
type Guard struct {
	Tokens *access.Tokens
	Audit  *access.Audit
	// Rate is how many requests a second one client may send, 0 for any number. A client is a token, or an
	// address without one.
	Rate float64
}

// guard is a Guard at work.
type guard struct {
	Guard
	log     *slog.Logger
	clients *lru.Cache[client, *rate.Limiter]
	wrong   *lru.Cache[netip.Addr, *rate.Limiter] // requests without a good token

	mu      sync.Mutex // guards the following
	refused int        // requests since the last line about them
	told    time.Time  // that line
}

// client is a token by its id, or an address.
type client struct {
	token string
	from  netip.Addr
}

// Clients and addresses beyond manyClients are forgotten, those first that have been quiet for the longest
// time.
const manyClients = 8192

// An address may be wrong freeMistakes times at once, and once more each second. Beyond that, answers to its
// wrong requests wait for their turn. The token is looked up before that, so who has a good one does not wait
// for others behind the same address.
const freeMistakes = 10

// Guard puts a guard before all routes. Call it before the first request.
func (g *Gateway) Guard(own Guard) {
	g.guard = &guard{Guard: own, log: g.log}
	// New fails for a size that is not positive alone.
	g.guard.clients, _ = lru.New[client, *rate.Limiter](manyClients)
	g.guard.wrong, _ = lru.New[netip.Addr, *rate.Limiter](manyClients)
}

// enter returns the caller of a request that may have what it asks for: the scope, for the function if that
// is ofNamed. It is the one place that decides so.
func (g *Gateway) enter(w http.ResponseWriter, r *http.Request, id string, scope core.Scope, of reach, function string) (access.Caller, error) {
	if g.guard == nil || of == ofNone {
		return access.Anyone(), nil
	}
	caller, err := g.guard.callerOf(r)
	caller.Request = id
	if err != nil && !g.isOpen(r, scope, of, function) {
		g.guard.refuse(r, caller, err)
		g.await(r, limiter(g.guard.wrong, addressOf(caller), 1, freeMistakes))
		return caller, &statusError{http.StatusUnauthorized, err}
	}
	if err := g.guard.limit(caller); err != nil {
		return caller, err
	}
	may := false
	switch of {
	case ofToken, ofAny:
		may = true
	case ofSome:
		may = caller.Has(scope)
	case ofNamed:
		may = caller.May(scope, function) || g.isOpen(r, scope, of, function)
	case ofAll:
		function = core.AllFunctions
		may = caller.May(scope, function)
	case ofNone: // see above
	}
	out, is := w.(*reply)
	if !may {
		err := caller.Denied(scope, function)
		g.guard.refuse(r, caller, err)
		if is && out.routed {
			err = caller.DeniedHere(scope)
		}
		return caller, err
	}
	if is {
		out.caller = caller
	}
	return caller, nil
}

// isOpen reports whether a request may have what it asks for whoever sends it. One with a wrong token of this
// worker may not: its sender is told, as everywhere. Any other Authorization of a request to a public
// function is for that function.
func (g *Gateway) isOpen(r *http.Request, scope core.Scope, of reach, function string) bool {
	sent := r.Header["Authorization"]
	switch {
	case of == ofAny:
		return len(sent) == 0
	case of == ofNamed && scope == core.ScopeInvoke:
		return !slices.ContainsFunc(sent, access.HasToken) && g.service.Invoker.Public(function)
	}
	return false
}

// challenge says what a token lacks that was refused with a status, as RFC 6750 has it.
func challenge(r *http.Request, status int) string {
	switch {
	case status == http.StatusForbidden:
		return `Bearer realm="pipsqueak", error="insufficient_scope"`
	case r.Header.Get("Authorization") != "":
		return `Bearer realm="pipsqueak", error="invalid_token"`
	default:
		return `Bearer realm="pipsqueak"`
	}
}

// callerOf returns who sends a request. With an error, only its address is known.
func (own *guard) callerOf(r *http.Request) (access.Caller, error) {
	if uid, is := r.Context().Value(operatorKey{}).(int); is {
		return access.Operator(uid), nil
	}
	var caller access.Caller
	var err error
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case !own.Tokens.Any():
		caller = access.Anyone()
	case scheme == "":
		err = core.Errorf(core.KindDenied, core.FaultCaller, "this worker answers only to tokens, and the request has none: put one into PIPSQUEAK_TOKEN "+
			"or the credentials file for the command line, or send it as 'Authorization: Bearer TOKEN'; 'pipsqueak token create' makes one")
	case !strings.EqualFold(scheme, "Bearer"):
		err = core.Errorf(core.KindDenied, core.FaultCaller, "the request has an Authorization of another kind than Bearer: send 'Authorization: Bearer TOKEN'")
	default:
		if caller, err = own.Tokens.Holder(strings.TrimSpace(text), time.Now()); err == nil {
			r.Header.Del("Authorization") // of the functions that see headers, none is to see it
		}
	}
	caller.From = r.RemoteAddr
	return caller, err
}

// addressOf returns the address of a caller such that one client has few of them: of IPv6 the network.
func addressOf(c access.Caller) netip.Addr {
	at, err := netip.ParseAddrPort(c.From)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			addr = network.Addr()
		}
	}
	return addr
}

// limiter returns the limiter of a key, a new one if it has none.
func limiter[K comparable](of *lru.Cache[K, *rate.Limiter], key K, each rate.Limit, burst int) *rate.Limiter {
	if l, found := of.Get(key); found {
		return l
	}
	fresh := rate.NewLimiter(each, burst)
	if before, found, _ := of.PeekOrAdd(key, fresh); found {
		return before
	}
	return fresh
}

// limit refuses a request of a client that has sent too many. The operator has no limit.
func (own *guard) limit(c access.Caller) error {
	if own.Rate == 0 || c.From == "" {
		return nil
	}
	key := client{token: c.ID()}
	if key.token == "" {
		key.from = addressOf(c)
	}
	reservation := limiter(own.clients, key, rate.Limit(own.Rate), int(math.Ceil(own.Rate))).Reserve()
	wait := reservation.Delay()
	if wait == 0 {
		return nil
	}
	reservation.Cancel()
	return core.Errorf(core.KindExhausted, core.FaultCaller, "%s has sent more than the %g requests a second that the worker takes of one client (serve --client-rate); send them more slowly",
		c, own.Rate).After(wait)
}

// refuse tells of a request that was refused, at most once a second: with the next line, it says how many
// others there were.
func (own *guard) refuse(r *http.Request, c access.Caller, err error) {
	own.mu.Lock()
	now, others := time.Now(), own.refused
	own.refused++
	due := now.Sub(own.told) >= time.Second
	if due {
		own.told, own.refused = now, 0
	}
	own.mu.Unlock()
	if !due {
		return
	}
	own.log.Warn("refuse", "client", c.From, "method", r.Method, "path", Clip(r.URL.Path), "others", others, "err", err)
	own.Audit.Write(c, "refuse", map[string]any{"method": Clip(r.Method), "path": Clip(r.URL.Path), "others": others}, err)
}

// hideOthers takes the names of other functions out of an error, for a caller that may not know of them.
func hideOthers(c access.Caller, r *http.Request, e *core.Error) *core.Error {
	if e.Kind != core.KindNotFound || !c.Limited() {
		return e
	}
	hidden := *e
	hidden.Message = "there is no function, application or other thing at " + Clip(r.URL.Path)
	return &hidden
}

// operatorKey is the key of a connection's context for the user id of the process at the other end of the
// worker's socket.
type operatorKey struct{}
