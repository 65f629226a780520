package integration

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Does a function answer HTTP requests, in every language?

// siteHandlers greet whom the request names, with a status, a header and a cookie of their own.
var siteHandlers = map[string]files{
	"python": {"handler.py": `
import base64
def handler(event, context):
    body = base64.b64decode(event.get("body", "")) if event["isBase64Encoded"] else event.get("body", "").encode()
    text = event["requestContext"]["http"]["method"] + " " + event["rawPath"] + " " + event.get("queryStringParameters", {}).get("name", "") + " "
    return {"statusCode": 203, "headers": {"content-type": "text/plain", "x-cookies": "|".join(event.get("cookies", []))}, "cookies": ["a=1", "b=2"],
            "body": base64.b64encode(text.encode() + body).decode(), "isBase64Encoded": True}
`},
	"node": {"index.mjs": `
export const handler = async (event) => {
  const body = Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8')
  const text = event.requestContext.http.method + ' ' + event.rawPath + ' ' + (event.queryStringParameters?.name ?? '') + ' '
  return { statusCode: 203, headers: { 'content-type': 'text/plain', 'x-cookies': (event.cookies ?? []).join('|') }, cookies: ['a=1', 'b=2'],
    body: Buffer.concat([Buffer.from(text), body]).toString('base64'), isBase64Encoded: true }
}
`},
	"ruby": {"handler.rb": `
require 'base64'
def handler(event:, context:)
  body = event['isBase64Encoded'] ? Base64.decode64(event['body']) : event.fetch('body', '')
  text = "#{event['requestContext']['http']['method']} #{event['rawPath']} #{event.fetch('queryStringParameters', {})['name']} "
  { statusCode: 203, headers: { 'content-type' => 'text/plain', 'x-cookies' => event.fetch('cookies', []).join('|') }, cookies: ['a=1', 'b=2'],
    body: Base64.strict_encode64(text.b + body.b), isBase64Encoded: true }
end
`},
}

func TestSites(t *testing.T) {
	system(t)
	w := shared(t)
	for language, handler := range siteHandlers {
		t.Run(language, func(t *testing.T) {
			name := "site-" + language
			w.deploy(t, name, handler)
			answersHTTP(t, w, w.url+"/fn/"+name, "")
			answersHTTP(t, w, w.url, name+".localhost")
		})
	}
}

// answersHTTP sends a request with bytes to a function, at an address or under a host of its own.
func answersHTTP(t *testing.T, w *worker, base, host string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/some/p%C3%A4th?name=Pip&x=%26", strings.NewReader("\xff\x00bytes"))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	request.Header.Set("Cookie", "c=3; d=4")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := "PUT /some/p%C3%A4th Pip \xff\x00bytes"; response.StatusCode != 203 || string(body) != want {
		t.Errorf("%d %q, want %q", response.StatusCode, body, want)
	}
	h := response.Header
	if h.Get("Content-Type") != "text/plain" || strings.Join(h.Values("Set-Cookie"), " ") != "a=1 b=2" || h.Get("X-Cookies") != "c=3|d=4" {
		t.Errorf("headers %v", h)
	}
}

// TestSiteHides looks at what the visitor of a failing site sees, and its author.
func TestSiteHides(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "site-fails", files{"handler.py": "def handler(event, context):\n    raise KeyError('secret-of-the-site')\n"})
	a := w.ask(t, "GET", "/fn/site-fails/", nil)
	if a.status != http.StatusInternalServerError || strings.Contains(string(a.body), "secret-of-the-site") {
		t.Errorf("%d %s", a.status, a.body)
	}
	id := a.header.Get("X-Request-Id")
	lines := w.logLines(t, "site-fails", "?request="+id)
	if len(lines) == 0 || !strings.Contains(lines[len(lines)-1].Text, "secret-of-the-site") {
		t.Errorf("the log of %s has %v", id, lines)
	}
}
