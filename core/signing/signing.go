// Package signing says who vouches for the code of a function: it makes key pairs, signs the name of a
// function together with the digest of its code, and checks such signatures.
//
// A signature travels as a DSSE envelope (github.com/secure-systems-lab/dsse) in JSON, of the payload type
// EnvelopeType, with one ed25519 signature or several. Its payload is a Statement in JSON.
package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// EnvelopeType is what an envelope says of its payload.
const EnvelopeType = "application/vnd.pipsqueak.function+json"

// MaxEnvelope is the size of the largest envelope, in bytes: it travels in a header.
const MaxEnvelope = 24 << 10

// Statement is what is signed: that this code may be deployed as this function, from that time on.
type Statement struct {
	Function string    `json:"function"` // its name
	Code     string    `json:"code"`     // digest of the code as it is uploaded, "sha256:<hex>", as bundle.Bundle has it
	Signed   time.Time `json:"signed"`   // by the clock of who signs: a later one replaces an earlier one, never the other way
}

// Sign returns an envelope with the statement and a signature of each key. It is an error to sign with no
// key.
func Sign(statement Statement, keys ...*Key) ([]byte, error) {
	payload, err := json.Marshal(statement)
	if err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultCaller, "the statement cannot be written: %w", err)
	}
	signers := make([]dsse.Signer, len(keys))
	for i, key := range keys {
		signers[i] = key.signer
	}
	signer, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot sign: %w", err)
	}
	envelope, err := signer.SignPayload(context.Background(), EnvelopeType, payload)
	if err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultCaller, "cannot sign: %w", err)
	}
	data, err := json.Marshal(envelope)
	if err == nil && len(data) > MaxEnvelope {
		return nil, core.Errorf(core.KindTooLarge, core.FaultCaller, "%d signatures are more than fit into the %d KiB of an envelope; sign with fewer keys", len(keys), MaxEnvelope>>10)
	}
	return data, err
}

// Verify returns the ids of the keys of k that have signed the envelope, in its order, and when they have, if
// there are any and it is about that function with that code. The caller decides whether the time will do.
// Every error is the caller's.
func (k Keys) Verify(envelope []byte, function, code string) (ids []string, signed time.Time, err error) {
	if len(envelope) == 0 {
		return nil, signed, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not signed, and this worker deploys only what is: `pipsqueak deploy --sign KEY` signs with one of its keys (%s)", function, k)
	}
	malformed := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the signature of %s is no DSSE envelope of Pipsqueak's: %w", function, err)
	}
	if len(envelope) > MaxEnvelope {
		return nil, signed, core.Errorf(core.KindTooLarge, core.FaultCaller, "the signature of %s has more than %d KiB", function, MaxEnvelope>>10)
	}
	var e dsse.Envelope
	if err := decode(envelope, &e); err != nil {
		return nil, signed, malformed(err)
	}
	if e.PayloadType != EnvelopeType {
		return nil, signed, malformed(fmt.Errorf("its payload type is %q and not %q", e.PayloadType, EnvelopeType))
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, signed, malformed(err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(k.verifiers()...)
	if err != nil {
		return nil, signed, core.Errorf(core.KindInternal, core.FaultWorker, "cannot check signatures: %w", err)
	}
	accepted, err := verifier.Verify(context.Background(), &e)
	if err != nil {
		return nil, signed, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is signed by %s, which is none of the keys that this worker accepts (%s), or the signature is wrong",
			function, claimed(e), k)
	}
	var got Statement
	if err := decode(payload, &got); err != nil {
		return nil, signed, malformed(fmt.Errorf("its payload: %w", err))
	}
	if got.Function != function {
		return nil, signed, core.Errorf(core.KindInvalid, core.FaultCaller, "the signature is for a function called %q, and this is to be %q: sign it under that name", got.Function, function)
	}
	if got.Code != code {
		return nil, signed, core.Errorf(core.KindInvalid, core.FaultCaller, "the code of %s is not what was signed: it is %s, and signed was %s; sign it again if the change is yours", function, code, got.Code)
	}
	if got.Signed.IsZero() {
		return nil, signed, malformed(errors.New("it does not say when it was signed; sign with the pipsqueak of this worker's version"))
	}
	for _, key := range accepted {
		ids = append(ids, key.KeyID)
	}
	return ids, got.Signed, nil
}

// decode reads one JSON object that has nothing that is not known: what nobody checks should not look signed.
func decode(data []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if decoder.More() {
		return fmt.Errorf("there is more after the end of it")
	}
	return nil
}

// claimed names the keys that an envelope says it was signed with.
func claimed(e dsse.Envelope) string {
	if len(e.Signatures) == 0 {
		return "nobody"
	}
	var ids []string
	for _, s := range e.Signatures {
		ids = append(ids, fmt.Sprintf("%.64q", s.KeyID))
	}
	return strings.Join(ids, ", ")
}
