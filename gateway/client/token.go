package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Token is the text of a token. It is sent to the server of its client, and never printed.
type Token string

// Format implements fmt.Formatter.
func (t Token) Format(to fmt.State, _ rune) {
	if t != "" {
		_, _ = io.WriteString(to, "(a token)")
	}
}

// TokenVariable is the environment variable with the token of every server.
const TokenVariable = "PIPSQUEAK_TOKEN"

// CredentialsFile returns the path of the user's file of tokens. Each of its lines has the URL of a server
// and its token; lines that begin with # are comments.
func CredentialsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "there is no place for the credentials file: %w", err)
	}
	return filepath.Join(dir, "pipsqueak", "credentials"), nil
}

// WithToken returns a client that sends the user's token for its server: that of PIPSQUEAK_TOKEN, or the one
// that the credentials file has for exactly this URL; without one it is the client itself. A unix socket
// needs no token. If the file cannot be used, no request is sent, and that is the error.
func (c Client) WithToken() Client {
	if strings.HasPrefix(c.Base, unixScheme) {
		return c
	}
	c.Token, c.err = tokenFor(c.Base)
	return c
}

func tokenFor(server string) (Token, error) {
	text, from := strings.TrimSpace(os.Getenv(TokenVariable)), TokenVariable
	if text == "" {
		path, err := CredentialsFile()
		if err != nil {
			return "", nil //nolint:nilerr // a user without a home has no such file
		}
		if text, err = tokenIn(path, server); err != nil {
			return "", err
		}
		from = path
	}
	// The error of net/http would say nothing, and one of ours must not say the token.
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "what %s has for %s is no token: it has blanks or other characters that no token has", from, server)
	}
	return Token(text), nil
}

// tokenIn returns the token that a credentials file has for a server, empty if it has none.
func tokenIn(path, server string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	unreadable := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the credentials file cannot be read: %w", err)
	}
	if err != nil {
		return "", unreadable(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", unreadable(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "others than you can read or change the credentials file (mode %04o), so it is not used: chmod 600 %s", mode, path)
	}
	lines := bufio.NewScanner(io.LimitReader(file, 1<<20))
	for number := 1; lines.Scan(); number++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 2 {
			return "", core.Errorf(core.KindInvalid, core.FaultCaller, "line %d of %s has %d words; it is the URL of a server, a blank and a token", number, path, len(words))
		}
		if origin(words[0]) == origin(server) {
			return words[1], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", unreadable(err)
	}
	return "", nil
}

// origin returns the URL of a server such that one server has one: with its port, in lower case, without a
// slash at its end.
func origin(server string) string {
	u, err := url.Parse(New(server).Base)
	if err != nil || u.Host == "" {
		return server
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + " " + port + u.EscapedPath()
}

// CreateToken makes a token with the name, scopes, functions and end of this one, and returns its text too.
func (c Client) CreateToken(ctx context.Context, token core.Token) (core.Token, Token, error) {
	question := struct {
		Name      string       `json:"name"`
		Scopes    []core.Scope `json:"scopes"`
		Functions []string     `json:"functions"`
		Expires   time.Time    `json:"expires,omitzero"`
	}{token.Name, token.Scopes, token.Functions, token.Expires}
	var made struct {
		core.Token
		Text Token `json:"token"`
	}
	err := c.post(ctx, "/v1/tokens", question, &made)
	return made.Token, made.Text, err
}

// Tokens returns the tokens of the server, without their texts.
func (c Client) Tokens(ctx context.Context) (tokens []core.Token, err error) {
	return tokens, c.get(ctx, "/v1/tokens", &tokens)
}

// RevokeToken ends a token at once, and returns it.
func (c Client) RevokeToken(ctx context.Context, id string) (token core.Token, err error) {
	return token, c.ask(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, &token)
}
