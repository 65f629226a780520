package core

import (
	"strings"
	"testing"
	"time"
)

func TestTokenIsFor(t *testing.T) {
	for _, test := range []struct {
		own, function string
		is            bool
	}{
		{"*", "f", true}, {"*", "f.team", true}, {"*", "*", true}, {"*", "*.team", true},
		{"f", "f", true}, {"f", "F", false}, {"f", "ff", false}, {"f", "f.team", false}, {"f", "", false}, {"f", "*", false},
		{"f.team", "f.team", true}, {"f.team", "f", false}, {"f.team", "*.team", false},
		{"*.team", "f.team", true}, {"*.team", "*.team", true}, {"*.team", "f", false}, {"*.team", "f.teams", false}, {"*.team", "f.other.team", false}, {"*.team", "f.team.other", false},
		{"*.team", "*", false}, {"*.team", "team", false}, {"*.team", ".team", true}, // no function can be called so
		{"*.default", "f", true}, {"*.default", "f.team", false}, {"*.default", "*", false}, {"*.default", "*.team", false}, {"*.default", "*.default", true},
	} {
		token := Token{Scopes: []Scope{ScopeRead}, Functions: []string{"other", test.own}}
		if got := token.IsFor(test.function); got != test.is {
			t.Errorf("a token for %s is for %s: %v", test.own, test.function, got)
		}
		if token.May(ScopeRead, test.function) != test.is || token.May(ScopeDeploy, test.function) {
			t.Errorf("a token for %s may not what it is for: %s", test.own, test.function)
		}
	}
}

func TestTokenHas(t *testing.T) {
	for _, scope := range Scopes() {
		one, all := Token{Scopes: []Scope{scope}}, Token{Scopes: []Scope{ScopeAdmin}}
		for _, other := range Scopes() {
			if one.Has(other) != (scope == other || scope == ScopeAdmin) {
				t.Errorf("a token with %s has %s: %v", scope, other, one.Has(other))
			}
		}
		if !all.Has(scope) || (&Token{}).Has(scope) {
			t.Errorf("admin has no %s, or a token without scopes has", scope)
		}
	}
}

func TestTokenCovers(t *testing.T) {
	soon, late := time.Unix(1000, 0), time.Unix(2000, 0)
	admin := Token{Scopes: []Scope{ScopeAdmin}, Functions: []string{"*.team", "f"}, Expires: soon}
	for _, test := range []struct {
		other  Token
		covers bool
	}{
		{Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"f"}, Expires: soon}, true},
		{Token{Scopes: Scopes(), Functions: []string{"g.team", "*.team", "f"}, Expires: soon}, true},
		{Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"f"}, Expires: late}, false},
		{Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"f"}}, false},
		{Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"f", "*"}, Expires: soon}, false},
		{Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"*.default"}, Expires: soon}, false},
	} {
		if got := admin.Covers(&test.other); got != test.covers {
			t.Errorf("covers %+v: %v", test.other, got)
		}
	}
	reader := Token{Scopes: []Scope{ScopeRead}, Functions: []string{"*"}}
	if reader.Covers(&Token{Scopes: []Scope{ScopeInvoke}, Functions: []string{"f"}}) || !reader.Covers(&Token{Scopes: []Scope{ScopeRead}, Functions: []string{"f"}}) {
		t.Error("a token that reads covers one that invokes, or not one that reads less")
	}
}

func TestValidToken(t *testing.T) {
	good := Token{Name: "the CI of team å", Scopes: []Scope{ScopeDeploy, ScopeInvoke}, Functions: []string{"*", "f", "*.team", "f-1.team", "*.default"}}
	if err := ValidToken(&good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Token){
		"no name":          func(t *Token) { t.Name = "" },
		"a long name":      func(t *Token) { t.Name = strings.Repeat("n", MaxTokenName+1) },
		"two lines":        func(t *Token) { t.Name = "a\nb" },
		"no scope":         func(t *Token) { t.Scopes = nil },
		"another scope":    func(t *Token) { t.Scopes = []Scope{"root"} },
		"no function":      func(t *Token) { t.Functions = nil },
		"an empty name":    func(t *Token) { t.Functions = []string{""} },
		"a part of a name": func(t *Token) { t.Functions = []string{"img-*"} },
		"two stars":        func(t *Token) { t.Functions = []string{"*.*"} },
		"a path":           func(t *Token) { t.Functions = []string{"../f"} },
		"two dots":         func(t *Token) { t.Functions = []string{"f.a.b"} },
		"too many":         func(t *Token) { t.Functions = make([]string, 101) },
	} {
		bad := good
		spoil(&bad)
		if err := ValidToken(&bad); !IsKind(err, KindInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token for a function is for nothing else that is called differently, whatever it is.
func FuzzTokenIsFor(f *testing.F) {
	f.Add("f", "f")
	f.Add("*.team", "f.team")
	f.Add("*", "*.x")
	f.Add("*.default", "f")
	f.Fuzz(func(t *testing.T, own, function string) {
		token := Token{Name: "n", Scopes: []Scope{ScopeInvoke}, Functions: []string{own}}
		if ValidToken(&token) != nil || ValidName(function) != nil {
			return
		}
		if token.IsFor(function) && own != AllFunctions && own != function && (!strings.HasPrefix(own, "*.") || own[2:] != Namespace(function)) {
			t.Errorf("a token for %q is for %q", own, function)
		}
		if !token.IsFor(own) {
			t.Errorf("a token for %q is not for that", own)
		}
	})
}
