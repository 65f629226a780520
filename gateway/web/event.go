package web

import (
	"cmp"
	"encoding/base64"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// readEvent makes the event of a request in the buffer, behind the body: a JSON object as in
// https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-request-payload.
func readEvent(r *http.Request, to target, id string, buffer *gateway.Held) ([]byte, error) {
	if r.ContentLength > core.MaxEvent {
		return nil, gateway.TooLarge()
	}
	if r.ContentLength != 0 {
		if err := gateway.ReadBody(r, buffer); err != nil {
			return nil, err
		}
	}
	size := buffer.Len()
	head := appendHead(nil, r, to, id, size)
	if err := buffer.Reserve(len(head)); err != nil {
		return nil, err
	}
	buffer.Write(head)
	if err := writeBody(r, buffer, size); err != nil {
		return nil, err
	}
	event := buffer.Bytes()[size:]
	if len(event) > core.MaxEvent {
		return nil, gateway.TooLarge()
	}
	return event, nil
}

// appendHead appends the event up to its body, which has so many bytes. What a header, a cookie or a
// parameter has several times is joined by commas.
func appendHead(out []byte, r *http.Request, to target, id string, size int) []byte {
	path := cmp.Or(to.path, "/")
	out = appendText(out, `{"version":"2.0","routeKey":`, to.routeKey())
	out = appendText(out, `,"rawPath":`, path)
	out = appendText(out, `,"rawQueryString":`, r.URL.RawQuery)
	out = appendCookies(out, r.Header["Cookie"])
	out = append(out, `,"headers":`...)
	out = appendHeaders(out, r, to, size)
	if r.URL.RawQuery != "" {
		out = append(out, `,"queryStringParameters":`...)
		out = appendMap(out, parameters(r.URL.RawQuery))
	}
	if len(to.route.Values) > 0 {
		out = append(out, `,"pathParameters":{`...)
		between := ""
		for _, name := range slices.Sorted(maps.Keys(to.route.Values)) {
			out = appendText(out, between, name)
			out = appendText(out, ":", to.route.Values[name])
			between = ","
		}
		out = append(out, '}')
	}
	return appendContext(out, r, to, path, id)
}

// appendText appends a string of JSON, and before it what stands there.
func appendText(out []byte, before, value string) []byte {
	return gjson.AppendJSONString(append(out, before...), value)
}

// appendCookies appends the cookies, if there are any.
func appendCookies(out []byte, lines []string) []byte {
	before, end := `,"cookies":[`, ""
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ";") {
			if one = strings.TrimSpace(one); one == "" {
				continue // after the last semicolon
			}
			out = appendText(out, before, one)
			before, end = ",", "]"
		}
	}
	return append(out, end...)
}

// appendContext appends what the event says of the request besides its content.
func appendContext(out []byte, r *http.Request, to target, path, id string) []byte {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	label, _, _ := strings.Cut(host, ".")
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	now := time.Now().UTC()
	for _, one := range [...]struct{ before, value string }{
		{`,"requestContext":{"accountId":"anonymous","apiId":`, to.name},
		{`,"domainName":`, host},
		{`,"domainPrefix":`, label},
		{`,"http":{"method":`, r.Method},
		{`,"path":`, path},
		{`,"protocol":`, r.Proto},
		{`,"sourceIp":`, from},
		{`,"userAgent":`, r.UserAgent()},
		{`},"requestId":`, id},
		{`,"routeKey":`, to.routeKey()},
		{`,"stage":"$default","time":`, now.Format("02/Jan/2006:15:04:05 -0700")},
	} {
		out = appendText(out, one.before, one.value)
	}
	out = append(out, `,"timeEpoch":`...)
	out = strconv.AppendInt(out, now.UnixMilli(), 10)
	return append(out, '}')
}

// routeKey is the route of a request as AWS's HTTP APIs write it, METHOD /path.
func (to target) routeKey() string {
	method, rest, found := strings.Cut(to.route.Route, " ")
	if !found {
		return "$default"
	}
	_, path, _ := strings.Cut(rest, "/")
	return method + " /" + path
}

// appendHeaders appends the headers in lower case, without cookies, with Host, and with what a proxy says of
// the request that it passes on. A body that came in chunks has a length by now; without one web frameworks
// take it for none.
func appendHeaders(out []byte, r *http.Request, to target, size int) []byte {
	headers := make(map[string][]string, len(r.Header)+4)
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = values
	}
	delete(headers, "cookie")
	headers["host"] = []string{r.Host}
	if size > 0 || r.Header["Content-Length"] != nil {
		headers["content-length"] = []string{strconv.Itoa(size)}
	}
	delete(headers, "x-forwarded-prefix") // the caller's own says nothing of where the function is
	if to.mounted != "" {
		headers["x-forwarded-prefix"] = []string{to.mounted}
	}
	if r.TLS != nil { // without, a proxy in front may have spoken TLS
		headers["x-forwarded-proto"] = []string{"https"}
	}
	return appendMap(out, headers)
}

// parameters returns those of a query as browsers and web frameworks read it: only & is between two, and a %
// that begins no byte is one.
func parameters(query string) map[string][]string {
	all := map[string][]string{}
	for one := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(one, "="); one != "" {
			all[unescape(name)] = append(all[unescape(name)], unescape(value))
		}
	}
	return all
}

func unescape(text string) string {
	pieces := strings.Split(strings.ReplaceAll(text, "+", " "), "%")
	for i, piece := range pieces[1:] {
		if b, err := strconv.ParseUint(piece[:min(2, len(piece))], 16, 8); err == nil && len(piece) >= 2 {
			pieces[i+1] = string([]byte{byte(b)}) + piece[2:]
		} else {
			pieces[i+1] = "%" + piece
		}
	}
	return strings.Join(pieces, "")
}

// appendMap appends an object with its keys in order.
func appendMap(out []byte, of map[string][]string) []byte {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = gjson.AppendJSONString(out, name)
		out = append(out, ':')
		out = gjson.AppendJSONString(out, strings.Join(of[name], ","))
	}
	return append(out, '}')
}

// writeBody appends the body, which is the first bytes of the buffer, and the end of the event. A text is a
// string, everything else is base64.
func writeBody(r *http.Request, buffer *gateway.Held, size int) error {
	if size == 0 {
		return write(buffer, `,"isBase64Encoded":false}`)
	}
	if isText(r.Header.Get("Content-Type")) && utf8.Valid(buffer.Bytes()[:size]) {
		if err := writePieces(buffer, size, 6, escape); err != nil { // \u00xx has six bytes
			return err
		}
		return write(buffer, `","isBase64Encoded":false}`)
	}
	if err := writePieces(buffer, size, 2, base64.StdEncoding.AppendEncode); err != nil {
		return err
	}
	return write(buffer, `","isBase64Encoded":true}`)
}

// piece is how much of a body is encoded at once; a multiple of 3, so that base64 has no padding between
// pieces.
const piece = 24 << 10

// writePieces appends the first bytes of the buffer, encoded into at most so many bytes for each.
func writePieces(buffer *gateway.Held, size, most int, encode func(dst, src []byte) []byte) error {
	if err := write(buffer, `,"body":"`); err != nil {
		return err
	}
	for at := 0; at < size; {
		end := min(at+piece, size)
		for most == 6 && end < size && !utf8.RuneStart(buffer.Bytes()[end]) {
			end--
		}
		if err := buffer.Reserve(most * (end - at)); err != nil {
			return err
		}
		buffer.Write(encode(buffer.AvailableBuffer(), buffer.Bytes()[at:end]))
		if buffer.Len()-size > core.MaxEvent {
			return gateway.TooLarge()
		}
		at = end
	}
	return nil
}

// escape appends a text as it stands in a JSON string.
func escape(dst, src []byte) []byte {
	quoted := gjson.AppendJSONString(dst, string(src))
	return append(dst, quoted[len(dst)+1:len(quoted)-1]...)
}

func write(buffer *gateway.Held, text string) error {
	if err := buffer.Reserve(len(text)); err != nil {
		return err
	}
	buffer.WriteString(text)
	return nil
}

// isText reports whether a body of this media type is a text. Forms are not, as in AWS Lambda.
func isText(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	kind, sub, isMedia := strings.Cut(media, "/")
	switch {
	case err != nil || !isMedia:
		return false
	case kind == "text", strings.HasSuffix(sub, "+json"), strings.HasSuffix(sub, "+xml"):
		return true
	default:
		return kind == "application" && slices.Contains([]string{"json", "xml", "javascript", "graphql"}, sub)
	}
}
