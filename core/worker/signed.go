package worker

import (
	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
)

// checkSignature returns the ids of the keys that vouch for the code in dir, as it was uploaded, under the name. It is an error when one has
// to and none does.
func (w *Worker) checkSignature(dir, name string, envelope []byte, progress func(core.Progress)) ([]string, error) {
	if w.signers == nil {
		if len(envelope) > 0 {
			progress(core.Progress{Verb: core.VerbWarn, Item: name, Detail: "its signature is not checked: this worker was not given any key (serve --require-signed)", Ended: true})
		}
		return nil, nil
	}
	digest, err := w.store.StagedDigest(dir)
	if err != nil {
		return nil, err
	}
	return w.signers.Verify(envelope, signing.Statement{Function: name, Code: digest})
}
