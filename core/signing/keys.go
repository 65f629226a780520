package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	sslib "github.com/secure-systems-lab/go-securesystemslib/signerverifier"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Key is a private key.
type Key struct{ signer *sslib.ED25519SignerVerifier }

// Keys are public keys, each once, of which there is at least one.
type Keys []*sslib.ED25519SignerVerifier

// PublicSuffix is what the name of a public key's file has after that of its private key, as Generate writes
// them.
const PublicSuffix = ".pub"

// maxKeyFile is how much is read of a file of keys, in bytes.
const maxKeyFile = 1 << 20

// Generate makes a pair of keys in PEM: the private one (PKCS #8) in the file, for its owner only, and the
// public one (PKIX) beside it with PublicSuffix. It writes over nothing, and leaves nothing after an error.
// It returns the id of the key.
func Generate(file string) (id string, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultCaller, "cannot make a key: %w", err)
	}
	privateBytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultCaller, "cannot write the key: %w", err)
	}
	publicBytes, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultCaller, "cannot write the key: %w", err)
	}
	if err := writeNew(file, 0o600, sslib.PrivateKeyPEM, privateBytes); err != nil {
		return "", err
	}
	if err := writeNew(file+PublicSuffix, 0o644, sslib.PublicKeyPEM, publicBytes); err != nil {
		os.Remove(file)
		return "", err
	}
	key, err := LoadKey(file)
	if err != nil {
		return "", err
	}
	return key.ID(), nil
}

// writeNew writes a PEM file that was not there.
func writeNew(file string, mode os.FileMode, kind string, key []byte) error {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot write the key: %w; a key is never written over another file", err)
	}
	err = pem.Encode(out, &pem.Block{Type: kind, Bytes: key})
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		os.Remove(file)
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot write the key: %w", err)
	}
	return nil
}

// LoadKey reads an ed25519 private key in PEM (PKCS #8). Errors are the caller's.
func LoadKey(file string) (*Key, error) {
	data, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	switch {
	case block == nil:
		err = errors.New("it is not PEM")
	case block.Type == "ENCRYPTED PRIVATE KEY":
		err = errors.New("it is encrypted; decrypt it with `openssl pkey` first")
	case block.Type != sslib.PrivateKeyPEM:
		err = fmt.Errorf("it is a %q and not a private key in PKCS #8", block.Type)
	}
	var signer *sslib.ED25519SignerVerifier
	if err == nil {
		signer, err = parse(block)
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s cannot be signed with: %w; `pipsqueak keygen FILE` makes a key that can", file, err)
	}
	return &Key{signer}, nil
}

// ID returns what the key is known by: the SHA-256 of its public part, as securesystemslib computes it.
func (k *Key) ID() string { return id(k.signer) }

// LoadKeys reads the ed25519 public keys in a file in PEM, one after the other, or in all files of a
// directory whose names do not begin with a dot. Errors are the worker's: a file that has none, or that has
// anything else, is one.
func LoadKeys(path string) (Keys, error) {
	files := []string{path}
	if entries, err := os.ReadDir(path); err == nil {
		files = nil
		for _, entry := range entries {
			full := filepath.Join(path, entry.Name())
			if info, err := os.Stat(full); !strings.HasPrefix(entry.Name(), ".") && (err != nil || info.Mode().IsRegular()) {
				files = append(files, full)
			}
		}
	}
	var keys Keys
	for _, file := range files {
		found, err := loadPublic(file)
		if err != nil {
			e := core.AsError(err)
			return nil, core.Errorf(e.Kind, core.FaultWorker, "the keys that functions must be signed with: %w", err)
		}
		for _, key := range found {
			if !keys.has(id(key)) {
				keys = append(keys, key)
			}
		}
	}
	if len(keys) == 0 {
		return nil, core.Errorf(core.KindInvalid, core.FaultWorker, "there is no key in %s that functions could be signed with; `pipsqueak keygen FILE` makes one, and FILE%s goes there", path, PublicSuffix)
	}
	return keys, nil
}

func loadPublic(file string) (keys Keys, err error) {
	rest, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, sslib.PrivateKeyPEM) {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s has a private key, which a worker should never see: give it the public one, as `openssl pkey -pubout` prints it", file)
		}
		key, err := parse(block)
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s cannot be used: %w", file, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s has something that is no public key in PEM", file)
	}
	return keys, nil
}

func readKeys(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", file)
	}
	if err == nil && info.Size() > maxKeyFile {
		err = fmt.Errorf("%s has more than %d KiB, which is too much for keys", file, maxKeyFile>>10)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the key cannot be read: %w", err)
	}
	return data, nil
}

// parse reads a key, private or public.
func parse(block *pem.Block) (*sslib.ED25519SignerVerifier, error) {
	key, err := sslib.LoadKey(pem.EncodeToMemory(block))
	if err != nil {
		return nil, err
	}
	if key.KeyType != sslib.ED25519KeyType {
		return nil, fmt.Errorf("it is an %s key and not an ed25519 one", key.KeyType)
	}
	return sslib.NewED25519SignerVerifierFromSSLibKey(key)
}

func id(key *sslib.ED25519SignerVerifier) string {
	id, _ := key.KeyID() // it was made with one, and never fails
	return id
}

func (k Keys) has(wanted string) bool {
	for _, key := range k {
		if id(key) == wanted {
			return true
		}
	}
	return false
}

func (k Keys) verifiers() []dsse.Verifier {
	all := make([]dsse.Verifier, len(k))
	for i, key := range k {
		all[i] = key
	}
	return all
}

// String returns the ids of the first keys, for a message.
func (k Keys) String() string {
	const most = 5
	var ids []string
	for i, key := range k {
		if i == most {
			ids = append(ids, fmt.Sprintf("and %d more", len(k)-most))
			break
		}
		ids = append(ids, id(key))
	}
	return strings.Join(ids, ", ")
}
