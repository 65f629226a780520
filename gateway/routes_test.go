package gateway_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
	"github.com/pipsqueak-faas/pipsqueak/gateway/web"
)

// Which requests may who send?

// parts is a service with every part, whose methods panic: whoever sees that has passed the guard.
type parts struct {
	core.Catalog
	core.Invoker
	core.Tree
	core.Applications
	core.Locker
	logs
	core.Packages
	core.Bills
	report
}

// Public is of no function, so that events need what others need.
func (parts) Public(string) bool { return false }

// Methods with the names of their parts need fields with other names.
type (
	logs   = core.Logs
	report = core.Vulnerabilities
)

func (parts) Functions(context.Context) ([]core.Function, error) {
	return []core.Function{{Name: "f"}, {Name: "other"}, {Name: "a", Application: "shop"}, {Name: "b", Application: "shop"}}, nil
}

// guarded returns a gateway with all routes behind a guard, and a function that makes tokens.
func guarded(t *testing.T) (*gateway.Gateway, func(token core.Token) string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	data := t.TempDir()
	tokens, err := access.OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	audit := access.OpenAudit(data, log)
	t.Cleanup(func() { audit.Close() })
	p := parts{}
	service := access.Restrict(core.Service{Catalog: p, Invoker: p, Tree: p, Applications: p, Locker: p, Logs: p, Packages: p, Bills: p, Vulnerabilities: p}, tokens, audit)
	front := gateway.New(service, log)
	front.Guard(gateway.Guard{Tokens: tokens, Audit: audit})
	v1.Mount(front)
	web.Mount(front)
	operator, end := access.Operator(0).Within(t.Context())
	t.Cleanup(end)
	return front, func(token core.Token) string {
		token.Name = "of the test"
		_, text, err := service.Tokens.CreateToken(operator, token)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// status asks for a path with a token, or without one. A panic of the service is a 500.
func status(front http.Handler, method, path, token string) int {
	request := httptest.NewRequest(cmp.Or(method, http.MethodGet), "http://127.0.0.1"+path, nil)
	request.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", rand.IntN(256), rand.IntN(256)) // or mistakes would be slow
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	front.ServeHTTP(answer, request)
	return answer.Code
}

func TestEveryRouteNeedsWhatItIsDocumentedToNeed(t *testing.T) {
	front, create := guarded(t)
	tokens := map[string]string{}
	for _, scope := range core.Scopes() {
		for _, function := range []string{"f", "other", "*"} {
			tokens[fmt.Sprint(scope, " ", function)] = create(core.Token{Scopes: []core.Scope{scope}, Functions: []string{function}})
		}
	}
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range front.Paths() {
		where := strings.NewReplacer("{name}", "f", "{id}", "f").Replace(path)
		answer := httptest.NewRecorder()
		options := httptest.NewRequest(http.MethodOptions, "http://127.0.0.1"+where, nil)
		options.Header.Set("Authorization", "Bearer "+tokens["invoke *"])
		front.ServeHTTP(answer, options)
		methods := strings.Split(answer.Header().Get("Allow"), ", ")
		for _, method := range methods {
			if method == http.MethodOptions || method == http.MethodHead && slices.Contains(methods, http.MethodGet) {
				continue
			}
			seen++
			shown := cmp.Or(method, "ANY") // of all that a function answers itself
			if row := fmt.Sprintf("| `%s %s` | %s |", shown, path, needOf(front, method, where, tokens)); !strings.Contains(string(page), row) {
				t.Errorf("docs/http.md has no row %s", row)
			}
		}
	}
	if seen < 22 {
		t.Errorf("only %d requests were found", seen)
	}
}

// needOf finds out which tokens a request gets in with.
func needOf(front http.Handler, method, path string, tokens map[string]string) string {
	passes := func(token string) bool {
		code := status(front, method, path, token)
		return code != http.StatusUnauthorized && code != http.StatusForbidden
	}
	if passes("") {
		return "nothing |"
	}
	need := ""
	for _, scope := range core.Scopes() {
		named, other, all := passes(tokens[string(scope)+" f"]), passes(tokens[string(scope)+" other"]), passes(tokens[string(scope)+" *"])
		var reach string
		switch {
		case named && other && all:
			reach = "any function"
		case named && all && !other:
			reach = "the function"
		case all && !named && !other:
			reach = "all functions"
		case named || other || all:
			reach = "what nobody understands"
		default:
			continue
		}
		switch {
		case need == "":
			need = string(scope) + " | " + reach
		case scope != core.ScopeAdmin || !strings.HasSuffix(need, reach): // admin includes the others
			need += ", " + string(scope) + " " + reach
		}
	}
	return need
}
