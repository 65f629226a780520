package client_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

const secret = "pipsqueak_0123456789"

// asked is a server that notes the tokens it is sent.
func asked(t *testing.T, answer http.HandlerFunc) (url string, tokens *[]string) {
	t.Helper()
	tokens = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*tokens = append(*tokens, r.Header.Get("Authorization"))
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, tokens
}

func noFunctions(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "[]") }

// credentials writes the user's credentials file.
func credentials(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the place of the file is another one")
	}
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	path := filepath.Join(home, "pipsqueak", "credentials")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenOfTheEnvironment(t *testing.T) {
	url, tokens := asked(t, noFunctions)
	credentials(t, 0o644, "what is not looked at")
	t.Setenv(client.TokenVariable, " "+secret+"\n")
	c := client.New(url).WithToken()
	if _, err := c.Functions(t.Context()); err != nil || len(*tokens) != 1 || (*tokens)[0] != "Bearer "+secret {
		t.Errorf("sent %q, %v", *tokens, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, c) + fmt.Sprintf(verb, c.Token); strings.Contains(text, "0123456789") || strings.Contains(text, "30313233") {
			t.Errorf("printed by %s: %s", verb, text)
		}
	}
	t.Setenv(client.TokenVariable, "two words")
	if _, err := client.New(url).WithToken().Functions(t.Context()); !core.IsKind(err, core.KindInvalid) || strings.Contains(err.Error(), "words") || !strings.Contains(err.Error(), client.TokenVariable) {
		t.Errorf("what is no token: %v", err)
	}
}

func TestTokenOfTheCredentialsFile(t *testing.T) {
	url, tokens := asked(t, noFunctions)
	t.Setenv(client.TokenVariable, "")
	for _, test := range []struct{ line, want string }{
		{url, "Bearer " + secret}, {strings.ToUpper(url[:4]) + url[4:] + "/", "Bearer " + secret}, {strings.TrimPrefix(url, "http://"), "Bearer " + secret},
		{url + "1", ""}, {strings.Replace(url, "http", "https", 1), ""}, {url + "/path", ""}, {"http://127.0.0.1", ""}, {strings.Replace(url, "127.0.0.1", "127.0.0.2", 1), ""},
	} {
		*tokens = nil
		credentials(t, 0o600, "# a comment with three words\n\nhttp://other.example wrong\n"+test.line+"  "+secret+"\n"+url+" late\n")
		if !strings.HasPrefix(test.want, "Bearer") {
			credentials(t, 0o600, test.line+" "+secret)
		}
		if _, err := client.New(url).WithToken().Functions(t.Context()); err != nil || len(*tokens) != 1 || (*tokens)[0] != test.want {
			t.Errorf("for %s: sent %q, %v", test.line, *tokens, err)
		}
	}
	*tokens = nil
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o666} {
		path := credentials(t, mode, url+" "+secret)
		if _, err := client.New(url).WithToken().Functions(t.Context()); !core.IsKind(err, core.KindInvalid) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("with mode %o: %v", mode, err)
		}
	}
	credentials(t, 0o600, url+" "+secret+" x")
	if _, err := client.New(url).WithToken().Functions(t.Context()); !core.IsKind(err, core.KindInvalid) || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a line of three words: %v", err)
	}
	if len(*tokens) != 0 {
		t.Errorf("all the same it was sent: %q", *tokens)
	}
}

// A server that sends the client elsewhere has the token for itself, and nobody gets the request.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere, got := asked(t, noFunctions)
	url, _ := asked(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	t.Setenv(client.TokenVariable, secret)
	c := client.New(url).WithToken()
	own := c
	own.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	for _, c := range []client.Client{c, own} {
		if _, err := c.Functions(t.Context()); !core.IsKind(err, core.KindInternal) || !strings.Contains(err.Error(), "307") {
			t.Errorf("the redirect: %v", err)
		}
		if _, err := c.Deploy(t.Context(), "f", nil, strings.NewReader("code"), nil); !core.IsKind(err, core.KindInternal) {
			t.Errorf("the redirect of a deploy: %v", err)
		}
	}
	if len(*got) != 0 {
		t.Errorf("the other server was sent %q", *got)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var authorization string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Host + r.Header.Get("Authorization")
		noFunctions(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	t.Setenv(client.TokenVariable, secret)
	if _, err := client.New("unix://" + path).WithToken().Functions(t.Context()); err != nil || authorization != "localhost" {
		t.Errorf("%v; it was sent %q", err, authorization)
	}
	if _, err := client.New("unix://" + path + ".none").Functions(t.Context()); !core.IsKind(err, core.KindUnavailable) || !strings.Contains(err.Error(), path+".none") {
		t.Errorf("no such socket: %v", err)
	}
}
