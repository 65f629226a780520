package supply

import "github.com/pipsqueak-faas/pipsqueak/core/signing"

// checkSignature notes with the function the ids of the keys that vouch for its code, as it was uploaded, under its name. It is an
// error when one has to and none does.
func (d *deployment) checkSignature() (err error) {
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
	d.fn.Signers, err = d.signers.Verify(d.request.Signature, signing.Statement{Function: d.fn.Name, Code: digest})
	return err
}
