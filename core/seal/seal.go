// Package seal encrypts small texts that rest on a disk: AES-256-GCM of the standard library, under keys that
// the operator gives.
//
//	keys, err := seal.ParseKeys(text) // one key a line, the first of which seals
//	sealed := keys.Seal(plain, about) // whoever opens it has to know what it is about
//	plain, err := keys.Open(sealed, about)
//
// Keys are exchanged by a new first one: what the others have sealed can still be opened, and is to be sealed
// again.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// keySize is the bytes of a key.
const keySize = 32

// Keys seal with the first of them, and open with each.
type Keys []key

type key struct {
	id   string
	aead cipher.AEAD
}

// Sealed is a text that only its key opens.
type Sealed struct {
	Key  string `json:"key"` // the id of the key
	Text []byte `json:"text"`
}

// NewKey returns a key, as ParseKeys reads it.
func NewKey() string {
	bytes := make([]byte, keySize)
	_, _ = rand.Read(bytes) // it never fails
	return base64.StdEncoding.EncodeToString(bytes)
}

// ParseKeys reads keys: 32 bytes each, in base64, separated by white space. Its errors do not show them.
func ParseKeys(text string) (Keys, error) {
	var keys Keys
	for i, word := range strings.Fields(text) {
		bytes, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(bytes) != keySize {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "key %d of the keys for secrets is not base64 of %d bytes; 'openssl rand -base64 %d' makes one", i+1, keySize, keySize)
		}
		block, err := aes.NewCipher(bytes)
		if err != nil {
			return nil, core.AsError(err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, core.AsError(err)
		}
		keys = append(keys, key{fmt.Sprintf("%.4x", sha256.Sum256(append([]byte("pipsqueak key id\x00"), bytes...))), aead})
	}
	if len(keys) == 0 {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "there is no key in the keys for secrets; 'openssl rand -base64 %d' makes one", keySize)
	}
	return keys, nil
}

// ID returns the id of the key that seals.
func (k Keys) ID() string { return k[0].id }

// Seal encrypts a text. What is sealed about one thing cannot be opened as about another.
func (k Keys) Seal(plain, about []byte) Sealed {
	return Sealed{k[0].id, k[0].aead.Seal(nil, nil, plain, about)}
}

// Open decrypts what was sealed about that. KindUnavailable if its key is not there, or if it was changed.
func (k Keys) Open(sealed Sealed, about []byte) ([]byte, error) {
	for _, one := range k {
		if one.id != sealed.Key {
			continue
		}
		plain, err := one.aead.Open(nil, nil, sealed.Text, about)
		if err != nil {
			return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "it was changed on the disk since it was sealed")
		}
		return plain, nil
	}
	return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the worker does not have the key %s that it was sealed with", sealed.Key)
}
