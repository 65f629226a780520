package access

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Caller is who sends a request. The zero Caller may do nothing.
type Caller struct {
	held *held // its token, nil for the others
	free bool  // it may do everything
	uid  int   // of the operator's process, -1 for anyone

	From    string // its address, empty for the operator
	Request string // the id of the request
}

// Operator returns the caller at the worker's own socket, by the user id of its process.
func Operator(uid int) Caller { return Caller{free: true, uid: uid} }

// Anyone returns a caller of a worker without tokens. It may do everything but make tokens.
func Anyone() Caller { return Caller{free: true, uid: -1} }

func (c Caller) String() string {
	switch {
	case c.held != nil:
		return "token " + c.held.ID
	case c.free && c.uid >= 0:
		return "uid " + strconv.Itoa(c.uid)
	default:
		return "anyone"
	}
}

// ID returns the id of its token, empty without one.
func (c Caller) ID() string {
	if c.held == nil {
		return ""
	}
	return c.held.ID
}

// Limited reports whether there are functions of which the caller must not learn.
func (c Caller) Limited() bool { return !c.May(core.ScopeRead, core.AllFunctions) }

// Has reports whether the caller has the scope, for some functions at least.
func (c Caller) Has(scope core.Scope) bool { return c.free || c.held != nil && c.held.Has(scope) }

// May reports whether the caller has the scope for a function.
func (c Caller) May(scope core.Scope, function string) bool {
	return c.free || c.held != nil && c.held.May(scope, function)
}

// Denied returns the error for a caller that lacks the scope for a function. It is the same whether there is
// such a function.
func (c Caller) Denied(scope core.Scope, function string) error {
	of := fmt.Sprintf("of %.150q", function)
	switch function {
	case "":
		of = "of any function"
	case core.AllFunctions:
		of = "of all functions (*)"
	}
	return c.denied(scope, of)
}

// DeniedHere is Denied for a function that the caller has not named, and does not learn the name of: it has a
// route for the request.
func (c Caller) DeniedHere(scope core.Scope) error {
	return c.denied(scope, "of the function at this address")
}

func (c Caller) denied(scope core.Scope, of string) error {
	whose := "who asks has no token"
	if c.held != nil {
		whose = fmt.Sprintf("the token %s (%s) is for %v of %v", c.held.ID, c.held.Name, c.held.Scopes, c.held.Functions)
	}
	return core.Errorf(core.KindDenied, core.FaultCaller, "this needs the scope %s %s, and %s; ask for another token where you have this one from", scope, of, whose)
}

// Within returns a context of a request that ends with the caller's token too. The caller calls the function
// in the end.
func (c Caller) Within(ctx context.Context) (context.Context, func()) {
	ctx = context.WithValue(ctx, callerKey{}, c)
	if c.held == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.held.over, func() { cancel(context.Cause(c.held.over)) })
	return ctx, func() { stop(); cancel(nil) }
}

type callerKey struct{}

// CallerOf returns who sends the request with this context: without any, the zero Caller.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
