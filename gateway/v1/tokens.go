package v1

import (
	"net/http"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

const tokensPath = "/v1/tokens"

// keys answers requests about tokens.
type keys struct{ tokens core.Tokens }

func (k keys) list(w http.ResponseWriter, r *http.Request) error {
	all, err := k.tokens.Tokens(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, all)
}

// create answers with the token's text, once.
func (k keys) create(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Name      string       `json:"name"`
		Scopes    []core.Scope `json:"scopes"`
		Functions []string     `json:"functions"`
		Expires   time.Time    `json:"expires"`
	}
	if err := question(w, r, &asked); err != nil {
		return err
	}
	token, text, err := k.tokens.CreateToken(r.Context(), core.Token{Name: asked.Name, Scopes: asked.Scopes, Functions: asked.Functions, Expires: asked.Expires})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return gateway.WriteJSON(w, http.StatusCreated, struct {
		core.Token
		Text string `json:"token"`
	}{token, text})
}

func (k keys) revoke(w http.ResponseWriter, r *http.Request) error {
	token, err := k.tokens.RevokeToken(r.Context(), strings.TrimPrefix(r.URL.Path, tokensPath+"/"))
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, token)
}
