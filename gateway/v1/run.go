package v1

import (
	"net/http"
	"strconv"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// Header keys are spelled as net/http does, so that they need not be canonicalised for every event.
const (
	headerStart  = "Pipsqueak-Start"
	headerTiming = "Server-Timing"
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
	result, err := a.front.Invoke(w, r, name, id)
	a.answer(w, r, id, result, err)
	a.front.LogEvent(w, r, name, id, result, err)
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, id string, result core.Result, err error) {
	header := w.Header()
	values := make([]string, 5)
	set := func(i int, key, value string) {
		values[i] = value
		header[key] = values[i : i+1 : i+1]
	}
	set(0, gateway.HeaderRequestID, id)
	set(1, headerStart, string(result.Start))
	set(2, headerTiming, serverTiming(result.Phases))
	if err != nil {
		a.front.Fail(w, r, err)
		return
	}
	set(3, "Content-Type", "application/json")
	set(4, "Content-Length", strconv.Itoa(len(result.Body)))
	_, _ = w.Write(result.Body) // on an error the caller has gone; there is nobody to report it to
}

// serverTiming returns the phases that happened as a Server-Timing header, in milliseconds with three
// decimals.
func serverTiming(p core.Phases) string {
	line := make([]byte, 0, 160)
	for i, took := range p.Durations() {
		if took <= 0 {
			continue
		}
		if len(line) > 0 {
			line = append(line, ", "...)
		}
		line = append(line, core.PhaseNames[i]...)
		line = append(line, ";dur="...)
		us := took.Round(time.Microsecond).Microseconds()
		line = strconv.AppendInt(line, us/1000, 10)
		us %= 1000
		line = append(line, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	}
	return string(line)
}
