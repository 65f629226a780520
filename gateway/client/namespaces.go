package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func namespacePath(name string) string { return "/v1/namespaces/" + url.PathEscape(name) }

// Namespaces returns all namespaces, sorted by name.
func (c Client) Namespaces(ctx context.Context) (all []core.NamespaceInfo, err error) {
	return all, c.get(ctx, "/v1/namespaces", &all)
}

// CreateNamespace makes a namespace.
func (c Client) CreateNamespace(ctx context.Context, spec core.NamespaceSpec) error {
	return c.post(ctx, "/v1/namespaces", spec, &spec)
}

// SetNamespace replaces what was decided about a namespace.
func (c Client) SetNamespace(ctx context.Context, spec core.NamespaceSpec) error {
	body, err := json.Marshal(spec)
	if err != nil {
		return core.AsError(err)
	}
	return c.ask(ctx, http.MethodPut, namespacePath(spec.Name), bytes.NewReader(body), &spec)
}

// RemoveNamespace removes a namespace that has no function.
func (c Client) RemoveNamespace(ctx context.Context, name string) error {
	response, err := c.send(ctx, http.MethodDelete, namespacePath(name), "application/json", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
