package access

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var ci = core.Token{Name: "ci", Scopes: []core.Scope{core.ScopeInvoke}, Functions: []string{"f"}}

func openTokens(t testing.TB, data string) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func create(t testing.TB, tokens *Tokens, token core.Token) (core.Token, string) {
	t.Helper()
	made, text, err := tokens.create(token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return made, text
}

func TestTokensSurviveARestart(t *testing.T) {
	data := t.TempDir()
	tokens := openTokens(t, data)
	if tokens.Any() {
		t.Error("a new data directory has tokens")
	}
	made, text := create(t, tokens, ci)
	if c, err := tokens.Holder(text, time.Now()); err != nil || c.ID() != made.ID || !c.May(core.ScopeInvoke, "f") || c.May(core.ScopeInvoke, "g") {
		t.Errorf("the holder is %v, %v", c, err)
	}
	info, err := os.Stat(filepath.Join(data, tokensFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	kept, err := os.ReadFile(filepath.Join(data, tokensFile))
	if err != nil || strings.Contains(string(kept), strings.TrimPrefix(text, prefix)) {
		t.Errorf("the file has the token itself, or cannot be read: %v", err)
	}
	if err := tokens.Close(); err != nil {
		t.Error(err)
	}

	tokens = openTokens(t, data)
	if _, err := tokens.Holder(text, time.Now()); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if all := tokens.list(); len(all) != 1 || all[0].Name != "ci" || all[0].Used.IsZero() {
		t.Errorf("after a restart there are %+v", all)
	}
	if _, err := tokens.revoke(made.ID); err != nil {
		t.Error(err)
	}
	if _, err := tokens.Holder(text, time.Now()); !core.IsKind(err, core.KindDenied) || !strings.Contains(err.Error(), made.ID) {
		t.Errorf("a revoked token: %v", err)
	}
	if _, err := tokens.revoke(made.ID); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("revoked again: %v", err)
	}
	tokens = openTokens(t, data)
	if _, err := tokens.Holder(text, time.Now()); err == nil || !tokens.Any() {
		t.Errorf("after a revocation and a restart: %v, open to everybody: %v", err, !tokens.Any())
	}
}

// Nothing that is nearly a token is one, and no error says what was sent.
func TestHolder(t *testing.T) {
	tokens := openTokens(t, t.TempDir())
	_, text := create(t, tokens, ci)
	last := text[len(text)-1:]
	other := strings.TrimSuffix(text, last) + map[bool]string{true: "1", false: "0"}[last == "0"]
	for _, wrong := range []string{"", prefix, text + "0", text[1:], text[:len(text)-1], strings.ToUpper(text), " " + text, other, strings.Replace(text, prefix, "pipsqueak-", 1)} {
		_, err := tokens.Holder(wrong, time.Now())
		if !core.IsKind(err, core.KindDenied) || strings.Contains(err.Error(), text[len(prefix):len(prefix)+8]) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if (Caller{}).May(core.ScopeInvoke, "f") || (Caller{}).Has(core.ScopeRead) || !(Caller{}).Limited() {
		t.Error("nobody may something")
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := openTokens(t, t.TempDir())
		lasting := ci
		lasting.Expires = time.Now().Add(time.Hour)
		_, text := create(t, tokens, lasting)
		c, err := tokens.Holder(text, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := c.Within(t.Context())
		defer end()
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if _, err := tokens.Holder(text, time.Now()); err != nil || ctx.Err() != nil {
			t.Errorf("a second before its end: %v, %v", err, ctx.Err())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := tokens.Holder(text, time.Now()); !core.IsKind(err, core.KindDenied) || !strings.Contains(err.Error(), "expired at") {
			t.Errorf("at its end: %v", err)
		}
		if !errors.Is(context.Cause(ctx), errExpired) {
			t.Errorf("what was under way: %v", context.Cause(ctx))
		}
		over := ci
		over.Expires = time.Now().Add(-time.Second)
		if _, _, err := tokens.create(over, time.Now()); !core.IsKind(err, core.KindInvalid) {
			t.Errorf("a token that is over: %v", err)
		}
	})
}

// What a token has under way ends with it.
func TestRevokeEndsRequests(t *testing.T) {
	tokens := openTokens(t, t.TempDir())
	made, text := create(t, tokens, ci)
	c, err := tokens.Holder(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := c.Within(t.Context())
	defer end()
	if CallerOf(ctx).ID() != made.ID {
		t.Errorf("the caller of the context is %v", CallerOf(ctx))
	}
	if _, err := tokens.revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errRevoked) {
		t.Errorf("it ended with %v", context.Cause(ctx))
	}
}

// A disk that takes nothing neither makes a token nor keeps one alive.
func TestFullDisk(t *testing.T) {
	data := t.TempDir()
	tokens := openTokens(t, data)
	made, text := create(t, tokens, ci)
	if err := os.Mkdir(filepath.Join(data, tokensFile+".new"), 0o700); err != nil { // stands for a file that cannot be written, also by root
		t.Fatal(err)
	}
	if _, _, err := tokens.create(ci, time.Now()); !core.IsKind(err, core.KindExhausted) || len(tokens.list()) != 1 {
		t.Errorf("made: %v, %v", err, tokens.list())
	}
	for range 2 {
		if _, err := tokens.revoke(made.ID); !core.IsKind(err, core.KindExhausted) || !strings.Contains(err.Error(), "until the worker starts again") {
			t.Errorf("revoked: %v", err)
		}
		if _, err := tokens.Holder(text, time.Now()); err == nil {
			t.Error("it still counts")
		}
		if err := os.MkdirAll(filepath.Join(data, tokensFile+".new"), 0o700); err != nil { // what fails cleans up
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(data, tokensFile+".new")); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.revoke(made.ID); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if all := openTokens(t, data).list(); len(all) != 0 {
		t.Errorf("the file still has %v", all)
	}
}

// A file that is not understood keeps a worker from starting: without it everybody could enter.
func TestDamagedFile(t *testing.T) {
	good := `{"tokens":[{"name":"n","scopes":["read"],"functions":["*"],"created":"2026-01-02T03:04:05Z","sha256":"` + strings.Repeat("ab", 32) + `"}]}`
	if all, err := parse([]byte(good)); err != nil || len(all) != 1 || all[0].ID != "abababababab" {
		t.Fatalf("%v, %v", all, err)
	}
	for _, bad := range []string{"", "{", good + "x", good + good, strings.Replace(good, `"name":"n"`, `"name":"n","only":"f"`, 1),
		strings.Replace(good, "abab", "ab", 1), strings.Replace(good, "abab", "ababab", 1), strings.Replace(good, "abab", "zzzz", 1), strings.Replace(good, "read", "root", 1),
		strings.Replace(good, `"*"`, `"**"`, 1), `{"tokens":[` + strings.Repeat(good[11:len(good)-2]+",", 1) + good[11:len(good)-2] + `]}`} {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, tokensFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTokens(data); err == nil || !strings.Contains(err.Error(), tokensFile) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Whatever the file has, what is read of it is valid, and reads again as it is written.
func FuzzTokensFile(f *testing.F) {
	f.Add([]byte(`{"tokens":[{"name":"n","scopes":["read"],"functions":["*.team"],"created":"2026-01-02T03:04:05Z","expires":"2027-01-02T03:04:05+01:00","sha256":"` + strings.Repeat("ab", 32) + `"}]}`))
	f.Add([]byte(`{"tokens":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parse(text)
		if err != nil {
			return
		}
		for _, h := range all {
			if err := core.ValidToken(&h.Token); err != nil || h.ID != h.digest.id() {
				t.Errorf("%+v: %v", h.Token, err)
			}
		}
		tokens := &Tokens{path: filepath.Join(t.TempDir(), tokensFile)}
		if err := tokens.save(all); err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(tokens.path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(kept)
		if err != nil || len(again) != len(all) {
			t.Errorf("%s became %s: %v", text, kept, err)
		}
		for i := range again {
			before, after := jsonOf(t, all[i].token()), jsonOf(t, again[i].token())
			if before != after {
				t.Errorf("%s became %s", before, after)
			}
		}
	})
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A text is a token or not, and never ends the worker.
func FuzzHolder(f *testing.F) {
	tokens := openTokens(f, f.TempDir())
	_, text := create(f, tokens, ci)
	f.Add(text[:len(text)-1])
	f.Add(prefix + strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, wrong string) {
		if _, err := tokens.Holder(wrong, time.Now()); (err == nil) != (wrong == text) {
			t.Errorf("%q: %v", wrong, err)
		}
	})
}

func BenchmarkHolder(b *testing.B) {
	tokens := openTokens(b, b.TempDir())
	var text string
	for range 100 {
		_, text = create(b, tokens, ci)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := tokens.Holder(text, time.Now())
		if err != nil || !c.May(core.ScopeInvoke, "f") {
			b.Fatal(err)
		}
	}
}
