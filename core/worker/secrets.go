package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/seal"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// secrets opens what the store keeps sealed, for the instances of the functions that may have it. It
// implements core.Secrets.
type secrets struct {
	log    *slog.Logger
	store  *store.Store
	supply *supply.Supply // set before the first secret is

	mu     sync.Mutex        // guards the following
	keys   seal.Keys         // nil as long as there is none
	hiders map[string]*hider // by function
}

// hider takes secrets out of texts of one function. It does not change.
type hider struct {
	*strings.Replacer
	texts   map[string]hiddenText
	ordered []string // the texts, the longest first
}

// hiddenText is a text that a hider takes out.
type hiddenText struct {
	by   string
	left time.Time // when the function had it no more; zero as long as it has it
}

// hiddenFor is how long the secrets that a function had are still taken out: an event of an earlier version
// may run for as long as any event.
const hiddenFor = core.MaxTimeout + time.Minute

// leastHidden is the length of the shortest text that is taken out: shorter ones are in many a text by
// chance.
const leastHidden = 8

// openSecrets takes the operator's keys, or the key of the data directory if there are none. What another key
// than the first has sealed is sealed again. Secrets that cannot be opened are told of, and are the affair of
// the functions that use them.
func openSecrets(keys string, kept *store.Store, log *slog.Logger) (*secrets, error) {
	s := &secrets{log: log, store: kept, hiders: map[string]*hider{}}
	if keys == "" {
		own, err := os.ReadFile(s.store.KeyFile())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, core.Errorf(core.KindInternal, core.FaultWorker, "the key for secrets: %w", err)
		}
		keys = string(own)
	}
	if keys != "" {
		var err error
		if s.keys, err = seal.ParseKeys(keys); err != nil {
			return nil, err
		}
	}
	again := 0
	for _, one := range s.store.Secrets() {
		value, err := s.open(one)
		switch {
		case err != nil:
			s.log.Warn("secret", "name", one.Name, "err", err)
			continue
		case one.Key == s.keys.ID():
			continue
		}
		if err := s.store.Reseal(s.seal(one, value)); err != nil {
			return nil, err
		}
		again++
	}
	if again > 0 {
		s.log.Info("secret", "key", s.keys.ID(), "sealed again", again)
	}
	return s, nil
}

// held returns the keys.
func (s *secrets) held() seal.Keys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// about is what a sealed secret is bound to.
func about(full string) []byte { return []byte("pipsqueak secret\x00" + full) }

// seal seals a value with the first key.
func (s *secrets) seal(secret store.SealedSecret, value core.Secret) store.SealedSecret {
	sealed := s.held().Seal(value, about(secret.Name))
	secret.Key, secret.Sealed = sealed.Key, sealed.Text
	return secret
}

// open opens a secret.
func (s *secrets) open(secret store.SealedSecret) (core.Secret, error) {
	value, err := s.held().Open(seal.Sealed{Key: secret.Key, Text: secret.Sealed}, about(secret.Name))
	if err != nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the secret %s cannot be opened: %w; the operator gives the key back, or sets the secret again", secret.Name, err)
	}
	return value, nil
}

// of returns the secrets of a function for a new instance, and remembers them to keep them out of texts.
func (s *secrets) of(fn *core.Function) (env map[string]string, files map[string]core.Secret, err error) {
	env, files = map[string]string{}, map[string]core.Secret{}
	texts := map[string]string{}
	for _, use := range fn.Secrets {
		full := core.FullName(use.Name, core.Namespace(fn.Name))
		sealed, ok := s.store.Secret(full)
		if !ok {
			return nil, nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the secret %s of %s is gone; the operator sets it again", full, fn.Name)
		}
		value, err := s.open(sealed)
		if err != nil {
			return nil, nil, err
		}
		if use.Env != "" {
			env[use.Env] = string(value)
		} else {
			files[use.File] = value
		}
		hidden(texts, use.Name, value)
	}
	s.remember(fn.Name, texts)
	return env, files, nil
}

// hidden adds the texts of a value that are taken out of others: the whole value and each line of it.
func hidden(texts map[string]string, name string, value core.Secret) {
	for _, text := range append(strings.Split(string(value), "\n"), string(value)) {
		if text = strings.TrimSpace(text); len(text) >= leastHidden {
			texts[text] = "[secret " + name + "]"
		}
	}
}

// remember notes which texts a function has from now on: none when it was removed.
func (s *secrets) remember(function string, texts map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, now := map[string]hiddenText{}, time.Now()
	var before map[string]hiddenText
	if h := s.hiders[function]; h != nil {
		before = h.texts
	}
	for text, one := range before {
		if one.left.IsZero() {
			one.left = now
		}
		if now.Sub(one.left) < hiddenFor {
			all[text] = one
		}
	}
	for text, by := range texts {
		all[text] = hiddenText{by: by}
	}
	switch {
	case len(all) == 0:
		delete(s.hiders, function)
	case !maps.Equal(all, before):
		s.hiders[function] = newHider(all)
	}
}

func newHider(texts map[string]hiddenText) *hider {
	// The replacer takes the first text that fits: one may be the beginning of another.
	longestFirst := slices.SortedFunc(maps.Keys(texts), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, text := range longestFirst {
		pairs = append(pairs, text, texts[text].by)
	}
	return &hider{strings.NewReplacer(pairs...), texts, longestFirst}
}

// end returns where to end a piece of a line that is too long: there, or behind the secret that is there.
// Where more of the line is to come, it needs so many bytes behind that place as the longest secret has.
func (h *hider) end(line []byte, at int) int {
	for _, text := range h.ordered {
		from := max(at-len(text)+1, 0)
		if i := bytes.Index(line[from:min(at+len(text)-1, len(line))], []byte(text)); i >= 0 {
			return from + i + len(text)
		}
	}
	return at
}

// hider returns what takes the secrets of a function out of a text, nil if it has none.
func (s *secrets) hider(function string) *hider {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hiders[function]
}

// forget forgets the secrets of a function that was removed, when the last of its events has ended.
func (s *secrets) forget(function string) {
	s.remember(function, nil)
	if s.hider(function) != nil {
		time.AfterFunc(hiddenFor, func() {
			if _, deployed := s.store.Get(function); !deployed {
				s.remember(function, nil)
			}
		})
	}
}

// hide takes the secrets of a function out of an error that it has caused.
func (s *secrets) hide(fn *core.Function, err error) error {
	r := s.hider(fn.Name)
	var e *core.Error
	if r == nil || !errors.As(err, &e) {
		return err
	}
	clean := *e
	clean.Message = r.Replace(e.Message)
	if e.Exception != nil {
		exception := hideIn(r, *e.Exception)
		clean.Exception = &exception
	}
	return &clean
}

func hideIn(r *hider, e core.Exception) core.Exception {
	e.Type, e.Message = r.Replace(e.Type), r.Replace(e.Message)
	e.Stack, e.Notes, e.Causes = slices.Clone(e.Stack), slices.Clone(e.Notes), slices.Clone(e.Causes)
	for _, texts := range [][]string{e.Stack, e.Notes} {
		for i := range texts {
			texts[i] = r.Replace(texts[i])
		}
	}
	for i := range e.Causes {
		e.Causes[i].Exception = hideIn(r, e.Causes[i].Exception)
	}
	return e
}

// Secrets implements core.Secrets.
func (s *secrets) Secrets(context.Context) ([]core.SecretInfo, error) {
	all := []core.SecretInfo{}
	for _, one := range s.store.Secrets() {
		all = append(all, s.info(one))
	}
	return all, nil
}

func (s *secrets) info(one store.SealedSecret) core.SecretInfo {
	info := core.SecretInfo{Name: one.Name, Set: one.Set, Key: one.Key, Functions: []string{}}
	if _, err := s.open(one); err != nil {
		info.Lost = err.Error()
	}
	for _, f := range s.store.Users(one.Name) {
		info.Functions = append(info.Functions, f.Name)
	}
	return info
}

// SetSecret implements core.Secrets.
func (s *secrets) SetSecret(_ context.Context, name string, value core.Secret) (core.SecretInfo, error) {
	if err := core.ValidSecret(name); err != nil {
		return core.SecretInfo{}, err
	}
	switch {
	case len(value) == 0:
		return core.SecretInfo{}, core.Errorf(core.KindInvalid, core.FaultCaller, "the value of the secret %s is empty; send it as it is in the body, or from a file or standard input", name)
	case len(value) > core.MaxSecret:
		return core.SecretInfo{}, core.Errorf(core.KindTooLarge, core.FaultCaller, "the value of the secret %s has more than %d bytes", name, core.MaxSecret)
	}
	if err := s.needKey(); err != nil {
		return core.SecretInfo{}, err
	}
	plain := utf8.Valid(value) && !bytes.Contains(value, []byte{0})
	sealed := s.seal(store.SealedSecret{Name: name, Set: time.Now().UTC(), Plain: plain}, value)
	users, err := s.supply.SetSecret(sealed)
	if err != nil {
		return core.SecretInfo{}, err
	}
	s.log.Info("secret", "name", name, "functions", len(users))
	return s.info(sealed), nil
}

// needKey makes a key if there is none.
func (s *secrets) needKey() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys != nil {
		return nil
	}
	text := seal.NewKey()
	if err := s.store.WriteKey(text + "\n"); err != nil {
		return err
	}
	keys, err := seal.ParseKeys(text)
	s.keys = keys
	return err
}

// RemoveSecret implements core.Secrets.
func (s *secrets) RemoveSecret(_ context.Context, name string) error {
	err := s.store.RemoveSecret(name)
	if err == nil {
		s.log.Info("secret", "name", name, "removed", true)
	}
	return err
}
