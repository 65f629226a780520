package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// Who may do what?

// by runs the command line as a user with an environment of its own, and a home without credentials unless
// the environment has one.
func by(t testing.TB, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	program := filepath.Join(programs(t), "pipsqueak") // it may be built now
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// socket is the URL of the worker's socket.
func (w *worker) socket() string { return "unix://" + filepath.Join(w.data, "socket") }

// token makes a token over the socket, and returns its id and its text.
func (w *worker) token(t testing.TB, name string, flags ...string) (id, text string) {
	t.Helper()
	stdout, stderr, err := by(t, nil, append([]string{"token", "create", name, "--server", w.socket()}, flags...)...)
	made := regexp.MustCompile(`made the token ([0-9a-f]{12}) for ` + name).FindStringSubmatch(stderr)
	if err != nil || made == nil {
		t.Fatalf("token create: %v\n%s%s", err, stdout, stderr)
	}
	return made[1], strings.TrimSpace(stdout)
}

// with sends an event with a token, and returns the status.
func (w *worker) with(t testing.TB, token, method, path string) answer {
	t.Helper()
	a, err := w.do(t.Context(), method, path, strings.NewReader("{}"), "Authorization: Bearer "+token)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTokens goes through the life of a token with the real program.
func TestTokens(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	dir := filepath.Join(t.TempDir(), "behind")
	writeFile(t, filepath.Join(dir, "handler.py"), echo)

	// As before there is no token, and everybody on this machine may do everything but make one.
	if _, stderr, err := by(t, nil, "deploy", dir, "--wait", "deployed", "--server", w.url); err != nil {
		t.Fatalf("without tokens: %v\n%s", err, stderr)
	}
	if _, stderr, err := by(t, nil, "token", "create", "x", "--scopes", "admin", "--server", w.url); err == nil || !strings.Contains(stderr, "over the socket") {
		t.Errorf("a first token over TCP: %v, %s", err, stderr)
	}
	if !strings.Contains(w.logs.String(), "no token was ever made") {
		t.Error("the log does not say that there is no token")
	}

	runs, runner := w.token(t, "runs", "--scopes", "invoke", "--functions", "behind")
	_, deployer := w.token(t, "deploys", "--scopes", "deploy,read", "--functions", "behind,other")
	if a := w.run(t, "behind", `1`); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %v", a)
	}
	if a := w.with(t, runner, "POST", "/run/behind"); a.status != http.StatusOK {
		t.Errorf("with the token: %v", a)
	}
	for _, test := range []struct{ token, method, path string }{
		{runner, "GET", "/v1/functions"}, {runner, "DELETE", "/v1/functions/behind"}, {runner, "POST", "/run/other"},
		{deployer, "POST", "/run/behind"}, {deployer, "DELETE", "/v1/functions/third"}, {deployer, "GET", "/v1/tokens"}, {deployer, "GET", "/metrics"},
	} {
		if a := w.with(t, test.token, test.method, test.path); a.status != http.StatusForbidden || !strings.Contains(string(a.body), `"denied"`) {
			t.Errorf("%s %s: %v", test.method, test.path, a)
		}
	}
	stdout, stderr, err := by(t, []string{client.TokenVariable + "=" + deployer}, "deploy", dir, "--name", "other", "--wait", "deployed", "--server", w.url)
	if err != nil {
		t.Errorf("a deploy with a token: %v\n%s%s", err, stdout, stderr)
	}
	if _, stderr, err := by(t, []string{client.TokenVariable + "=" + deployer}, "invoke", "behind", "--server", w.url); err == nil ||
		!strings.Contains(stderr, "the scope invoke") || strings.Contains(stderr, deployer) {
		t.Errorf("the wrong scope: %v, %s", err, stderr)
	}

	// A file of credentials has a token for one server, and is the user's alone.
	home := t.TempDir()
	credentials := filepath.Join(home, "pipsqueak", "credentials")
	writeFile(t, credentials, "# tokens\nhttp://127.0.0.1:1 pipsqueak_wrong\n"+w.url+"/ "+deployer+"\n")
	if err := os.Chmod(credentials, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := by(t, []string{"XDG_CONFIG_HOME=" + home}, "list", "--server", w.url); err == nil || !strings.Contains(stderr, "chmod 600 "+credentials) {
		t.Errorf("a file that others can read: %v, %s", err, stderr)
	}
	if err := os.Chmod(credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := by(t, []string{"XDG_CONFIG_HOME=" + home}, "list", "--server", w.url); err != nil || !strings.Contains(stdout, "behind") {
		t.Errorf("with the file: %v, %s", err, stderr)
	}

	// It counts after a restart, and is over at once when it is revoked, or at its end. What it has under way
	// ends.
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data)
	if a := w.with(t, runner, "POST", "/run/behind"); a.status != http.StatusOK {
		t.Errorf("after a restart: %v", a)
	}
	followed := make(chan error, 1)
	go func() {
		_, _, err := by(t, []string{client.TokenVariable + "=" + deployer}, "logs", "behind", "-f", "--server", w.url)
		followed <- err
	}()
	listed, _, err := by(t, nil, "token", "list", "--server", w.socket())
	if err != nil || !strings.Contains(listed, runs) || strings.Contains(listed, runner) || !strings.Contains(listed, "deploy read") {
		t.Errorf("the list: %v\n%s", err, listed)
	}
	for _, line := range strings.Split(strings.TrimSpace(listed), "\n")[1:] {
		if _, stderr, err := by(t, nil, "token", "revoke", strings.Fields(line)[0], "--server", w.socket()); err != nil {
			t.Errorf("revoke: %v, %s", err, stderr)
		}
	}
	if a := w.with(t, runner, "POST", "/run/behind"); a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), "was revoked") {
		t.Errorf("a revoked token: %v", a)
	}
	select {
	case <-followed:
	case <-time.After(patience):
		t.Error("a log is followed with a revoked token")
	}
	_, brief := w.token(t, "brief", "--scopes", "invoke", "--expires", "2s")
	if a := w.with(t, brief, "POST", "/run/behind"); a.status != http.StatusOK {
		t.Errorf("a token for two seconds: %v", a)
	}
	time.Sleep(2100 * time.Millisecond)
	if a := w.with(t, brief, "POST", "/run/behind"); a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), "expired at") {
		t.Errorf("two seconds later: %v", a)
	}

	audit, err := os.ReadFile(filepath.Join(data, "audit.log"))
	for _, action := range []string{`"serve"`, `"deploy","what":{"code":"sha256:`, `"token create"`, `"token revoke"`, `"refuse"`} {
		if err != nil || !strings.Contains(string(audit), `"action":`+action) {
			t.Errorf("%v, the audit log has no %s", err, action)
		}
	}
	for _, text := range []string{runner, deployer, brief} {
		if strings.Contains(string(audit)+w.logs.String(), text) {
			t.Error("a log has a token")
		}
	}
	for name, mode := range map[string]os.FileMode{"tokens.json": 0o600, "audit.log": 0o600, "socket": 0o600} {
		if info, err := os.Stat(filepath.Join(data, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestListenBeyondThisMachine starts a worker where other machines reach it.
func TestListenBeyondThisMachine(t *testing.T) {
	system(t)
	data := t.TempDir()
	_, stderr, err := by(t, nil, "serve", "--listen", "0.0.0.0:0", "--data", data)
	if err == nil || !strings.Contains(stderr, "token create") {
		t.Errorf("without tokens: %v, %s", err, stderr)
	}
	w := startWorker(t, data)
	w.token(t, "first", "--scopes", "admin")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data, "--listen", "0.0.0.0:0")
	if a := w.run(t, "nothing", `1`); a.status != http.StatusUnauthorized {
		t.Errorf("without the token: %v", a)
	}
}

// TestAnotherUserAtTheSocket connects as somebody else than root.
func TestAnotherUserAtTheSocket(t *testing.T) {
	system(t)
	w := shared(t)
	out, err := exec.Command("setpriv", "--reuid", "65534", "--clear-groups", "curl", "-s", "--unix-socket", filepath.Join(w.data, "socket"), "http://localhost/v1/tree").CombinedOutput()
	if err == nil {
		t.Errorf("nobody is let in: %s", out)
	}
	if functions, err := client.New(w.socket()).Functions(t.Context()); err != nil {
		t.Errorf("root: %v, %v", functions, err)
	}
}

// BenchmarkToken sends events in pairs, to a worker without tokens and to one that asks for them.
func BenchmarkToken(b *testing.B) {
	system(b)
	var with, without samples
	open, guarded := startWorker(b, b.TempDir()), startWorker(b, b.TempDir())
	for _, w := range []*worker{open, guarded} {
		w.deploy(b, "echo", handlerFile(echo))
	}
	_, text := guarded.token(b, "bench", "--scopes", "invoke")
	send := func(w *worker) time.Duration {
		began := time.Now()
		if a, err := w.do(context.Background(), http.MethodPost, "/run/echo", strings.NewReader(`{"a": 1}`), "Authorization: Bearer "+text); err != nil || a.status != http.StatusOK {
			b.Fatal(a, err)
		}
		return time.Since(began)
	}
	for i := range 10_000 {
		a, c := send(open), send(guarded)
		if i >= 1000 {
			without, with = append(without, a), append(with, c)
		}
	}
	more := with.at(0.5) - without.at(0.5)
	report(b, "warm echo with a token", fmt.Sprintf("%v, p50 %v more", with, more), "without: "+without.String(), "≤ 5 % more", more <= without.at(0.5)/20)
}

// TestPublicFunction invokes a function that is public without a token, and one that is not.
func TestPublicFunction(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	open := files{"pipsqueak.yaml": "access: public\n"}
	w.deploy(t, "closed", handlerFile(echo))
	w.deploy(t, "open", handlerFile(echo).and(open))
	w.deploy(t, "failing", handlerFile("def handler(event, context):\n    raise ValueError('secret')\n").and(open))
	_, all := w.token(t, "all", "--scopes", "admin")
	for path, status := range map[string]int{"/run/open": 200, "/fn/open/x": 200, "/run/failing": 500, "/run/closed": 401, "/fn/closed": 401, "/run/none": 401} {
		if a := w.ask(t, http.MethodPost, path, []byte(`1`)); a.status != status || strings.Contains(string(a.body), "secret") {
			t.Errorf("%s without a token: %v", path, a)
		}
	}
	for _, path := range []string{"/v1/functions/open", "/v1/functions/open/logs", "/v1/functions"} {
		if a := w.ask(t, http.MethodGet, path, nil); a.status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %v", path, a)
		}
	}
	if a := w.with(t, all, http.MethodPost, "/run/failing"); !strings.Contains(string(a.body), "secret") {
		t.Errorf("with a token: %v", a)
	}
	if stdout, stderr, err := by(t, nil, "describe", "open", "--server", w.socket()); err != nil || !strings.Contains(stdout, "public: anybody may invoke it") {
		t.Errorf("describe: %v\n%s%s", err, stdout, stderr)
	}
	if text, err := os.ReadFile(filepath.Join(w.data, "audit.log")); err != nil || !strings.Contains(string(text), `"function":"open","public":true`) {
		t.Errorf("the audit log: %v\n%s", err, text)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "handler.py"), echo)
	if _, stderr, err := by(t, nil, "deploy", dir, "--name", "open", "--wait", "deployed", "--server", w.socket()); err != nil {
		t.Fatalf("deploy: %v\n%s", err, stderr)
	}
	if a := w.run(t, "open", `1`); a.status != http.StatusUnauthorized {
		t.Errorf("when it is public no more: %v", a)
	}
}
