package v1

import (
	"net/http"
	"strconv"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// run answers an event. This path has to be cheap, so it formats nothing with fmt.
func (a *api) run(w http.ResponseWriter, r *http.Request, name string) {
	id := gateway.RequestID(r.Header)
	if r.Method != http.MethodPost {
		w.Header()[gateway.HeaderRequestID] = []string{id}
		if err := gateway.OtherMethod(w, r, "OPTIONS, POST"); err != nil {
			a.front.Fail(w, r, err)
		}
		return
	}
	result, err := a.front.Invoke(w, r, name, id, gateway.ReadJSON, nil)
	a.answer(w, r, id, result, err)
	a.front.LogEvent(w, r, name, id, result, err)
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, id string, result core.Result, err error) {
	header := w.Header()
	gateway.Describe(header, id, result)
	if err != nil {
		a.front.Fail(w, r, err)
		return
	}
	values := []string{"application/json", strconv.Itoa(len(result.Body))}
	header["Content-Type"], header["Content-Length"] = values[:1:1], values[1:]
	_, _ = w.Write(result.Body) // on an error the caller has gone; there is nobody to report it to
}
