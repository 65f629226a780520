package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Inventory returns all installed packages.
func (c Client) Inventory(ctx context.Context) (inventory core.Inventory, err error) {
	return inventory, c.get(ctx, "/v1/packages", &inventory)
}

// PackagesOf returns the packages of a function. From a server that keeps no packages they have what the
// function says of them, and no more.
func (c Client) PackagesOf(ctx context.Context, f core.Function) (all []core.Installed, err error) {
	err = c.get(ctx, functionPath(f.Name)+"/packages", &all)
	if core.IsKind(err, core.KindNotFound) {
		for _, p := range f.Packages {
			all = append(all, core.Installed{Package: p, Runtime: f.Runtime})
		}
		err = nil
	}
	return all, err
}

// Verify reads files of packages and of code again. Progress may be nil.
func (c Client) Verify(ctx context.Context, request core.VerifyRequest, progress func(core.Progress)) (core.Verified, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return core.Verified{}, core.AsError(err)
	}
	end, err := c.follow(ctx, http.MethodPost, "/v1/packages/verify", bytes.NewReader(body), progress)
	return end.Verified, err
}

// Quarantine forbids versions of a package, and returns the installed packages that the rule covers.
func (c Client) Quarantine(ctx context.Context, rule core.Forbidden) ([]core.Installed, error) {
	return c.forbid(ctx, "quarantine", rule)
}

// Release allows again what a rule forbids, and returns the installed packages that the rule covers.
func (c Client) Release(ctx context.Context, rule core.Forbidden) ([]core.Installed, error) {
	return c.forbid(ctx, "release", rule)
}

func (c Client) forbid(ctx context.Context, verb string, rule core.Forbidden) (all []core.Installed, err error) {
	return all, c.post(ctx, "/v1/packages/"+verb, map[string]string{"name": rule.Name, "version": rule.Versions, "reason": rule.Reason}, &all)
}

// Collect removes packages that have been unused for that long, nil for the server's limit, and returns them.
func (c Client) Collect(ctx context.Context, olderThan *time.Duration) (removed []core.Installed, err error) {
	return removed, c.post(ctx, "/v1/packages/collect", map[string]any{"older_than": olderThan}, &removed)
}

// Vulnerabilities returns the known vulnerabilities of a function. KindUnsupported when the server has no
// database.
func (c Client) Vulnerabilities(ctx context.Context, name string) (report core.VulnerabilityReport, err error) {
	return report, c.get(ctx, functionPath(name)+"/vulnerabilities", &report)
}

// Bill copies the bill of materials of a function to out.
func (c Client) Bill(ctx context.Context, name string, format core.BillFormat, out io.Writer) error {
	return c.copy(ctx, functionPath(name)+"/sbom", format.MediaType(), out)
}
