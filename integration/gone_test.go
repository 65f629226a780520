package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does a handler learn that its caller has gone while it waits and writes nothing, and does its event end
// then?

// tellers wait at /wait for a minute, or until they learn that the caller has gone, and print "waits" and
// "gone". Elsewhere they answer at once.
var tellers = map[string]files{
	"asgi": {"asgi.py": `
import asyncio
async def application(scope, receive, send):
    assert scope["type"] == "http"
    assert (await receive())["type"] == "http.request"
    if scope["path"].endswith("/wait"):
        print("waits")
        print("gone" if (await asyncio.wait_for(receive(), 60))["type"] == "http.disconnect" else "?")
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"now"})
`},
	"asgi that looks now and then": {"asgi.py": `
import asyncio
async def application(scope, receive, send):
    assert scope["type"] == "http"
    assert (await receive())["type"] == "http.request"
    if scope["path"].endswith("/wait"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        print("waits")
        for _ in range(600):
            coroutine = receive()
            try:
                coroutine.send(None) # what is there without waiting
            except StopIteration as has:
                return print("gone", has.value["type"])
            coroutine.close()
            await asyncio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"now"})
`},
	"fastapi": {"requirements.txt": "fastapi\n", "pipsqueak.yaml": "handler: pages:app\n", "pages.py": `
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
app = FastAPI()
async def events():
    yield b": begun\n\n"
    print("waits")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("gone")
        raise
@app.get("/wait")
def wait(): return StreamingResponse(events(), media_type="text/event-stream")
@app.get("/now")
def now(): return "now"
`},
	"listener": {"index.js": `
module.exports = require('http').createServer((request, response) => {
  if (request.url !== '/wait') return response.end('now')
  console.log('waits')
  const timer = setTimeout(() => response.end('late'), 60000)
  request.on('close', () => { clearTimeout(timer); console.log('gone') })
})
`},
	"listener that has begun": {"index.js": `
module.exports = require('http').createServer((request, response) => {
  if (request.url !== '/wait') return response.end('now')
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  console.log('waits')
  const timer = setTimeout(() => response.end('late'), 60000)
  response.on('close', () => { clearTimeout(timer); console.log('gone') })
})
`},
	"express": {"package.json": `{"dependencies": {"express": "^4"}}`, "index.js": `
const app = require('express')()
app.get('/wait', (request, response) => {
  response.set('content-type', 'text/event-stream').flushHeaders()
  console.log('waits')
  const timer = setInterval(() => {}, 1000)
  request.on('close', () => { clearInterval(timer); console.log('gone') })
})
app.get('/now', (request, response) => response.send('now'))
module.exports = app
`},
	"fetch": {"index.mjs": `
export default { fetch(request) {
  if (!request.url.endsWith('/wait')) return new Response('now')
  console.log('waits')
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 60000)
    request.signal.addEventListener('abort', () => { clearTimeout(timer); console.log('gone'); reject(request.signal.reason) })
  })
} }
`},
	"fetch that has begun": {"index.mjs": `
export default { fetch(request) {
  if (!request.url.endsWith('/wait')) return new Response('now')
  const timer = setInterval(() => {}, 1000)
  return new Response(new ReadableStream({
    start(controller) { controller.enqueue(new TextEncoder().encode('one')); console.log('waits') },
    cancel() { clearInterval(timer); console.log('gone') },
  }))
} }
`},
	"streamifyResponse": {"index.mjs": `
export const handler = awslambda.streamifyResponse(async ({ rawPath }, stream) => {
  if (rawPath !== '/wait') return stream.end('now')
  stream.write('one')
  console.log('waits')
  const timer = setInterval(() => {}, 1000)
  await new Promise((done) => stream.on('close', done))
  clearInterval(timer)
  console.log('gone')
})
`},
}

// alone are the kinds that have one event at a time.
var alone = map[string]bool{"net/http": true}

func TestGone(t *testing.T) {
	system(t)
	w := shared(t)
	all := map[string]files{"net/http": goProgram(t, "integration/testdata/site")}
	for kind, code := range tellers {
		all[kind] = code
	}
	for kind, code := range all {
		for _, concurrency := range []string{"", "concurrency: 4\n"} {
			if concurrency != "" && alone[kind] {
				continue
			}
			t.Run(kind+" "+concurrency, func(t *testing.T) {
				name := "gone-" + strings.ToLower(strings.NewReplacer(" ", "-", "/", "-", ": 4\n", "").Replace(kind+" "+concurrency)) + "x"
				w.deploy(t, name, code.with("pipsqueak.yaml", code["pipsqueak.yaml"]+"timeout_ms: 60000\nmax_instances: 1\n"+concurrency))
				for _, id := range []string{name + "-1", name + "-2"} { // the second one is warm
					w.goesAway(t, name, id)
					w.hears(t, name, id, "gone")
					began := time.Now()
					if a := w.ask(t, "GET", "/fn/"+name+"/now", nil); a.status != 200 || !strings.Contains(string(a.body), "now") || time.Since(began) > 10*time.Second {
						t.Errorf("the next event, after %v: %d %s", time.Since(began), a.status, a.body)
					}
				}
				w.hasNotFailed(t, name)
			})
		}
	}
}

// goesAway asks for /wait, and goes away when the handler waits.
func (w *worker) goesAway(t *testing.T, name, id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/fn/"+name+"/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", id)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := http.DefaultClient.Do(r); err == nil {
			<-ctx.Done()
			response.Body.Close()
		}
	}()
	w.hears(t, name, id, "waits")
	cancel()
	<-done
}

// hears waits until the handler has printed that in the event.
func (w *worker) hears(t *testing.T, name, id, text string) {
	t.Helper()
	eventually(t, patience, text, func() bool {
		for _, line := range w.logLines(t, name, "?request="+id) {
			if strings.HasPrefix(line.Text, text) {
				return true
			}
		}
		return false
	})
}

// hasNotFailed looks whether the log has a failure that is no caller's leaving.
func (w *worker) hasNotFailed(t *testing.T, name string) {
	t.Helper()
	for _, line := range w.logLines(t, name, "") {
		if line.Failure != nil && line.Failure.Kind != core.KindCanceled {
			t.Errorf("%s: %v", line.Text, line.Failure)
		}
	}
}

// unaware wait for a moment at /wait, whatever the caller does, write, and print that they have come to their
// end. What a write says after the caller has gone is looked at by TestStreams.
var unaware = map[string]files{
	"wsgi": {"wsgi.py": `
import time
def application(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        print("waits")
        time.sleep(1)
        print("ended")
    start_response("200 OK", [])
    return [b"now"]
`},
	"generator": {"handler.py": `
import time
def handler(event, context):
    if event["rawPath"] == "/wait":
        print("waits")
        time.sleep(1)
        print("ended")
    yield "now"
`},
	"async": {"handler.py": `
import asyncio
async def handler(event, context):
    if event["rawPath"] == "/wait":
        print("waits")
        await asyncio.sleep(1)
        print("ended")
    return "now"
`},
	"node": {"index.mjs": `
export const handler = async ({ rawPath }) => {
  if (rawPath === '/wait') {
    console.log('waits')
    await new Promise((done) => setTimeout(done, 1000))
    console.log('ended')
  }
  return 'now'
}
`},
	"listener": {"index.js": `
module.exports = require('http').createServer((request, response) => {
  if (request.url !== '/wait') return response.end('now')
  console.log('waits')
  setTimeout(() => { response.end('late'); console.log('ended') }, 1000)
})
`},
	"rack": {"app.rb": `
App = lambda do |env|
  if env['PATH_INFO'] == '/wait'
    puts 'waits'
    sleep 1
    puts 'ended'
  end
  [200, {}, ['now']]
end
`},
	"cpp": {"handler.cc": `
#include <pipsqueak.hpp>
#include <unistd.h>
static std::string handle(std::string_view event, pipsqueak::context &)
{
    if (event.find("\"rawPath\":\"/wait\"") != event.npos) {
        puts("waits");
        fflush(stdout);
        sleep(1);
        puts("ended");
    }
    return "\"now\"";
}
PIPSQUEAK_HANDLER(handler, handle)
`},
}

// TestGoneUnaware: a handler that cannot learn that its caller has gone, or does not ask, runs to its end.
func TestGoneUnaware(t *testing.T) {
	system(t)
	w := shared(t)
	for kind, code := range unaware {
		for _, concurrency := range []string{"", "concurrency: 4\n"} {
			if concurrency != "" && kind == "cpp" {
				continue
			}
			t.Run(kind+" "+concurrency, func(t *testing.T) {
				name := "unaware-" + strings.NewReplacer(" ", "-", ": 4\n", "").Replace(kind+" "+concurrency) + "x"
				w.deploy(t, name, code.with("pipsqueak.yaml", "timeout_ms: 30000\nmax_instances: 1\n"+concurrency))
				w.goesAway(t, name, name)
				w.hears(t, name, name, "ended")
				if a := w.ask(t, "GET", "/fn/"+name+"/now", nil); a.status != 200 || !strings.Contains(string(a.body), "now") {
					t.Errorf("the next event: %d %s", a.status, a.body)
				}
				w.hasNotFailed(t, name)
			})
		}
	}
}
