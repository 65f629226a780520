package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A secret and the functions that use it change together, and both are there after a restart.
func TestSecretsOfStore(t *testing.T) {
	s := openTest(t)
	f := deploy(t, s, "f", "1")
	f.Secrets = []core.SecretUse{{Name: "key", Env: "KEY"}}
	if err := s.Put(f); !core.IsKind(err, core.KindInvalid) || !strings.Contains(err.Error(), "'pipsqueak secret set key' makes it") {
		t.Errorf("without its secret: %v", err)
	}
	secret := func(name, text string) SealedSecret {
		return SealedSecret{Name: name, Set: time.Unix(1, 0).UTC(), Plain: true, Key: "k", Sealed: []byte(text)}
	}
	set := func(one SealedSecret, users ...string) []core.Function {
		t.Helper()
		_, after, err := s.SetSecret(one, users)
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	set(secret("key", "1"))
	if err := s.Put(f); err != nil {
		t.Fatal(err)
	}
	if after := set(secret("key", "2"), "f"); len(after) != 1 || after[0].Version != f.Version+1 || after[0].Replaced != f.Version {
		t.Errorf("%+v", after)
	}
	if _, _, err := s.SetSecret(secret("key", "3"), nil); !core.AsError(err).Retryable {
		t.Errorf("somebody has deployed with it meanwhile: %v", err)
	}
	raw := secret("key", "3")
	raw.Plain = false
	if _, _, err := s.SetSecret(raw, []string{"f"}); !core.IsKind(err, core.KindInvalid) || !strings.Contains(err.Error(), "key: /run/secrets/key") {
		t.Errorf("a variable that is no text: %v", err)
	}
	if _, _, err := s.SetSecret(secret("key.none", ""), nil); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("in a namespace that is not there: %v", err)
	}
	if err := s.RemoveSecret("key"); !core.IsKind(err, core.KindConflict) {
		t.Errorf("a secret that is used: %v", err)
	}
	again := secret("key", "sealed again")
	again.Set = again.Set.Add(1)
	if err := s.Reseal(again); err != nil { // of a value that is not there any more
		t.Fatal(err)
	}
	s.Close()
	s, warnings, err := Open(s.dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if kept, ok := s.Secret("key"); !ok || string(kept.Sealed) != "2" {
		t.Errorf("%+v", kept)
	}
	if kept, _ := s.Get("f"); kept.Version != f.Version+1 {
		t.Errorf("version %d", kept.Version)
	}
	if err := s.Delete("f"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveSecret("key"); err != nil {
		t.Error(err)
	}
	for i := range maxKept {
		set(secret("n"+strings.Repeat("x", i%60)+string(rune('a'+i/60)), ""))
	}
	if _, _, err := s.SetSecret(secret("more", ""), nil); !core.IsKind(err, core.KindExhausted) {
		t.Errorf("one too many: %v", err)
	}
	s.Close()
	path := filepath.Join(s.dir, secretsFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, warnings, err = Open(s.dir)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "secrets.json.corrupt") {
		t.Fatal(err, warnings)
	}
	s.Close()
}
