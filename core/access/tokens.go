// Package access decides who may do what. It keeps the tokens of clients and an audit log in the data
// directory, and puts itself before a core.Service: lists show a caller what it may read, and changes are
// written down.
//
// A token is kept as its SHA-256. It has 256 random bits, so nobody finds it by trying, however cheap one try
// is. A slow hash, which passwords need, would cost each event milliseconds and protect nothing more.
//
// Mutex order: that of the tokens and that of the audit log are taken alone.
package access

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// prefix begins every token, so that people and scanners know one when they find it somewhere.
const prefix = "pipsqueak_"

const (
	secretBytes = 32
	idBytes     = 6 // of the digest
	maxTokens   = 10_000
)

// tokensFile is the file of a data directory that has the tokens.
const tokensFile = "tokens.json"

// digest is the SHA-256 of a token's text. Its beginning is the token's id.
type digest [sha256.Size]byte

func (d digest) id() string { return hex.EncodeToString(d[:idBytes]) }

// held is a token as it is kept.
type held struct {
	core.Token
	digest digest
	used   atomic.Int64    // Unix time
	over   context.Context // ends when the token is revoked, or at its end
	end    context.CancelCauseFunc
}

// errRevoked and errExpired end what a token has under way.
var (
	errRevoked = core.Errorf(core.KindDenied, core.FaultCaller, "the token was revoked")
	errExpired = core.Errorf(core.KindDenied, core.FaultCaller, "the token has expired")
)

func newHeld(token core.Token, d digest) *held {
	h := &held{Token: token, digest: d}
	if !token.Used.IsZero() {
		h.used.Store(token.Used.Unix())
	}
	return h
}

// begin lets the token count.
func (h *held) begin() {
	h.over, h.end = context.WithCancelCause(context.Background())
	if !h.Expires.IsZero() {
		timer := time.AfterFunc(time.Until(h.Expires), func() { h.end(errExpired) })
		context.AfterFunc(h.over, func() { timer.Stop() })
	}
}

func (h *held) token() core.Token {
	t := h.Token
	if used := h.used.Load(); used != 0 {
		t.Used = time.Unix(used, 0).UTC()
	}
	return t
}

// Tokens are the tokens of a worker. Its methods may be called from many goroutines at once.
type Tokens struct {
	path string
	byID atomic.Pointer[map[digestID]*held] // replaced, never changed; nil as long as nobody has made a token

	mu      sync.Mutex // of those who change it
	unsaved bool       // the file has a token that was revoked
}

type digestID [idBytes]byte

// OpenTokens reads the tokens of a data directory, and writes nothing.
func OpenTokens(data string) (*Tokens, error) {
	t := &Tokens{path: filepath.Join(data, tokensFile)}
	text, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	var all []*held
	if err == nil {
		all, err = parse(text)
	}
	if err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "the tokens in %s cannot be read: %w; restore the file from a backup. "+
			"Without the file everybody on this machine may do everything", t.path, err)
	}
	for _, h := range all {
		h.begin()
	}
	t.put(all)
	return t, nil
}

// kept is a token in the file.
type kept struct {
	Name      string       `json:"name"`
	Scopes    []core.Scope `json:"scopes"`
	Functions []string     `json:"functions"`
	Created   time.Time    `json:"created"`
	Expires   time.Time    `json:"expires,omitzero"`
	Used      time.Time    `json:"used,omitzero"`
	SHA256    string       `json:"sha256"`
}

// parse reads the file. A field that it does not know could bound what a token may do, so it is an error.
func parse(text []byte) (all []*held, err error) {
	var file struct {
		Tokens []kept `json:"tokens"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the tokens")
	}
	for _, k := range file.Tokens {
		var d digest
		if n, err := hex.Decode(d[:], []byte(k.SHA256[:min(len(k.SHA256), 2*len(d))])); err != nil || n != len(d) || len(k.SHA256) != 2*len(d) {
			return nil, errors.New("a token without its SHA-256")
		}
		token := core.Token{ID: d.id(), Name: k.Name, Scopes: k.Scopes, Functions: k.Functions, Created: k.Created, Expires: k.Expires, Used: k.Used}
		if err := core.ValidToken(&token); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(h *held) bool { return h.ID == token.ID }) {
			return nil, errors.New("two tokens have the same id")
		}
		all = append(all, newHeld(token, d))
	}
	return all, nil
}

// Any reports whether somebody has made a token here. From then on nobody gets in without one, also when none
// is left.
func (t *Tokens) Any() bool { return t.byID.Load() != nil }

// put replaces the tokens.
func (t *Tokens) put(all []*held) {
	byID := make(map[digestID]*held, len(all))
	for _, h := range all {
		byID[digestID(h.digest[:idBytes])] = h
	}
	t.byID.Store(&byID)
}

// all returns the tokens, the oldest first.
func (t *Tokens) all() (all []*held) {
	if byID := t.byID.Load(); byID != nil {
		for _, h := range *byID {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *held) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Holder returns who holds a token. The error says whether it is unknown or has expired, with its id if it
// could be one.
func (t *Tokens) Holder(text string, now time.Time) (Caller, error) {
	if !isToken(text) {
		return Caller{}, core.Errorf(core.KindDenied, core.FaultCaller, "that is no token: one begins with %s and has %d characters", prefix, len(prefix)+2*secretBytes)
	}
	d := digest(sha256.Sum256([]byte(text)))
	byID := t.byID.Load()
	if byID == nil {
		return Caller{}, unknown(d)
	}
	h := (*byID)[digestID(d[:idBytes])]
	if h == nil || subtle.ConstantTimeCompare(h.digest[:], d[:]) != 1 {
		return Caller{}, unknown(d)
	}
	if !h.Expires.IsZero() && !now.Before(h.Expires) {
		return Caller{}, core.Errorf(core.KindDenied, core.FaultCaller, "the token %s expired at %s", h.ID, h.Expires.UTC().Format(time.RFC3339))
	}
	if second := now.Unix(); h.used.Load() != second {
		h.used.Store(second)
	}
	return Caller{held: h}, nil
}

func unknown(d digest) error {
	return core.Errorf(core.KindDenied, core.FaultCaller, "the token %s is unknown here, or was revoked", d.id())
}

// HasToken reports whether a text has something in it that is meant for a token.
func HasToken(text string) bool { return strings.Contains(text, prefix) }

// isToken reports whether a text has the form of a token.
func isToken(text string) bool {
	secret, found := strings.CutPrefix(text, prefix)
	if !found || len(secret) != 2*secretBytes {
		return false
	}
	for _, c := range []byte(secret) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// create makes a token, and returns its text too.
func (t *Tokens) create(token core.Token, now time.Time) (core.Token, string, error) {
	if err := core.ValidToken(&token); err != nil {
		return core.Token{}, "", err
	}
	if !token.Expires.IsZero() && !token.Expires.After(now) {
		return core.Token{}, "", core.Errorf(core.KindInvalid, core.FaultCaller, "the token would end at %s, which is over", token.Expires.UTC().Format(time.RFC3339))
	}
	secret := make([]byte, secretBytes)
	if _, err := rand.Read(secret); err != nil {
		return core.Token{}, "", core.Errorf(core.KindInternal, core.FaultWorker, "no random digits for a token: %w", err)
	}
	text := prefix + hex.EncodeToString(secret)
	d := digest(sha256.Sum256([]byte(text)))
	token.ID, token.Created, token.Expires, token.Used = d.id(), now.UTC().Truncate(time.Second), token.Expires.UTC(), time.Time{}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all()
	if len(all) >= maxTokens {
		return core.Token{}, "", core.Errorf(core.KindExhausted, core.FaultCaller, "there are %d tokens, and no more are kept: revoke some", len(all))
	}
	if slices.ContainsFunc(all, func(h *held) bool { return h.ID == token.ID }) {
		return core.Token{}, "", core.Errorf(core.KindConflict, core.FaultWorker, "by chance two tokens have the same id").Again()
	}
	h := newHeld(token, d)
	all = append(all, h)
	if err := t.save(all); err != nil {
		return core.Token{}, "", err
	}
	h.begin()
	t.put(all)
	return token, text, nil
}

// revoke ends a token at once. If the file cannot be written, the token ends all the same, until the worker
// is started again; the error says so.
func (t *Tokens) revoke(id string) (core.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all()
	i := slices.IndexFunc(all, func(h *held) bool { return h.ID == id })
	if i < 0 && !t.unsaved {
		return core.Token{ID: id}, noToken(id)
	}
	revoked := core.Token{ID: id}
	if i >= 0 {
		h := all[i]
		revoked = h.token()
		all = slices.Delete(all, i, i+1)
		t.put(all)
		h.end(errRevoked)
	}
	if err := t.save(all); err != nil {
		t.unsaved = true
		failed := *core.AsError(err)
		failed.Message = "the token " + id + " is revoked until the worker starts again, and then counts again, because " + failed.Message + "; revoke it again later"
		return revoked, &failed
	}
	return revoked, nil
}

func noToken(id string) error {
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no token %.50q; 'pipsqueak token list' shows the ids of those there are", id)
}

// list returns the tokens, sorted by name.
func (t *Tokens) list() []core.Token {
	tokens := []core.Token{}
	for _, h := range t.all() {
		tokens = append(tokens, h.token())
	}
	slices.SortStableFunc(tokens, func(a, b core.Token) int { return cmp.Compare(a.Name, b.Name) })
	return tokens
}

// Close writes down when each token was used last.
func (t *Tokens) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.Any() {
		return nil
	}
	return t.save(t.all())
}

// save writes the file. A worker that is killed meanwhile leaves the old one or the new one.
func (t *Tokens) save(all []*held) error {
	file := struct {
		Tokens []kept `json:"tokens"`
	}{[]kept{}}
	for _, h := range all {
		token := h.token()
		file.Tokens = append(file.Tokens, kept{token.Name, token.Scopes, token.Functions, token.Created, token.Expires, token.Used, hex.EncodeToString(h.digest[:])})
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err == nil {
		err = replace(t.path, append(text, '\n'))
	}
	if err != nil {
		return core.Errorf(core.KindExhausted, core.FaultWorker, "the file of the tokens cannot be written: %w", err)
	}
	t.unsaved = false
	return nil
}

// replace writes a file that only its owner can read, as a whole or not at all, and durably.
func replace(path string, text []byte) error {
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
