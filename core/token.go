package core

import (
	"slices"
	"strings"
	"time"
)

// Scope is what a token lets its holder do.
type Scope string

// The scopes of a token. Each counts for the functions that the token is for.
const (
	ScopeInvoke Scope = "invoke" // send events
	ScopeRead   Scope = "read"   // see functions with their environment, logs, packages and processes
	ScopeDeploy Scope = "deploy" // deploy, replace and remove functions
	// ScopeAdmin includes the others. It makes tokens that may not do more than the one it belongs to; of a
	// token for all functions it is also for what all of them share: packages and quarantine.
	ScopeAdmin Scope = "admin"
)

// Scopes returns every scope.
func Scopes() []Scope { return []Scope{ScopeInvoke, ScopeRead, ScopeDeploy, ScopeAdmin} }

// AllFunctions is what a token for every function of every namespace is for.
const AllFunctions = "*"

// Token is what is known of a token of a client, without its secret.
type Token struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"` // for people; several may have the same
	Scopes []Scope `json:"scopes"`
	// Functions are those that it is for: full names, "*.NAMESPACE" for a whole namespace, AllFunctions. The
	// name of an application stands for the application, not for its functions.
	Functions []string  `json:"functions"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"` // zero for a token without an end
	Used      time.Time `json:"used,omitzero"`    // last
}

// Has reports whether the token has the scope, for some functions at least.
func (t *Token) Has(scope Scope) bool {
	return slices.Contains(t.Scopes, scope) || slices.Contains(t.Scopes, ScopeAdmin)
}

// IsFor reports whether the token is for a function, by its full name. The function may also be one of the
// forms of Functions: then the token has to be for everything that it stands for.
func (t *Token) IsFor(function string) bool {
	return slices.ContainsFunc(t.Functions, func(own string) bool {
		if own == AllFunctions || own == function {
			return true
		}
		namespace, whole := strings.CutPrefix(own, "*.")
		return whole && function != AllFunctions && Namespace(function) == namespace
	})
}

// May reports whether the token has the scope for the function.
func (t *Token) May(scope Scope, function string) bool { return t.Has(scope) && t.IsFor(function) }

// Covers reports whether the token may do all that the other one may, for at least as long.
func (t *Token) Covers(other *Token) bool {
	for _, scope := range other.Scopes {
		if !t.Has(scope) {
			return false
		}
	}
	for _, function := range other.Functions {
		if !t.IsFor(function) {
			return false
		}
	}
	return t.Expires.IsZero() || !other.Expires.IsZero() && !other.Expires.After(t.Expires)
}

// MaxTokenName is how many bytes the name of a token has at most.
const MaxTokenName = 100

// maxTokenFunctions bounds the functions that one token names: a request looks at each.
const maxTokenFunctions = 100

// ValidToken returns the reason why a token cannot be made, nil if it can.
func ValidToken(t *Token) error {
	if t.Name == "" || len(t.Name) > MaxTokenName || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Errorf(KindInvalid, FaultCaller, "the name of a token is %.150q; it is a text of 1 to %d bytes in one line, such as who uses it", t.Name, MaxTokenName)
	}
	if len(t.Scopes) == 0 || len(t.Scopes) > len(Scopes()) {
		return Errorf(KindInvalid, FaultCaller, "a token has %d scopes; name one or more of %v", len(t.Scopes), Scopes())
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(Scopes(), scope) {
			return Errorf(KindInvalid, FaultCaller, "%.50q is no scope; there are %v", string(scope), Scopes())
		}
	}
	if len(t.Functions) == 0 || len(t.Functions) > maxTokenFunctions {
		return Errorf(KindInvalid, FaultCaller, "a token is for %d functions; name 1 to %d, or * for all", len(t.Functions), maxTokenFunctions)
	}
	for _, function := range t.Functions {
		if err := validTokenFunction(function); err != nil {
			return Errorf(KindInvalid, FaultCaller, "a token cannot be for %.150q: it is for * (all functions), *.NAMESPACE, or the full name of a function or application", function)
		}
	}
	return nil
}

// validTokenFunction returns the reason why a text is none of the forms of Token.Functions.
func validTokenFunction(text string) error {
	if namespace, whole := strings.CutPrefix(text, "*."); whole {
		return ValidNamespace(namespace)
	}
	if text == AllFunctions {
		return nil
	}
	return ValidName(text)
}
