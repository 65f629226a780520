package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// secretsFile has the secrets of all namespaces, an array of SealedSecret.
const secretsFile = "secrets.json"

// maxKept is how many secrets a namespace may have.
const maxKept = 100

// SealedSecret is a secret as it rests: the store cannot open it.
type SealedSecret struct {
	Name   string    `json:"name"` // the full one
	Set    time.Time `json:"set"`
	Plain  bool      `json:"text,omitempty"` // it can be a variable: it is UTF-8 without a NUL byte
	Key    string    `json:"key"`            // the id of the key
	Sealed []byte    `json:"sealed"`
}

// loadSecrets reads the secrets. Without them functions that have none still run.
func (s *Store) loadSecrets() (warnings []error) {
	path := filepath.Join(s.dir, secretsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []SealedSecret
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return []error{core.Errorf(core.KindInternal, core.FaultWorker, "the secrets have to be set again: %w", aside(path, err))}
	}
	for _, one := range all {
		s.secrets[one.Name] = one
	}
	return nil
}

// Secrets returns all secrets, sorted by name.
func (s *Store) Secrets() []SealedSecret {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]SealedSecret, 0, len(s.secrets))
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		all = append(all, s.secrets[name])
	}
	return all
}

// Secret returns a secret by its full name.
func (s *Store) Secret(full string) (SealedSecret, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	one, ok := s.secrets[full]
	return one, ok
}

// Users returns the functions that use a secret, sorted by name.
func (s *Store) Users(full string) []core.Function {
	return slices.DeleteFunc(s.List(), func(f core.Function) bool { return !uses(&f, full) })
}

func uses(f *core.Function, full string) bool {
	return slices.ContainsFunc(f.Secrets, func(u core.SecretUse) bool { return core.FullName(u.Name, core.Namespace(f.Name)) == full })
}

// SetSecret keeps a secret in place of an earlier one, and gives the functions that use it, which are those
// named, their next version. It returns them as they were and as they are. KindConflict, Retryable, if others
// use it by now: the caller asks again who does.
func (s *Store) SetSecret(secret SealedSecret, users []string) (before, after []core.Function, err error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	namespace := core.Namespace(secret.Name)
	if _, err := s.Namespace(namespace); err != nil {
		return nil, nil, err
	}
	before = s.Users(secret.Name)
	for _, f := range before {
		if !slices.Contains(users, f.Name) {
			return nil, nil, core.Errorf(core.KindConflict, core.FaultCaller, "%s was deployed with the secret %s meanwhile; try again", f.Name, secret.Name).Again()
		}
		for _, use := range f.Secrets {
			if core.FullName(use.Name, namespace) == secret.Name && use.Env != "" && !secret.Plain {
				return nil, nil, noVariable(&f, use)
			}
		}
	}
	kept := 0
	for _, one := range s.Secrets() {
		if core.Namespace(one.Name) == namespace && one.Name != secret.Name {
			kept++
		}
	}
	if kept >= maxKept {
		return nil, nil, core.Errorf(core.KindExhausted, core.FaultCaller, "the namespace %s has %d secrets, and may have no more; remove one", namespace, maxKept)
	}
	s.mu.RLock()
	earlier := s.secrets
	s.mu.RUnlock()
	if err := s.changeSecrets(func(all map[string]SealedSecret) { all[secret.Name] = secret }); err != nil {
		return nil, nil, err
	}
	for _, f := range before {
		f.Replaced, f.Version, f.Deployed = f.Version, f.Version+1, time.Now().UTC()
		after = append(after, f)
	}
	if len(after) == 0 {
		return nil, nil, nil
	}
	if err := s.change(change{Put: after}); err != nil {
		return nil, nil, errors.Join(err, s.changeSecrets(func(all map[string]SealedSecret) {
			clear(all)
			maps.Copy(all, earlier)
		}))
	}
	return before, after, nil
}

// Reseal exchanges how a secret is sealed, if it is still the one that was set then.
func (s *Store) Reseal(secret SealedSecret) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if now, ok := s.Secret(secret.Name); !ok || !now.Set.Equal(secret.Set) {
		return nil
	}
	return s.changeSecrets(func(all map[string]SealedSecret) { all[secret.Name] = secret })
}

// RemoveSecret forgets a secret that no function uses.
func (s *Store) RemoveSecret(full string) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if _, ok := s.Secret(full); !ok {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no secret %q; 'pipsqueak secret list' shows those that there are", full)
	}
	if users := s.Users(full); len(users) > 0 {
		return core.Errorf(core.KindConflict, core.FaultCaller, "the function %s uses the secret %s (%s in all): deploy it without the secret, or remove it, before",
			users[0].Name, full, core.Count(len(users), "function does", "functions do"))
	}
	return s.changeSecrets(func(all map[string]SealedSecret) { delete(all, full) })
}

// changeSecrets changes them on the disk, and then in memory. The caller holds writes.
func (s *Store) changeSecrets(change func(all map[string]SealedSecret)) error {
	s.mu.RLock()
	all := maps.Clone(s.secrets)
	s.mu.RUnlock()
	change(all)
	kept := make([]SealedSecret, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		kept = append(kept, all[name])
	}
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the secrets cannot be written: %w", err)
	}
	if err := s.writeFile(filepath.Join(s.dir, secretsFile), data); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = all
	return nil
}

// allowSecrets returns why a function cannot have its secrets: its namespace has to have them.
func (s *Store) allowSecrets(f *core.Function) error {
	for _, use := range f.Secrets {
		full := core.FullName(use.Name, core.Namespace(f.Name))
		secret, ok := s.Secret(full)
		if !ok {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not deployed, for its secret %s is not there: 'pipsqueak secret set %s' makes it", f.Name, use.Name, full)
		}
		if use.Env != "" && !secret.Plain {
			return noVariable(f, use)
		}
	}
	return nil
}

// noVariable is the error of a secret that cannot be in a variable.
func noVariable(f *core.Function, use core.SecretUse) error {
	return core.Errorf(core.KindInvalid, core.FaultCaller, "the secret %s cannot be the variable %s of %s, for it is not text in UTF-8 or has a NUL byte: make it a file, as in '%s: %s/%s'",
		use.Name, use.Env, f.Name, use.Name, core.SecretsDir, use.Name)
}

// KeyFile returns the path of a file of the data directory that the worker may keep its own key for secrets
// in.
func (s *Store) KeyFile() string { return filepath.Join(s.dir, keyFile) }

// keyFile has a key for secrets, if the operator has given none.
const keyFile = "secrets.key"

// WriteKey writes the KeyFile, durably and for root alone.
func (s *Store) WriteKey(text string) error { return s.writeFile(s.KeyFile(), []byte(text)) }
