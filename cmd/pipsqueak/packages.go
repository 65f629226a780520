package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What a server is asked about its packages.

func (c client) inventory(ctx context.Context) (inventory core.Inventory, err error) {
	return inventory, c.get(ctx, "/v1/packages", &inventory)
}

// packagesOf returns what is known of the packages of a function: no more than the function says when the server keeps no packages itself.
func (c client) packagesOf(ctx context.Context, f core.Function) (all []core.Installed, err error) {
	err = c.get(ctx, functionPath(f.Name)+"/packages", &all)
	if core.IsKind(err, core.KindNotFound) {
		for _, p := range f.Packages {
			all = append(all, core.Installed{Package: p, Runtime: f.Runtime})
		}
		err = nil
	}
	return all, err
}

func (c client) verify(ctx context.Context, request core.VerifyRequest, progress func(core.Progress)) (core.Verified, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return core.Verified{}, err
	}
	end, err := c.follow(ctx, http.MethodPost, "/v1/packages/verify", bytes.NewReader(body), progress)
	return end.Verified, err
}

func (c client) forbid(ctx context.Context, verb string, rule core.Forbidden) (all []core.Installed, err error) {
	return all, c.post(ctx, "/v1/packages/"+verb, map[string]string{"name": rule.Name, "version": rule.Versions, "reason": rule.Reason}, &all)
}

func (c client) collect(ctx context.Context, olderThan *time.Duration) (removed []core.Installed, err error) {
	return removed, c.post(ctx, "/v1/packages/collect", map[string]any{"older_than": olderThan}, &removed)
}

// post sends a question as JSON, and reads the answer into value.
func (c client) post(ctx context.Context, path string, question, value any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	response, err := c.send(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// packageRows is the table of a function's packages, one in a row. A column in which no package has anything is left out.
func packageRows(all []core.Installed) [][]string {
	columns := []struct {
		title string
		of    func(core.Installed) string
	}{
		{"PACKAGE", func(p core.Installed) string { return p.String() }},
		{"SIZE", func(p core.Installed) string {
			if p.Added.IsZero() {
				return ""
			}
			return humanBytes(p.Size)
		}},
		{"SIGNATURE", func(p core.Installed) string { return signature(p.Receipt.Signatures) }},
		{"LICENCE", func(p core.Installed) string { return strings.Join(p.Receipt.Licenses, ", ") }},
		{"QUARANTINE", func(p core.Installed) string { return p.Quarantine }},
	}
	rows := make([][]string, len(all)+1)
	for _, column := range columns {
		if !slices.ContainsFunc(all, func(p core.Installed) bool { return column.of(p) != "" }) {
			continue
		}
		rows[0] = append(rows[0], column.title)
		for i, p := range all {
			text := column.of(p)
			if text == "" {
				text = "-"
			}
			rows[i+1] = append(rows[i+1], text)
		}
	}
	return rows
}

// signature says who has signed a package: "PEP 740 by github.com/a/b", or "none" when that was looked for in vain.
func signature(all []core.Signature) string {
	var good []string
	for _, s := range all {
		if !s.Verified {
			continue
		}
		text := s.Scheme
		if s.Signer != "" {
			text += " by " + s.Signer
		}
		good = append(good, text)
	}
	if len(all) > 0 && len(good) == 0 {
		return "none"
	}
	return strings.Join(good, ", ")
}
