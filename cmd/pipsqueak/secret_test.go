package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// kept are the secrets of a world.
type kept map[string]core.Secret

func (k kept) Secrets(context.Context) (all []core.SecretInfo, err error) {
	for name := range k {
		all = append(all, core.SecretInfo{Name: name, Set: noon, Key: "12ab", Lost: "why", Functions: []string{"f", "g"}})
	}
	return all, nil
}

func (k kept) SetSecret(_ context.Context, name string, value core.Secret) (core.SecretInfo, error) {
	k[name] = value
	return core.SecretInfo{Name: name, Functions: []string{"f"}}, nil
}

func (k kept) RemoveSecret(_ context.Context, name string) error {
	delete(k, name)
	return nil
}

func TestSecretCommands(t *testing.T) {
	known := kept{}
	service := newWorld().service()
	service.Secrets = known
	server := serving(service)
	defer server.Close()
	run := func(piped bool, input string, args ...string) ran {
		return runAt(t.Context(), &program{wide: true, piped: piped}, server.URL, input, append([]string{"secret"}, args...)...)
	}
	run(true, "top secret\r\n", "set", "word").want(t, 0, "set the secret word, which 1 function uses\n", "")
	if string(known["word"]) != "top secret" {
		t.Errorf("%q", []byte(known["word"]))
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("a\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(false, "", "set", "word.team", file).want(t, 0, "set the secret word.team, which 1 function uses\n", "")
	if string(known["word.team"]) != "a\n\n" {
		t.Errorf("%q", []byte(known["word.team"]))
	}
	if got := run(false, "", "set", "word"); got.status != 1 || !strings.Contains(got.err, "would be seen") {
		t.Errorf("typed: %+v", got)
	}
	if got := run(true, strings.Repeat("x", core.MaxSecret+1), "set", "word"); got.status != 1 || !strings.Contains(got.err, "at most 65536 bytes") || len(known["word"]) != 10 {
		t.Errorf("too large: %+v", got)
	}
	run(false, "", "remove", "word.team").want(t, 0, "removed the secret word.team\n", "")
	if got := run(false, "", "list"); strings.Join(strings.Fields(got.out), " ") != "NAME SET KEY FUNCTIONS word 0s ago 12ab LOST f, g" {
		t.Errorf("%+v", got)
	}
}

// The keys come from a file, or the environment, which loses them, or a credential.
func TestLoadSecretKeys(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv(secretKeysVariable, "")
	expect := func(file, want, told string) {
		t.Helper()
		got, err := loadSecretKeys(file)
		if got != want || (err == nil) != (told == "") || err != nil && !strings.Contains(err.Error(), told) {
			t.Errorf("%q, %v", got, err)
		}
	}
	expect("", "", "")
	credential := filepath.Join(dir, secretKeysCredential)
	if err := os.WriteFile(credential, []byte("of systemd"), 0o400); err != nil {
		t.Fatal(err)
	}
	expect("", "of systemd", "")
	t.Setenv(secretKeysVariable, "of the environment")
	expect("", "of the environment", "")
	if left := os.Getenv(secretKeysVariable); left != "" {
		t.Errorf("the environment still has %q", left)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(file, "", "has no key")
	expect(filepath.Join(dir, "none"), "", "cannot be read")
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	expect(file, "", "chmod 600")
}
