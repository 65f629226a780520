package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// farm is a service with functions of two namespaces, two of them in an application, that notes what it is
// asked for.
type farm struct {
	core.Packages
	did   []string
	query core.LogQuery
}

func (f *farm) Functions(context.Context) ([]core.Function, error) {
	return []core.Function{{Name: "a.team"}, {Name: "b.team", Application: "shop"}, {Name: "c", Application: "shop"}, {Name: "d"}}, nil
}

func (f *farm) Deploy(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
	f.did = append(f.did, "deploy "+r.Name)
	return core.Function{Name: r.Name, Version: 7, Code: "sha256:c", Public: r.Name == "f"}, nil
}

func (f *farm) Remove(_ context.Context, name string) error {
	f.did = append(f.did, "remove "+name)
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is none")
}

func (f *farm) DeployApplication(_ context.Context, r core.ApplicationRequest, _ func(core.Progress)) (core.Application, error) {
	done := core.Application{Name: r.Name}
	for one, err := range r.Functions {
		if err != nil {
			return core.Application{}, err
		}
		done.Functions = append(done.Functions, core.Function{Name: one.Name, Version: 1})
	}
	f.did = append(f.did, "deploy application "+r.Name)
	return done, nil
}

func (f *farm) RemoveApplication(_ context.Context, name string) ([]string, error) {
	f.did = append(f.did, "remove application "+name)
	return []string{"b.team", "c"}, nil
}

func (f *farm) Logs(_ context.Context, _ string, query core.LogQuery) (io.ReadCloser, error) {
	f.query = query
	return io.NopCloser(strings.NewReader("")), nil
}

func (f *farm) Snapshot(context.Context) (core.Snapshot, error) {
	return core.Snapshot{Nodes: []core.NodeInfo{{ID: "root"}, {ID: "z1", Parent: "root"}, {ID: "z2", Parent: "root"}, {ID: "i1", Parent: "z1", Function: "a.team"},
		{ID: "i2", Parent: "z2", Function: "d"}, {ID: "i3", Parent: "z2", Function: "c"}}}, nil
}

func (f *farm) Quarantine(context.Context, core.Forbidden) ([]core.Installed, error) { return nil, nil }
func (f *farm) Collect(context.Context, time.Duration) ([]core.Installed, error)     { return nil, nil }

func (f *farm) SetEnv(_ context.Context, change core.EnvChange, _ func(core.Progress)) (core.Function, error) {
	return core.Function{Name: change.Function, Version: 8}, nil
}

func (f *farm) Namespaces(context.Context) ([]core.NamespaceInfo, error)  { return nil, nil }
func (f *farm) CreateNamespace(context.Context, core.NamespaceSpec) error { return nil }
func (f *farm) SetNamespace(context.Context, core.NamespaceSpec) error    { return nil }
func (f *farm) RemoveNamespace(context.Context, string) error {
	return core.Errorf(core.KindConflict, core.FaultCaller, "it has functions")
}

func (f *farm) Secrets(context.Context) ([]core.SecretInfo, error) {
	return []core.SecretInfo{{Name: "s"}, {Name: "s.team"}}, nil
}

func (f *farm) SetSecret(_ context.Context, name string, _ core.Secret) (core.SecretInfo, error) {
	f.did = append(f.did, "set "+name)
	return core.SecretInfo{Name: name, Functions: []string{"d"}}, nil
}

func (f *farm) RemoveSecret(_ context.Context, name string) error {
	f.did = append(f.did, "remove "+name)
	return nil
}

func (f *farm) Storages(context.Context) ([]core.StorageInfo, error) {
	return []core.StorageInfo{{Name: "s"}, {Name: "s.team"}}, nil
}

func (f *farm) RemoveStorage(_ context.Context, name string) error {
	f.did = append(f.did, "remove storage "+name)
	return nil
}

type farmService struct {
	core.Service
	farm   *farm
	tokens *Tokens
	audit  string
}

func guardFarm(t *testing.T) farmService {
	t.Helper()
	data := t.TempDir()
	audit := OpenAudit(data, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { audit.Close() })
	f, tokens := &farm{}, openTokens(t, data)
	service := Restrict(core.Service{Catalog: f, Tree: f, Applications: f, Logs: f, Packages: f, Namespaces: f, Settings: f, Secrets: f, Storages: f}, tokens, audit)
	return farmService{service, f, tokens, filepath.Join(data, auditFile)}
}

// as returns the context of a holder of a token.
func (s farmService) as(t *testing.T, scopes []core.Scope, functions ...string) context.Context {
	t.Helper()
	_, text := create(t, s.tokens, core.Token{Name: "n", Scopes: scopes, Functions: functions})
	return s.holding(t, text)
}

func (s farmService) holding(t *testing.T, text string) context.Context {
	t.Helper()
	c, err := s.tokens.Holder(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return within(t, c)
}

func within(t *testing.T, c Caller) context.Context {
	t.Helper()
	ctx, end := c.Within(t.Context())
	t.Cleanup(end)
	return ctx
}

var (
	reads   = []core.Scope{core.ScopeRead}
	deploys = []core.Scope{core.ScopeDeploy}
	admins  = []core.Scope{core.ScopeAdmin}
)

func TestListsShowWhatMayBeRead(t *testing.T) {
	s := guardFarm(t)
	for _, test := range []struct {
		ctx                    context.Context
		functions, nodes, logs string // logs of the application
	}{
		{s.as(t, reads, "*"), "a.team b.team c d", "root z1 z2 i1 i2 i3", "[] all"},
		{within(t, Anyone()), "a.team b.team c d", "root z1 z2 i1 i2 i3", "[] all"},
		{s.as(t, reads, "*.team"), "a.team b.team", "root z1 i1", "[b.team]"},
		{s.as(t, reads, "d"), "d", "root z2 i2", "denied"},
		{s.as(t, reads, "shop"), "", "", "[]"}, // its name, and none of its functions
		{s.as(t, deploys, "*"), "", "", "denied"},
		{t.Context(), "", "", "denied"},
	} {
		functions, err := s.Catalog.Functions(test.ctx)
		names := []string{}
		for _, fn := range functions {
			names = append(names, fn.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != test.functions {
			t.Errorf("functions %q, want %q", got, test.functions)
		}
		snapshot, err := s.Tree.Snapshot(test.ctx)
		nodes := []string{}
		for _, node := range snapshot.Nodes {
			nodes = append(nodes, string(node.ID))
		}
		if got := strings.Join(nodes, " "); err != nil || got != test.nodes {
			t.Errorf("nodes %q, want %q", got, test.nodes)
		}
		logs := "denied"
		if reader, err := s.Logs.Logs(test.ctx, "shop", core.LogQuery{}); err == nil {
			reader.Close()
			logs = fmt.Sprint(s.farm.query.Functions)
			if s.farm.query.Functions == nil {
				logs += " all"
			}
		} else if !core.IsKind(err, core.KindDenied) {
			t.Error(err)
		}
		if logs != test.logs {
			t.Errorf("logs of %s, want %s", logs, test.logs)
		}
	}
}

func TestDeploysAreForWhoMay(t *testing.T) {
	s := guardFarm(t)
	parts := func(names ...string) iter.Seq2[core.DeployRequest, error] {
		return func(yield func(core.DeployRequest, error) bool) {
			for _, name := range names {
				if !yield(core.DeployRequest{Name: name}, nil) {
					return
				}
			}
		}
	}
	team, all, mixed := s.as(t, deploys, "*.team", "shop"), s.as(t, deploys, "*"), s.as(t, deploys, "*.default", "own.team")
	deploy := func(ctx context.Context, name string) error {
		_, err := s.Catalog.Deploy(ctx, core.DeployRequest{Name: name}, nil)
		return err
	}
	application := func(ctx context.Context, name string, functions ...string) error {
		_, err := s.Applications.DeployApplication(ctx, core.ApplicationRequest{Name: name, Functions: parts(functions...)}, nil)
		return err
	}
	remove := func(ctx context.Context, name string) error {
		_, err := s.Applications.RemoveApplication(ctx, name)
		return err
	}
	for what, test := range map[string]struct {
		err error
		ok  bool
	}{
		"a function of its own":                 {deploy(team, "new.team"), true},
		"a function of another":                 {deploy(team, "d"), false},
		"a name that the archive has":           {deploy(team, ""), false},
		"any name":                              {deploy(all, ""), true},
		"an application of its own":             {application(team, "own.team", "x.team", "y.team"), true},
		"one with a function of another":        {application(team, "own.team", "x.team", "d.others"), false},
		"short names in its namespace":          {application(team, "own.team", "x"), true},
		"short names in another namespace":      {application(mixed, "own.team", "x"), false},
		"one that has a function of another":    {application(team, "shop", "b.team"), false},
		"the same for who may":                  {application(all, "shop", "b.team"), true},
		"removal of one with other's functions": {remove(team, "shop"), false},
		"the same, for who may":                 {remove(all, "shop"), true},
		"removal of one that there is not":      {remove(team, "none.team"), true},
	} {
		if (test.err == nil) != test.ok || !test.ok && !core.IsKind(test.err, core.KindDenied) {
			t.Errorf("%s: %v", what, test.err)
		}
	}
	slices.Sort(s.farm.did)
	if got := strings.Join(s.farm.did, ", "); got != "deploy , deploy application own.team, deploy application own.team, deploy application shop, deploy new.team, remove application none.team, remove application shop" {
		t.Errorf("done were %s", got)
	}
	var denied, done int
	for _, e := range entries(t, s.audit) {
		switch e.Outcome {
		case "denied":
			denied++
		case "ok":
			done++
		}
	}
	if denied != 6 || done != 7 {
		t.Errorf("the audit log has %d that were done, %d that were denied", done, denied)
	}
}

func TestChangesAreWrittenDown(t *testing.T) {
	s := guardFarm(t)
	operator := Operator(0)
	operator.Request = "r9"
	ctx := within(t, operator)
	if _, err := s.Catalog.Deploy(ctx, core.DeployRequest{Name: "f"}, nil); err != nil {
		t.Error(err)
	}
	if err := s.Catalog.Remove(ctx, "g"); !core.IsKind(err, core.KindNotFound) {
		t.Error(err)
	}
	for _, reason := range []string{"CVE", ""} {
		if _, err := s.Packages.Quarantine(ctx, core.Forbidden{Name: "six", Versions: "<2", Reason: reason}); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Packages.Collect(ctx, time.Hour); err != nil {
		t.Error(err)
	}
	team := core.NamespaceSpec{Name: "team", Quotas: core.Quotas{Events: 9}}
	if err := errors.Join(s.Namespaces.CreateNamespace(ctx, team), s.Namespaces.SetNamespace(ctx, team)); err != nil {
		t.Error(err)
	}
	if err := s.Namespaces.RemoveNamespace(ctx, "team"); !core.IsKind(err, core.KindConflict) {
		t.Error(err)
	}
	token, text, err := s.Tokens.CreateToken(ctx, ci)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tokens.RevokeToken(ctx, token.ID); err != nil {
		t.Error(err)
	}
	var got []string
	for _, e := range entries(t, s.audit) {
		if e.Who != "uid 0" || e.Request != "r9" || e.From != "" {
			t.Errorf("%+v", e)
		}
		got = append(got, e.Action+" "+e.Outcome+" "+fmt.Sprint(e.What))
	}
	want := []string{"deploy ok map[code:sha256:c function:f public:true version:7]", "remove not_found map[function:g]",
		"quarantine ok map[package:six reason:CVE versions:<2]", "release ok map[package:six reason: versions:<2]", "collect ok map[older_than:1h0m0s removed:0]",
		"namespace create ok map[name:team quotas:map[events_per_second:9]]", "namespace set ok map[name:team quotas:map[events_per_second:9]]",
		"namespace remove conflict map[name:team]"}
	if !slices.Equal(got[:len(want)], want) || len(got) != len(want)+2 || !strings.Contains(got[len(want)], token.ID) || !strings.HasPrefix(got[len(want)+1], "token revoke ok") {
		t.Errorf("%q", got)
	}
	if strings.Contains(strings.Join(got, ""), text) {
		t.Error("the audit log has a token")
	}
}

// Who may make tokens makes none that may more, and neither sees nor ends others.
func TestTokensOfTokens(t *testing.T) {
	s := guardFarm(t)
	operator, anyone := within(t, Operator(0)), within(t, Anyone())
	for what, ctx := range map[string]context.Context{"anyone": anyone, "nobody": t.Context()} {
		_, _, created := s.Tokens.CreateToken(ctx, ci)
		_, listed := s.Tokens.Tokens(ctx)
		_, revoked := s.Tokens.RevokeToken(ctx, "x")
		for _, err := range []error{created, listed, revoked} {
			if !core.IsKind(err, core.KindDenied) || !strings.Contains(err.Error(), "over the socket") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	root, _, err := s.Tokens.CreateToken(operator, core.Token{Name: "root", Scopes: admins, Functions: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour)
	_, text, err := s.Tokens.CreateToken(operator, core.Token{Name: "team", Scopes: admins, Functions: []string{"*.team"}, Expires: end})
	if err != nil {
		t.Fatal(err)
	}
	team := s.holding(t, text)
	for what, token := range map[string]core.Token{
		"all functions": {Scopes: reads, Functions: []string{"*"}, Expires: end}, "another": {Scopes: reads, Functions: []string{"d"}, Expires: end},
		"no end": {Scopes: reads, Functions: []string{"*.team"}}, "longer": {Scopes: reads, Functions: []string{"*.team"}, Expires: end.Add(time.Second)},
	} {
		token.Name = "n"
		if _, _, err := s.Tokens.CreateToken(team, token); !core.IsKind(err, core.KindDenied) || !strings.Contains(err.Error(), "[*.team]") {
			t.Errorf("%s: %v", what, err)
		}
	}
	less, _, err := s.Tokens.CreateToken(team, core.Token{Name: "less", Scopes: reads, Functions: []string{"a.team"}, Expires: end})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.Tokens.Tokens(team); err != nil || len(all) != 2 || all[0].Name != "less" || all[1].Name != "team" {
		t.Errorf("it sees %+v, %v", all, err)
	}
	if _, err := s.Tokens.RevokeToken(team, root.ID); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("it revokes another: %v", err)
	}
	if _, err := s.Tokens.RevokeToken(team, less.ID); err != nil {
		t.Errorf("it does not revoke its own: %v", err)
	}
	if _, _, err := s.Tokens.CreateToken(s.as(t, deploys, "*"), core.Token{Name: "n", Scopes: deploys, Functions: []string{"a"}}); !core.IsKind(err, core.KindDenied) {
		t.Errorf("without the scope admin: %v", err)
	}
}

// The audit log has which variables were set, and not what to.
func TestAuditOfVariables(t *testing.T) {
	s := guardFarm(t)
	change := core.EnvChange{Function: "d", Set: map[string]string{"KEY": "top secret"}, Unset: []string{"OLD"}}
	if fn, err := s.Settings.SetEnv(within(t, Anyone()), change, nil); err != nil || fn.Version != 8 {
		t.Fatal(fn, err)
	}
	all := entries(t, s.audit)
	what := fmt.Sprint(all[len(all)-1].What)
	if all[len(all)-1].Action != "env" || what != "map[function:d set:[KEY] unset:[OLD] version:8]" {
		t.Errorf("%+v", all)
	}
}

// A secret is the affair of who has the whole namespace, and its value is in no line of the audit log.
func TestSecretsOfANamespace(t *testing.T) {
	s := guardFarm(t)
	for _, test := range []struct {
		ctx              context.Context
		name, seen, done string
	}{
		{s.as(t, deploys, "*"), "s.team", "[]", "[set s.team remove s.team]"},
		{s.as(t, deploys, "*.team"), "s.team", "[]", "[set s.team remove s.team]"},
		{s.as(t, deploys, "*.default"), "s", "[]", "[set s remove s]"},
		{s.as(t, deploys, "*.team"), "s", "[]", "[]"},
		{s.as(t, deploys, "a.team", "b.team"), "s.team", "[]", "[]"},
		{s.as(t, reads, "*.team"), "s.team", "[s.team]", "[]"},
		{s.as(t, admins, "*"), "s", "[s s.team]", "[set s remove s]"},
		{s.as(t, admins, "*"), "../x", "[s s.team]", "[]"},
		{t.Context(), "s", "[]", "[]"},
	} {
		s.farm.did = []string{}
		all, err := s.Secrets.Secrets(test.ctx)
		names := []string{}
		for _, one := range all {
			names = append(names, one.Name)
		}
		_, setting := s.Secrets.SetSecret(test.ctx, test.name, core.Secret("top secret"))
		removing := s.Secrets.RemoveSecret(test.ctx, test.name)
		if may := len(s.farm.did) > 0; err != nil || fmt.Sprint(names) != test.seen || fmt.Sprint(s.farm.did) != test.done || may != (setting == nil) || may != (removing == nil) {
			t.Errorf("%+v: saw %v, did %v; %v, %v, %v", test, names, s.farm.did, err, setting, removing)
		}
	}
	text, err := os.ReadFile(s.audit)
	if err != nil || strings.Contains(string(text), "top secret") || !strings.Contains(string(text), `"action":"secret set","what":{"functions":["d"],"secret":"s.team"}`) {
		t.Errorf("%v, %s", err, text)
	}
}

// A storage is the affair of who has the whole namespace.
func TestStoragesOfANamespace(t *testing.T) {
	s := guardFarm(t)
	for _, test := range []struct {
		ctx              context.Context
		name, seen, done string
	}{
		{s.as(t, deploys, "*.team"), "s.team", "[]", "[remove storage s.team]"},
		{s.as(t, deploys, "*.team"), "s", "[]", "[]"},
		{s.as(t, deploys, "a.team"), "s.team", "[]", "[]"},
		{s.as(t, reads, "*.team"), "s.team", "[s.team]", "[]"},
		{s.as(t, admins, "*"), "s", "[s s.team]", "[remove storage s]"},
		{s.as(t, admins, "*"), "../x", "[s s.team]", "[]"},
	} {
		s.farm.did = []string{}
		all, err := s.Storages.Storages(test.ctx)
		names := []string{}
		for _, one := range all {
			names = append(names, one.Name)
		}
		removing := s.Storages.RemoveStorage(test.ctx, test.name)
		if err != nil || fmt.Sprint(names) != test.seen || fmt.Sprint(s.farm.did) != test.done || (len(s.farm.did) > 0) != (removing == nil) {
			t.Errorf("%+v: saw %v, did %v; %v, %v", test, names, s.farm.did, err, removing)
		}
	}
}
