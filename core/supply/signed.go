package supply

import (
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxAhead is how far the clock of who signs may be ahead of the worker's. A signature from farther in the
// future would keep all later ones out.
const maxAhead = 10 * time.Minute

// checkSignature notes with the function the ids of the keys that vouch for its code, as it was uploaded,
// under its name. It is an error when one has to and none does, or when the signature is older than one that
// was accepted.
func (d *deployment) checkSignature() error {
	if d.signers == nil {
		if len(d.request.Signature) > 0 {
			d.warn(d.fn.Name, "its signature is not checked: this worker was not given any key (serve --require-signed)")
		}
		return nil
	}
	digest, err := d.store.StagedDigest(d.dir)
	if err != nil {
		return err
	}
	d.fn.Signers, d.signed, err = d.signers.Verify(d.request.Signature, d.fn.Name, digest)
	if err != nil {
		return err
	}
	_, deployed := d.store.Get(d.fn.Name)
	return inOrder(d.fn.Name, d.signed, d.store.Signed(d.fn.Name), deployed, time.Now())
}

// inOrder refuses a signature that is older than the last one that was accepted for the name, or that very
// one when the function has been removed since: whoever has kept a signed archive must not bring back what
// its owner has replaced or removed.
func inOrder(name string, signed, last time.Time, deployed bool, now time.Time) error {
	const again = "to deploy these files all the same, sign them again: `pipsqueak deploy --sign KEY`"
	switch {
	case signed.After(now.Add(maxAhead)):
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s was signed at %s, and it is %s here: set the clock of the machine that signs, and sign again",
			name, signed.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case signed.Before(last):
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s was signed at %s, and what was signed at %s has been deployed since: an earlier signature does not count any more; %s",
			name, signed.Format(time.RFC3339Nano), last.Format(time.RFC3339Nano), again)
	case signed.Equal(last) && !deployed:
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s has been removed since it was signed, at %s: that signature does not count any more; %s",
			name, signed.Format(time.RFC3339Nano), again)
	}
	return nil
}
