package web

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"golang.org/x/net/http/httpguts"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// response is a result as HTTP.
type response struct {
	status int
	header http.Header
	body   []byte
	length string // of the body that HEAD asks about, as the function says; empty if it does not
}

// hop are the headers of a connection, which are not a function's to choose, in lower case.
var hop = map[string]bool{"connection": true, "keep-alive": true, "proxy-connection": true, "te": true,
	"trailer": true, "transfer-encoding": true, "upgrade": true}

// isWorkers reports whether a header, in lower case, is what the worker says of itself: a function could lead
// whoever looks for an event astray.
func isWorkers(name string) bool {
	return name == "x-request-id" || strings.HasPrefix(name, "pipsqueak-")
}

// timing is a header of the worker's that a function's is added to.
const timing = "Server-Timing"

// origin are headers that browsers obey for everything of an address, in canonical form. Below /fn all
// functions have the same one, with the API: a service worker, say, would see what visitors of other
// functions do, also when its own function is removed.
var origin = []string{"Alt-Svc", "Clear-Site-Data", "Nel", "Report-To", "Service-Worker-Allowed", "Strict-Transport-Security"}

// parse returns the response that a result stands for, as in
// https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload. An object with a
// statusCode says everything. A string is the body; any other value is JSON. It returns KindInvalid, the
// handler's fault, for an object that says something impossible.
func parse(result []byte) (response, error) {
	value := gjson.ParseBytes(result)
	plain := response{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: result}
	if value.Type == gjson.String {
		plain.body = []byte(value.Str)
	}
	if !value.IsObject() {
		return plain, nil
	}
	said := fieldsOf(value)
	if !said.status.Exists() {
		return plain, nil
	}
	out, err := said.head("application/json")
	if err != nil {
		return out, err
	}
	switch said.body.Type {
	case gjson.Null: // or there is none
	case gjson.String:
		out.body = []byte(said.body.Str)
	default:
		return out, wrong("body is %s, and not a string; make it one, as with json.dumps or JSON.stringify", said.body)
	}
	if said.encoded.Bool() {
		if out.body, err = base64.StdEncoding.AppendDecode(nil, out.body); err != nil {
			return out, wrong("isBase64Encoded is true and body is not in base64: %w", err)
		}
	}
	return out, nil
}

// fields are those of an object that says everything about a response.
type fields struct{ status, headers, cookies, body, encoded gjson.Result }

func fieldsOf(object gjson.Result) (said fields) {
	object.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "statusCode":
			said.status = value
		case "headers":
			said.headers = value
		case "cookies":
			said.cookies = value
		case "body":
			said.body = value
		case "isBase64Encoded":
			said.encoded = value
		}
		return true
	})
	return said
}

// head returns the response without its body. Its type is media, unless the headers have another one.
func (said fields) head(media string) (response, error) {
	out := response{status: http.StatusOK, header: http.Header{"Content-Type": {media}}}
	if said.status.Exists() {
		status, err := strconv.Atoi(said.status.String()) // "200" is a status too, as in AWS Lambda
		if err != nil || status < 200 || status > 599 {
			return out, wrong("statusCode is %s, and not a number from 200 to 599", said.status)
		}
		out.status = status
	}
	if err := out.addHeaders(said.headers); err != nil {
		return out, err
	}
	return out, out.addCookies(said.cookies)
}

func (out *response) addHeaders(headers gjson.Result) (err error) {
	if headers.Type == gjson.Null { // or there are none
		return nil
	}
	if !headers.IsObject() {
		return wrong("headers is %s, and not an object", headers)
	}
	headers.ForEach(func(name, value gjson.Result) bool {
		if value.IsObject() || value.IsArray() || value.Type == gjson.Null {
			err = wrong("the header %q is %s, and not a string", name.Str, value)
			return false
		}
		err = out.add(name.Str, value.String(), http.Header.Set)
		return err == nil
	})
	return err
}

func (out *response) addCookies(cookies gjson.Result) (err error) {
	if cookies.Type == gjson.Null {
		return nil
	}
	if !cookies.IsArray() {
		return wrong("cookies is %s, and not a list of strings", cookies)
	}
	cookies.ForEach(func(_, value gjson.Result) bool {
		if value.Type != gjson.String {
			err = wrong("cookies has %s, and not strings alone", value)
			return false
		}
		err = out.add("Set-Cookie", value.Str, http.Header.Add)
		return err == nil
	})
	return err
}

// add adds a header, unless it is one of the connection.
func (out *response) add(name, value string, how func(header http.Header, name, value string)) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return wrong("%q is not a name of a header", name)
	case !httpguts.ValidHeaderFieldValue(value):
		return wrong("the header %q has a character that no header may have: %q", name, value)
	case strings.EqualFold(name, "Content-Length"):
		if _, err := strconv.ParseUint(value, 10, 63); err == nil {
			out.length = value
		}
	case !hop[strings.ToLower(name)] && !isWorkers(strings.ToLower(name)):
		how(out.header, name, value)
	}
	return nil
}

// wrong is the error about a response that cannot be sent.
func wrong(format string, args ...any) error {
	for i, arg := range args {
		if value, is := arg.(gjson.Result); is {
			args[i] = gateway.Clip(value.Raw)
		}
	}
	return core.Errorf(core.KindInvalid, core.FaultHandler, "the handler's response cannot be sent: "+format, args...)
}

// share leaves out what is for the whole address, of a function that shares it.
func (out *response) share() {
	for _, name := range origin {
		out.header.Del(name)
	}
}

// addTo adds the headers to those of the worker.
func (out *response) addTo(header http.Header) {
	for name, values := range out.header {
		if name == timing {
			values = append(slices.Clip(header[timing]), values...)
		}
		header[name] = values
	}
}

// write sends the response. To HEAD, and with 204 and 304, HTTP has no body.
func (out *response) write(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	out.addTo(header)
	switch {
	case out.bodiless():
	case r.Method == http.MethodHead && len(out.body) == 0: // web frameworks have left it out already
		out.tellLength(header)
	default:
		header.Set("Content-Length", strconv.Itoa(len(out.body)))
	}
	w.WriteHeader(out.status)
	if !out.bodiless() && r.Method != http.MethodHead {
		_, _ = w.Write(out.body) // on an error the caller has gone; there is nobody to report it to
	}
}

// tellLength answers HEAD with the length that the function says, or with none.
func (out *response) tellLength(header http.Header) {
	if out.length != "" {
		header.Set("Content-Length", out.length)
	}
}

// bodiless reports whether a response of that status has no body, and no length of one.
func (out *response) bodiless() bool {
	return out.status == http.StatusNoContent || out.status == http.StatusNotModified
}
