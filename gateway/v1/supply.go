package v1

import (
	"encoding/base64"
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// signatureHeader is the header of an archive's signature, a DSSE envelope in base64.
const signatureHeader = "Pipsqueak-Signature"

// signatureOf returns the envelope in the headers, empty when there is none.
func signatureOf(headers interface{ Get(name string) string }) ([]byte, error) {
	envelope, err := base64.StdEncoding.DecodeString(headers.Get(signatureHeader))
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the header %s is not base64 (it is to be a DSSE envelope in standard base64): %w", signatureHeader, err)
	}
	return envelope, nil
}

// bill answers with the bill of materials of a function, as XML when the request accepts XML and not JSON.
func (a *api) bill(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if a.service.Bills == nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "this server makes no bills of materials")
	}
	format := core.BillJSON
	if gateway.Accepts(r, core.BillXML.MediaType()) && !gateway.Accepts(r, core.BillJSON.MediaType()) {
		format = core.BillXML
	}
	bill, err := a.service.Bills.Bill(r.Context(), name, format)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", format.MediaType()+"; version=1.6")
	_, _ = w.Write(bill) // on an error the caller has gone; there is nobody to report it to
	return nil
}

// vulnerabilities answers with the known vulnerabilities of a function.
func (a *api) vulnerabilities(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if a.service.Vulnerabilities == nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "this server knows no vulnerabilities")
	}
	report, err := a.service.Vulnerabilities.Vulnerabilities(r.Context(), name)
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, report)
}
