package integration

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Do web applications run as they are, in every language's frameworks?

// webApplications answer / with a page that has the parameter name, POST /form with its field a and a cookie,
// /bytes with bytes, and fail at /fail.
var webApplications = map[string]files{
	"wsgi": {"wsgi.py": `
from urllib.parse import parse_qs
def application(environ, start_response):
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    if path == "/fail":
        raise KeyError("failed")
    if path == "/bytes":
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"\x89\xff", b"\x00"]
    if path == "/form":
        fields = parse_qs(environ["wsgi.input"].read().decode())
        start_response("201 Created", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return [(fields["a"][0] + environ["HTTP_COOKIE"]).encode()]
    start_response("200 OK", [("Content-Type", "text/html")])
    return [("<p>" + query["name"][0]).encode()]
`},
	"asgi": {"asgi.py": `
from urllib.parse import parse_qs
started = []
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        started.append("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
    assert started == ["started"]
    status, headers, path, query = 200, [], scope["path"].removeprefix(scope["root_path"]), parse_qs(scope["query_string"].decode())
    if path == "/fail":
        raise KeyError("failed")
    if path == "/bytes":
        kind, body = b"image/png", b"\x89\xff\x00"
    elif path == "/form":
        status, kind, headers = 201, b"text/plain", [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        body = parse_qs((await receive())["body"].decode())["a"][0].encode() + dict(scope["headers"])[b"cookie"]
    else:
        kind, body = b"text/html", b"<p>" + query["name"][0].encode()
    await send({"type": "http.response.start", "status": status, "headers": headers + [(b"content-type", kind)]})
    for byte in body:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
    await send({"type": "http.response.body"})
`},
	"flask": {"requirements.txt": "flask\n", "pipsqueak.yaml": "handler: shop.pages:site\n", "shop/__init__.py": "", "shop/pages.py": `
from flask import Flask, Response, request
site = Flask(__name__)
site.config["PROPAGATE_EXCEPTIONS"] = True
@site.get("/")
def page():
    return "<p>" + request.args["name"]
@site.post("/form")
def form():
    answer = Response(request.form["a"] + request.headers["Cookie"], 201, content_type="text/plain")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer
@site.get("/bytes")
def data():
    return Response(b"\x89\xff\x00", content_type="image/png")
@site.get("/fail")
def fail():
    raise KeyError("failed")
`},
	"django": {"requirements.txt": "django\n", "site_settings.py": "SECRET_KEY = 'x'\nROOT_URLCONF = 'urls'\nALLOWED_HOSTS = ['*']\nDEBUG_PROPAGATE_EXCEPTIONS = True\nMIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n", "urls.py": `
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
@csrf_exempt
def form(request):
    answer = HttpResponse(request.POST["a"] + request.headers["Cookie"], status=201, content_type="text/plain")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer
def fail(request):
    raise KeyError("failed")
urlpatterns = [
    path("", lambda request: HttpResponse("<p>" + request.GET["name"])),
    path("form", form),
    path("bytes", lambda request: HttpResponse(b"\x89\xff\x00", content_type="image/png")),
    path("fail", fail),
]
`, "wsgi.py": `
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
application = get_wsgi_application()
`},
	"django asgi": {"requirements.txt": "django\n", "asgi.py": `
from django.conf import settings
settings.configure(SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG_PROPAGATE_EXCEPTIONS=True)
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path
async def form(request):
    answer = HttpResponse(request.POST["a"] + request.headers["Cookie"], status=201, content_type="text/plain")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer
async def page(request):
    return HttpResponse("<p>" + request.GET["name"])
async def data(request):
    return HttpResponse(b"\x89\xff\x00", content_type="image/png")
async def fail(request):
    raise KeyError("failed")
urlpatterns = [path("", page), path("form", form), path("bytes", data), path("fail", fail)]
application = get_asgi_application()
`},
	"hono": {"package.json": `{"type": "module", "dependencies": {"hono": "^4"}}`, "index.js": `
import { Hono } from 'hono'
import { setCookie } from 'hono/cookie'
const app = new Hono().basePath('/')
app.get('/', (c) => c.html('<p>' + c.req.query('name')))
app.post('/form', async (c) => {
  setCookie(c, 'a', '1')
  setCookie(c, 'b', '2')
  return c.text((await c.req.parseBody()).a + c.req.header('cookie'), 201)
})
app.get('/bytes', (c) => c.body(new Uint8Array([0x89, 0xff, 0]), 200, { 'content-type': 'image/png' }))
app.get('/fail', () => { throw new Error('failed') })
export default app
`},
	"koa": {"package.json": `{"dependencies": {"koa": "^3"}}`, "app.js": `
const Koa = require('koa')
const app = new Koa()
app.silent = true
app.use(async (ctx) => {
  if (ctx.path === '/fail') throw new Error('failed')
  if (ctx.path === '/bytes') return Object.assign(ctx, { type: 'image/png', body: Buffer.from([0x89, 0xff, 0]) })
  if (ctx.path !== '/form') return Object.assign(ctx, { type: 'text/html', body: '<p>' + ctx.query.name })
  let text = ''
  for await (const chunk of ctx.req) text += chunk
  ctx.cookies.set('a', '1')
  ctx.cookies.set('b', '2')
  Object.assign(ctx, { status: 201, type: 'text/plain', body: new URLSearchParams(text).get('a') + ctx.get('cookie') })
})
module.exports = app
`},
	"fastify": {"package.json": `{"dependencies": {"fastify": "^5"}}`, "app.js": `
const app = require('fastify')()
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body))))
app.get('/', async (request, reply) => reply.type('text/html').send('<p>' + request.query.name))
app.post('/form', async (request, reply) => reply.code(201).type('text/plain').header('set-cookie', ['a=1', 'b=2']).send(request.body.a + request.headers.cookie))
app.get('/bytes', async (request, reply) => reply.type('image/png').send(Buffer.from([0x89, 0xff, 0])))
app.get('/fail', async () => { throw new Error('failed') })
module.exports = app
`},
	"http.Server": {"server.mjs": `
import http from 'node:http'
export const app = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://x')
  if (url.pathname === '/fail') return request.socket.destroy()
  if (url.pathname === '/bytes') return response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([0x89, 0xff, 0]))
  if (url.pathname !== '/form') return response.setHeader('content-type', 'text/html').end('<p>' + url.searchParams.get('name'))
  let text = ''
  request.on('data', (chunk) => { text += chunk })
  request.on('end', () => {
    response.writeHead(201, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] })
    response.write(new URLSearchParams(text).get('a'))
    setTimeout(() => response.end(request.headers.cookie), 5)
  })
})
`},
	"listening": {"index.js": `
const http = require('http')
http.createServer((request, response) => {
  const url = new URL(request.url, 'http://x')
  if (url.pathname === '/fail') return request.socket.destroy()
  if (url.pathname === '/bytes') return response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([0x89, 0xff, 0]))
  if (url.pathname !== '/form') return response.setHeader('content-type', 'text/html').end('<p>' + url.searchParams.get('name'))
  let text = ''
  request.on('data', (chunk) => { text += chunk }).on('end', () => {
    response.writeHead(201, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] }).end(new URLSearchParams(text).get('a') + request.headers.cookie)
  })
}).listen(3000, () => console.log('listening'))
`},
	"fetch": {"index.mjs": `
export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url)
    const path = '/' + pathname.split('/').pop()
    if (path === '/fail') throw new Error('failed')
    if (path === '/bytes') return new Response(new Uint8Array([0x89, 0xff, 0]), { headers: { 'content-type': 'image/png' } })
    if (path !== '/form') return new Response('<p>' + searchParams.get('name'), { headers: { 'content-type': 'text/html' } })
    const headers = new Headers({ 'content-type': 'text/plain' })
    headers.append('set-cookie', 'a=1')
    headers.append('set-cookie', 'b=2')
    return new Response((await request.formData()).get('a') + request.headers.get('cookie'), { status: 201, headers })
  },
}
`},
	"express": {"package.json": `{"dependencies": {"express": "^5"}}`, "app.js": `
const express = require('express')
const app = express()
app.use(express.urlencoded({ extended: false }))
app.get('/', (request, response) => response.send('<p>' + request.query.name))
app.post('/form', (request, response) => response.cookie('a', '1').cookie('b', '2').status(201).type('text').send(request.body.a + request.headers.cookie))
app.get('/bytes', (request, response) => response.type('png').send(Buffer.from([0x89, 0xff, 0])))
app.get('/fail', () => { throw new Error('failed') })
module.exports = app
`},
	"rack": {"app.rb": `
require 'uri'
class App
  def self.call(env)
    case env['PATH_INFO']
    when '/fail' then raise KeyError, 'failed'
    when '/bytes' then [200, { 'content-type' => 'image/png' }, ["\x89\xff".b, "\x00".b]]
    when '/form'
      a = URI.decode_www_form(env['rack.input'].read).to_h['a']
      [201, { 'content-type' => 'text/plain', 'set-cookie' => ['a=1', 'b=2'] }, [a, env['HTTP_COOKIE']]]
    else [200, { 'content-type' => 'text/html' }, ['<p>' + URI.decode_www_form(env['QUERY_STRING']).to_h['name']]]
    end
  end
end
`},
	"sinatra": {"pipsqueak.yaml": "debian: [ruby-sinatra]\nhandler: site.Sinatra::Application\n", "site.rb": `
require 'sinatra'
get('/') { '<p>' + params['name'] }
post('/form') do
  response.set_cookie('a', '1')
  response.set_cookie('b', '2')
  content_type 'text/plain'
  [201, params['a'] + request.env['HTTP_COOKIE']]
end
get('/bytes') { content_type 'image/png'; "\x89\xff\x00".b }
get('/fail') { raise 'failed' }
`},
}

func TestWebApplications(t *testing.T) {
	system(t)
	w := shared(t)
	applications := maps.Clone(webApplications)
	applications["net/http"] = goProgram(t, "integration/testdata/site")
	for framework, code := range applications {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			name := "web-" + strings.ToLower(strings.NewReplacer(".", "-", " ", "-", "/", "-").Replace(framework))
			w.deploy(t, name, code)
			for range 2 { // the second is warm
				isSite(t, w, name)
			}
			if a := w.run(t, name, `{}`); a.status != http.StatusInternalServerError || !strings.Contains(string(a.body), "is a web application") {
				t.Errorf("an event that is no request: %d %s", a.status, a.body)
			}
		})
	}
}

func isSite(t *testing.T, w *worker, name string) {
	t.Helper()
	for _, test := range []struct{ method, path, body, want, media string }{
		{"GET", "/?name=%C3%A4", "", "200 <p>ä", "text/html"},
		{"POST", "/form", "a=5", "201 5c=3; d=4", "text/plain"},
		{"GET", "/bytes", "", "200 \x89\xff\x00", "image/png"},
		{"GET", "/fail", "", "500", ""},
	} {
		a, err := w.do(t.Context(), test.method, "/fn/"+name+test.path, strings.NewReader(test.body), "Cookie: c=3; d=4", "Content-Type: application/x-www-form-urlencoded")
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%d %s", a.status, a.body)
		if !strings.HasPrefix(got, test.want) || !strings.HasPrefix(a.header.Get("Content-Type"), test.media) {
			t.Errorf("%s: %q %s, want %q %s", test.path, got, a.header.Get("Content-Type"), test.want, test.media)
		}
		if cookies := a.header.Values("Set-Cookie"); test.path == "/form" && (len(cookies) != 2 || !strings.HasPrefix(cookies[0], "a=1") || !strings.HasPrefix(cookies[1], "b=2")) {
			t.Errorf("%s: cookies %q", test.path, cookies)
		}
	}
}

// TestWebExamples asks the applications of examples for a page, and for what the form on it leads to.
func TestWebExamples(t *testing.T) {
	system(t)
	w := shared(t)
	for _, framework := range []string{"flask", "fastapi", "express", "sinatra", "go-http"} {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			code := directory(t, filepath.Join("examples", framework))
			if code["go.mod"] != "" {
				code = goProgram(t, filepath.Join("examples", framework))
			}
			w.deploy(t, "example-"+framework, code)
			page := w.ask(t, "GET", "/fn/example-"+framework, nil)
			_, rest, _ := strings.Cut(string(page.body), "<form action='")
			path, _, found := strings.Cut(rest, "'")
			if page.status != 200 || !found || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
				t.Fatalf("%d %s", page.status, page.body)
			}
			if a := w.ask(t, "GET", path+"?miles=26.2", nil); a.status != 200 || strings.TrimSpace(string(a.body)) != `{"km":42.16}` {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
}
