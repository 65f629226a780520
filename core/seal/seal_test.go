package seal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func parse(t *testing.T, text string) Keys {
	t.Helper()
	keys, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSeal(t *testing.T) {
	old, fresh := NewKey(), NewKey()
	before, both, after := parse(t, old), parse(t, "\n"+fresh+"\n"+old+"\n"), parse(t, fresh)
	plain := []byte("top secret")
	sealed := before.Seal(plain, []byte("a"))
	if bytes.Contains(sealed.Text, plain) || bytes.Equal(sealed.Text, before.Seal(plain, []byte("a")).Text) || strings.Contains(old, sealed.Key) {
		t.Errorf("%q", sealed)
	}
	for _, keys := range []Keys{before, both} {
		if got, err := keys.Open(sealed, []byte("a")); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if again := both.Seal(plain, nil); again.Key != both.ID() || again.Key != after.ID() || again.Key == sealed.Key {
		t.Errorf("after the exchange of keys it is sealed with %s", again.Key)
	}
	changed := Sealed{sealed.Key, bytes.Clone(sealed.Text)}
	changed.Text[len(changed.Text)-1] ^= 1
	for told, open := range map[string]func() ([]byte, error){
		"does not have the key " + sealed.Key: func() ([]byte, error) { return after.Open(sealed, []byte("a")) },
		"was changed on the disk":             func() ([]byte, error) { return before.Open(changed, []byte("a")) },
		"changed on the disk since":           func() ([]byte, error) { return before.Open(sealed, []byte("b")) },
		"it was changed":                      func() ([]byte, error) { return before.Open(Sealed{Key: sealed.Key}, nil) },
	} {
		if got, err := open(); got != nil || !core.IsKind(err, core.KindUnavailable) || !strings.Contains(err.Error(), told) {
			t.Errorf("%q, %v; want %q", got, err, told)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for _, text := range []string{"", "  \n", "hunter2", NewKey() + "\n" + strings.Repeat("A", 40), "AAAA"} {
		_, err := ParseKeys(text)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
