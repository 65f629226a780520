package access

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Restrict returns a service that does what another one does, for callers with rights: its lists show what
// the caller of the request may read, it refuses what only a request's body or the service tells, and writes
// changes to the audit log. It has the part Tokens.
func Restrict(service core.Service, tokens *Tokens, audit *Audit) core.Service {
	g := &guard{service, tokens, audit}
	guarded := service
	guarded.Catalog, guarded.Tree, guarded.Tokens = guardedCatalog{g}, guardedTree{g}, guardedTokens{g}
	if service.Applications != nil {
		guarded.Applications = guardedApplications{g}
	}
	if service.Settings != nil {
		guarded.Settings = guardedSettings{g}
	}
	if service.Secrets != nil {
		guarded.Secrets = guardedSecrets{g}
	}
	if service.Storages != nil {
		guarded.Storages = guardedStorages{g}
	}
	if service.Logs != nil {
		guarded.Logs = guardedLogs{g}
	}
	if service.Packages != nil {
		guarded.Packages = guardedPackages{service.Packages, g}
	}
	if service.Namespaces != nil {
		guarded.Namespaces = guardedNamespaces{g}
	}
	return guarded
}

type guard struct {
	service core.Service
	tokens  *Tokens
	audit   *Audit
}

type guardedCatalog struct{ *guard }

func (g guardedCatalog) Deploy(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
	c := CallerOf(ctx)
	var err error
	switch {
	case c.May(core.ScopeDeploy, core.AllFunctions):
	case request.Name == "": // the archive has it, which nobody has read yet
		err = core.Errorf(core.KindDenied, core.FaultCaller, "a token for some functions deploys by name: PUT /v1/functions/NAME, or 'pipsqueak deploy --name NAME'")
	case !c.May(core.ScopeDeploy, request.Name):
		err = c.Denied(core.ScopeDeploy, request.Name)
	}
	var fn core.Function
	if err == nil {
		fn, err = g.service.Catalog.Deploy(ctx, request, progress)
	}
	what := map[string]any{"function": request.Name}
	if err == nil {
		what = deployed(fn)
	}
	g.audit.Write(c, "deploy", what, err)
	return fn, err
}

// deployed is what the audit log has of a function.
func deployed(fn core.Function) map[string]any {
	what := map[string]any{"function": fn.Name, "version": fn.Version, "code": fn.Code}
	if fn.Public {
		what["public"] = true
	}
	return what
}

func (g guardedCatalog) Remove(ctx context.Context, name string) error {
	err := g.service.Catalog.Remove(ctx, name)
	g.audit.Write(CallerOf(ctx), "remove", map[string]any{"function": name}, err)
	return err
}

func (g guardedCatalog) Functions(ctx context.Context) ([]core.Function, error) {
	all, err := g.service.Catalog.Functions(ctx)
	if c := CallerOf(ctx); c.Limited() {
		all = slices.DeleteFunc(all, func(fn core.Function) bool { return !c.May(core.ScopeRead, fn.Name) })
	}
	return all, err
}

type guardedSettings struct{ *guard }

// SetEnv writes the names of the variables to the audit log, and not their values.
func (g guardedSettings) SetEnv(ctx context.Context, change core.EnvChange, progress func(core.Progress)) (core.Function, error) {
	fn, err := g.service.Settings.SetEnv(ctx, change, progress)
	what := map[string]any{"function": change.Function, "set": slices.Sorted(maps.Keys(change.Set)), "unset": change.Unset}
	if err == nil {
		what["version"] = fn.Version
	}
	g.audit.Write(CallerOf(ctx), "env", what, err)
	return fn, err
}

type guardedSecrets struct{ *guard }

// wholeNamespace stands for all functions of the namespace of a secret, or a storage: who may deploy one of
// them may have it read the secret, and who changes the secret changes them all.
func wholeNamespace(full string) string { return "*." + core.Namespace(full) }

// Secrets returns the secrets of the namespaces that the caller may read.
func (g guardedSecrets) Secrets(ctx context.Context) ([]core.SecretInfo, error) {
	all, err := g.service.Secrets.Secrets(ctx)
	c := CallerOf(ctx)
	return slices.DeleteFunc(all, func(s core.SecretInfo) bool { return !c.May(core.ScopeRead, wholeNamespace(s.Name)) }), err
}

func (g guardedSecrets) SetSecret(ctx context.Context, name string, value core.Secret) (info core.SecretInfo, err error) {
	c, what := CallerOf(ctx), map[string]any{"secret": name}
	if err = core.ValidSecret(name); err == nil && !c.May(core.ScopeDeploy, wholeNamespace(name)) {
		err = c.Denied(core.ScopeDeploy, wholeNamespace(name))
	}
	if err == nil {
		if info, err = g.service.Secrets.SetSecret(ctx, name, value); err == nil {
			what["functions"] = info.Functions
		}
	}
	g.audit.Write(c, "secret set", what, err)
	return info, err
}

func (g guardedSecrets) RemoveSecret(ctx context.Context, name string) error {
	c := CallerOf(ctx)
	err := core.ValidSecret(name)
	if err == nil && !c.May(core.ScopeDeploy, wholeNamespace(name)) {
		err = c.Denied(core.ScopeDeploy, wholeNamespace(name))
	}
	if err == nil {
		err = g.service.Secrets.RemoveSecret(ctx, name)
	}
	g.audit.Write(c, "secret remove", map[string]any{"secret": name}, err)
	return err
}

type guardedStorages struct{ *guard }

// Storages returns the storages of the namespaces that the caller may read.
func (g guardedStorages) Storages(ctx context.Context) ([]core.StorageInfo, error) {
	all, err := g.service.Storages.Storages(ctx)
	c := CallerOf(ctx)
	return slices.DeleteFunc(all, func(s core.StorageInfo) bool { return !c.May(core.ScopeRead, wholeNamespace(s.Name)) }), err
}

func (g guardedStorages) RemoveStorage(ctx context.Context, name string) error {
	c := CallerOf(ctx)
	err := core.ValidName(name)
	if err == nil && !c.May(core.ScopeDeploy, wholeNamespace(name)) {
		err = c.Denied(core.ScopeDeploy, wholeNamespace(name))
	}
	if err == nil {
		err = g.service.Storages.RemoveStorage(ctx, name)
	}
	g.audit.Write(c, "storage remove", map[string]any{"storage": name}, err)
	return err
}

type guardedTree struct{ *guard }

// Snapshot leaves to a caller the instances of functions that it may read, and the zygotes above them.
func (g guardedTree) Snapshot(ctx context.Context) (core.Snapshot, error) {
	snapshot, err := g.service.Tree.Snapshot(ctx)
	c := CallerOf(ctx)
	if err != nil || !c.Limited() {
		return snapshot, err
	}
	shown := map[core.NodeID]bool{}
	for _, node := range slices.Backward(snapshot.Nodes) { // children before parents
		if shown[node.ID] || node.Function != "" && c.May(core.ScopeRead, node.Function) {
			shown[node.ID], shown[node.Parent] = true, true
		}
	}
	snapshot.Nodes = slices.DeleteFunc(snapshot.Nodes, func(node core.NodeInfo) bool { return !shown[node.ID] })
	return snapshot, nil
}

type guardedApplications struct{ *guard }

func (g guardedApplications) DeployApplication(ctx context.Context, request core.ApplicationRequest, progress func(core.Progress)) (core.Application, error) {
	c := CallerOf(ctx)
	request.Functions = g.permitted(ctx, c, request)
	application, err := g.service.Applications.DeployApplication(ctx, request, progress)
	what := map[string]any{"application": request.Name}
	if err == nil {
		functions := []any{}
		for _, fn := range application.Functions {
			functions = append(functions, deployed(fn))
		}
		what["functions"], what["removed"] = functions, application.Removed
	}
	g.audit.Write(c, "deploy application", what, err)
	return application, err
}

// permitted yields the functions of a request, and an error in place of one that the caller may not deploy.
// After the last one it looks at those that the application has already: they are replaced or removed.
func (g guardedApplications) permitted(ctx context.Context, c Caller, request core.ApplicationRequest) iter.Seq2[core.DeployRequest, error] {
	return func(yield func(core.DeployRequest, error) bool) {
		for one, err := range request.Functions {
			// A short name is one of the application's namespace, whatever else it is elsewhere.
			if name := core.FullName(one.Name, core.Namespace(request.Name)); err == nil && !c.May(core.ScopeDeploy, name) {
				err = c.Denied(core.ScopeDeploy, name)
			}
			if !yield(one, err) || err != nil {
				return
			}
		}
		if err := g.mayChange(ctx, c, request.Name); err != nil {
			yield(core.DeployRequest{}, err)
		}
	}
}

// mayChange refuses a caller that may not deploy every function of an application.
func (g guardedApplications) mayChange(ctx context.Context, c Caller, application string) error {
	if c.May(core.ScopeDeploy, core.AllFunctions) {
		return nil
	}
	all, err := g.service.Catalog.Functions(ctx)
	for _, fn := range all {
		if fn.Application == application && !c.May(core.ScopeDeploy, fn.Name) {
			return core.Errorf(core.KindDenied, core.FaultCaller, "the application %.150q has functions that this token is not for: deploy it with a token that has the scope deploy of them all", application)
		}
	}
	return err
}

func (g guardedApplications) RemoveApplication(ctx context.Context, name string) ([]string, error) {
	c := CallerOf(ctx)
	var removed []string
	err := g.mayChange(ctx, c, name)
	if err == nil {
		removed, err = g.service.Applications.RemoveApplication(ctx, name)
	}
	g.audit.Write(c, "remove application", map[string]any{"application": name, "removed": removed}, err)
	return removed, err
}

type guardedLogs struct{ *guard }

// Logs reads of an application's functions those that the caller may read.
func (g guardedLogs) Logs(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	c := CallerOf(ctx)
	if c.Limited() {
		all, err := g.service.Catalog.Functions(ctx)
		if err != nil {
			return nil, err
		}
		query.Functions = []string{}
		for _, fn := range all {
			if fn.Application == name && c.May(core.ScopeRead, fn.Name) {
				query.Functions = append(query.Functions, fn.Name)
			}
		}
		if len(query.Functions) == 0 && !c.May(core.ScopeRead, name) {
			return nil, c.Denied(core.ScopeRead, name)
		}
	}
	return g.service.Logs.Logs(ctx, name, query)
}

type guardedPackages struct {
	core.Packages
	*guard
}

func (g guardedPackages) Quarantine(ctx context.Context, rule core.Forbidden) ([]core.Installed, error) {
	all, err := g.Packages.Quarantine(ctx, rule)
	action := "quarantine"
	if rule.Reason == "" {
		action = "release"
	}
	g.audit.Write(CallerOf(ctx), action, map[string]any{"package": rule.Name, "versions": rule.Versions, "reason": rule.Reason}, err)
	return all, err
}

func (g guardedPackages) Collect(ctx context.Context, olderThan time.Duration) ([]core.Installed, error) {
	removed, err := g.Packages.Collect(ctx, olderThan)
	g.audit.Write(CallerOf(ctx), "collect", map[string]any{"older_than": olderThan.String(), "removed": len(removed)}, err)
	return removed, err
}

type guardedNamespaces struct{ *guard }

func (g guardedNamespaces) Namespaces(ctx context.Context) ([]core.NamespaceInfo, error) {
	return g.service.Namespaces.Namespaces(ctx)
}

func (g guardedNamespaces) CreateNamespace(ctx context.Context, spec core.NamespaceSpec) error {
	err := g.service.Namespaces.CreateNamespace(ctx, spec)
	g.audit.Write(CallerOf(ctx), "namespace create", spec, err)
	return err
}

func (g guardedNamespaces) SetNamespace(ctx context.Context, spec core.NamespaceSpec) error {
	err := g.service.Namespaces.SetNamespace(ctx, spec)
	g.audit.Write(CallerOf(ctx), "namespace set", spec, err)
	return err
}

func (g guardedNamespaces) RemoveNamespace(ctx context.Context, name string) error {
	err := g.service.Namespaces.RemoveNamespace(ctx, name)
	g.audit.Write(CallerOf(ctx), "namespace remove", map[string]any{"name": name}, err)
	return err
}

type guardedTokens struct{ *guard }

// errNoOperator refuses to let anyone who reaches an open worker close it for the others.
func errNoOperator() error {
	return core.Errorf(core.KindDenied, core.FaultCaller, "the first token of a worker is made by root on its machine, over the socket in the worker's data directory: "+
		"sudo pipsqueak token create NAME --scopes admin --server unix:///var/lib/pipsqueak/socket")
}

// covers reports whether the caller may make or end a token: it may do all that the token may.
func (c Caller) covers(token *core.Token) bool {
	return c.free && c.uid >= 0 || c.held != nil && c.held.Has(core.ScopeAdmin) && c.held.Covers(token)
}

func (g guardedTokens) CreateToken(ctx context.Context, token core.Token) (made core.Token, text string, err error) {
	c := CallerOf(ctx)
	err = core.ValidToken(&token)
	switch {
	case err != nil:
	case c.held == nil && !c.covers(&token):
		err = errNoOperator()
	case !c.covers(&token):
		err = core.Errorf(core.KindDenied, core.FaultCaller, "the token %s makes no token that may do more, or lasts longer, than itself: %v of %v, until %s",
			c.held.ID, c.held.Scopes, c.held.Functions, endOf(c.held.Expires))
	default:
		made, text, err = g.tokens.create(token, time.Now())
	}
	if err != nil {
		made = token
	}
	g.audit.Write(c, "token create", made, err)
	return made, text, err
}

func endOf(t time.Time) string {
	if t.IsZero() {
		return "it is revoked"
	}
	return t.UTC().Format(time.RFC3339)
}

// Tokens returns the tokens that the caller could have made.
func (g guardedTokens) Tokens(ctx context.Context) ([]core.Token, error) {
	c := CallerOf(ctx)
	if c.held == nil && !c.covers(nil) {
		return nil, errNoOperator()
	}
	return slices.DeleteFunc(g.tokens.list(), func(t core.Token) bool { return !c.governs(t) }), nil
}

// governs is covers without regard to how long a token lasts.
func (c Caller) governs(token core.Token) bool {
	if c.held != nil {
		token.Expires = c.held.Expires
	}
	return c.covers(&token)
}

func (g guardedTokens) RevokeToken(ctx context.Context, id string) (core.Token, error) {
	c := CallerOf(ctx)
	var err error
	switch {
	case c.held == nil && !c.covers(nil):
		err = errNoOperator()
	case c.held != nil && !slices.ContainsFunc(g.tokens.list(), func(t core.Token) bool { return t.ID == id && c.governs(t) }):
		err = noToken(id)
	}
	revoked := core.Token{ID: id}
	if err == nil {
		revoked, err = g.tokens.revoke(id)
	}
	g.audit.Write(c, "token revoke", map[string]any{"id": revoked.ID, "name": revoked.Name}, err)
	return revoked, err
}
