package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A pair as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` print it.
const (
	opensslKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIMqkAVIb+oHsYK1ZNKt3VsZK6af4R4xIM2YYlr37yYzl
-----END PRIVATE KEY-----
`
	opensslPub = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAvFD5g66jprSs+SPs2etdPhR1ZxGE5Apfeo/CRXjzhj4=
-----END PUBLIC KEY-----
`
)

// ecKey is a private key of another kind.
func ecKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data}))
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pair makes a pair of keys and returns the file of the private one.
func pair(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if _, err := Generate(name); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, name string) *Key {
	t.Helper()
	key, err := LoadKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func loadAll(t *testing.T, path string) Keys {
	t.Helper()
	keys, err := LoadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var hello = Statement{Function: "hello", Code: "sha256:00ff", Signed: time.Date(2026, 11, 29, 1, 2, 3, 4, time.UTC)}

func TestSignAndVerify(t *testing.T) {
	a, b, c := pair(t), pair(t), pair(t)
	envelope, err := Sign(hello, load(t, a), load(t, b), load(t, a))
	if err != nil {
		t.Fatal(err)
	}
	both := loadAll(t, file(t, read(t, a+PublicSuffix)+"\n# a note between them\n"+read(t, b+PublicSuffix)+read(t, a+PublicSuffix)))
	if len(both) != 2 {
		t.Fatalf("%d keys, want each once", len(both))
	}
	got, at, err := both.Verify(envelope, hello.Function, hello.Code)
	if want := []string{load(t, a).ID(), load(t, b).ID()}; err != nil || !slices.Equal(got, want) || !at.Equal(hello.Signed) {
		t.Errorf("signed by %v at %v, %v; want %v", got, at, err, want)
	}
	// One key that is known is enough, and only that one counts.
	if got, _, err := loadAll(t, b+PublicSuffix).Verify(envelope, hello.Function, hello.Code); err != nil || !slices.Equal(got, []string{load(t, b).ID()}) {
		t.Errorf("signed by %v, %v", got, err)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	altered := func(change func(*dsse.Envelope)) string {
		e := e
		e.Signatures = slices.Clone(e.Signatures)
		change(&e)
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	unknown := altered(func(e *dsse.Envelope) {
		e.Payload = base64.StdEncoding.EncodeToString([]byte(`{"function":"hello","code":"sha256:00ff","also":1}`))
	})
	for _, test := range []struct {
		name     string
		keys     string // file
		envelope string
		want     Statement
		says     string
	}{
		{"unsigned", a, "", hello, "hello is not signed, and this worker deploys only what is"},
		{"another key", c, string(envelope), hello, "none of the keys that this worker accepts (" + load(t, c).ID()},
		{"another function", a, string(envelope), Statement{Function: "other", Code: hello.Code}, `for a function called "hello", and this is to be "other"`},
		{"other code", a, string(envelope), Statement{Function: "hello", Code: "sha256:11"}, "the code of hello is not what was signed"},
		{"no JSON", a, "hello", hello, "no DSSE envelope"},
		{"an array", a, "[]", hello, "no DSSE envelope"},
		{"empty", a, "{}", hello, `its payload type is ""`},
		{"two of them", a, string(envelope) + "{}", hello, "there is more after the end"},
		{"another type", a, altered(func(e *dsse.Envelope) { e.PayloadType = "application/vnd.in-toto+json" }), hello, `its payload type is "application/vnd.in-toto+json"`},
		{"no signature", a, altered(func(e *dsse.Envelope) { e.Signatures = nil }), hello, "signed by nobody"},
		{"payload not base64", a, altered(func(e *dsse.Envelope) { e.Payload = "%" }), hello, "no DSSE envelope"},
		{"signature not base64", a, altered(func(e *dsse.Envelope) { e.Signatures[0].Sig = "%" }), hello, "or the signature is wrong"},
		{"signature cut off", a, altered(func(e *dsse.Envelope) {
			e.Signatures = []dsse.Signature{{KeyID: e.Signatures[0].KeyID, Sig: e.Signatures[0].Sig[:8]}}
		}), hello, "or the signature is wrong"},
		{"another payload", a, altered(func(e *dsse.Envelope) {
			e.Payload = base64.StdEncoding.EncodeToString([]byte(`{"function":"other","code":"sha256:00ff"}`))
		}), Statement{Function: "other", Code: hello.Code}, "or the signature is wrong"},
		{"more in the payload", a, unknown, hello, "or the signature is wrong"},
		{"a key id of many lines", a, altered(func(e *dsse.Envelope) { e.Signatures[0].KeyID, e.Signatures = "a\nb", e.Signatures[:1] }), hello, `signed by "a\nb"`},
		{"too large", a, strings.Repeat(" ", MaxEnvelope) + string(envelope), hello, "more than 24 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			signers, _, err := loadAll(t, test.keys+PublicSuffix).Verify([]byte(test.envelope), test.want.Function, test.want.Code)
			if err == nil {
				t.Fatalf("accepted, from %v", signers)
			}
			if e := core.AsError(err); !strings.Contains(e.Message, test.says) || e.Fault != core.FaultCaller {
				t.Errorf("%s's fault: %q, want %q", e.Fault, e.Message, test.says)
			}
		})
	}
	if _, err := Sign(hello); err == nil {
		t.Error("signed with no key")
	}
	// What another program has signed: with something in it that nobody checks, or without a time.
	signer, err := dsse.NewEnvelopeSigner(load(t, a).signer)
	if err != nil {
		t.Fatal(err)
	}
	for payload, says := range map[string]string{`{"function":"hello","code":"sha256:00ff","until":"2020"}`: `unknown field "until"`,
		`{"function":"hello","code":"sha256:00ff"}`: "does not say when it was signed", `{"function":"hello","code":"sha256:00ff","signed":"yesterday"}`: "cannot parse"} {
		other, err := signer.SignPayload(t.Context(), EnvelopeType, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := loadAll(t, a+PublicSuffix).Verify(data, hello.Function, hello.Code); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestOpensslKeys(t *testing.T) {
	key, err := LoadKey(file(t, opensslKey))
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := Sign(hello, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadAll(t, file(t, opensslPub)).Verify(envelope, hello.Function, hello.Code); err != nil {
		t.Error(err)
	}
}

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "key")
	id, err := Generate(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := load(t, name).ID(); got != id {
		t.Errorf("id %s, and %s when it is read again", id, got)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v %v", info.Mode(), err)
	}
	before := read(t, name)
	if _, err := Generate(name); err == nil || read(t, name) != before {
		t.Errorf("written over: %v", err)
	}
	// Nothing is left of a pair of which one half is there.
	half := filepath.Join(dir, "half")
	if err := os.WriteFile(half+PublicSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(half); err == nil {
		t.Error("written over a public key")
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("a private key without its public one was left")
	}
	if _, err := Generate(filepath.Join(dir, "no", "where")); err == nil {
		t.Error("written where there is no directory")
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	for name, test := range map[string]struct{ content, says string }{
		"nothing":   {"", "it is not PEM"},
		"a public":  {opensslPub, `it is a "PUBLIC KEY"`},
		"encrypted": {strings.ReplaceAll(opensslKey, "PRIVATE", "ENCRYPTED PRIVATE"), "openssl pkey"},
		"another":   {ecKey(t), "ecdsa"},
		"damaged":   {strings.Replace(opensslKey, "MC4", "MC5", 1), "cannot be signed with"},
		"large":     {strings.Repeat("x", maxKeyFile+1), "too much for keys"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := LoadKey(file(t, test.content)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
	if _, err := LoadKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestLoadKeys(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		keys  int
		says  string
	}{
		"two files, and one hidden": {map[string]string{"a.pem": opensslPub, "b.pem": read(t, pair(t)+PublicSuffix), ".c": "no"}, 2, ""},
		"none":                      {nil, 0, "there is no key in"},
		"a private one":             {map[string]string{"a.pem": opensslPub, "b.pem": opensslKey}, 0, "private key, which a worker should never see"},
		"no key":                    {map[string]string{"a.pem": opensslPub, "b": "hello"}, 0, "something that is no public key"},
		"one and a half":            {map[string]string{"a.pem": opensslPub + opensslPub[:40]}, 0, "something that is no public key"},
		"another kind":              {map[string]string{"a.pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}, 0, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			keys, err := LoadKeys(dir)
			if test.says == "" && (err != nil || len(keys) != test.keys) {
				t.Errorf("%d keys, %v", len(keys), err)
			}
			if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || core.AsError(err).Fault != core.FaultWorker) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
	if _, err := LoadKeys(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("keys that are not there were loaded")
	}
}
