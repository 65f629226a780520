package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// SetEnv changes the environment of a function, and returns its next version. Query and progress are as for
// Deploy.
func (c Client) SetEnv(ctx context.Context, change core.EnvChange, query url.Values, progress func(core.Progress)) (core.Function, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return core.Function{}, core.AsError(err)
	}
	end, err := c.follow(ctx, http.MethodPost, withQuery(functionPath(change.Function)+"/env", query), bytes.NewReader(body), progress)
	return end.Function, err
}

func secretPath(name string) string { return "/v1/secrets/" + url.PathEscape(name) }

// Secrets returns what is known of the secrets, sorted by name.
func (c Client) Secrets(ctx context.Context) (all []core.SecretInfo, err error) {
	return all, c.get(ctx, "/v1/secrets", &all)
}

// SetSecret keeps a value under a full name, and gives the functions that use it their next version.
func (c Client) SetSecret(ctx context.Context, name string, value core.Secret) (info core.SecretInfo, err error) {
	return info, c.ask(ctx, http.MethodPut, secretPath(name), bytes.NewReader(value), &info)
}

// RemoveSecret forgets a secret that no function uses.
func (c Client) RemoveSecret(ctx context.Context, name string) error {
	response, err := c.send(ctx, http.MethodDelete, secretPath(name), "application/json", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Storages returns the storages, sorted by name.
func (c Client) Storages(ctx context.Context) (all []core.StorageInfo, err error) {
	return all, c.get(ctx, "/v1/storages", &all)
}

// RemoveStorage removes a storage that no function uses, with everything in it.
func (c Client) RemoveStorage(ctx context.Context, name string) error {
	response, err := c.send(ctx, http.MethodDelete, "/v1/storages/"+url.PathEscape(name), "application/json", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
