package integration

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does a response begin before it ends, in every way that a language and its frameworks have, and what
// becomes of one that breaks off?

// streamers pass on "one", and a moment later "two"; at /fail they raise before, at /half between, at /die
// the process is killed between, at /hang there is no end, at /large there are 10 MiB, and at /endless parts
// of 64 KiB until the caller has gone, which they print.
var streamers = map[string]files{
	"python": {"handler.py": `
import os, signal, time
def handler(event, context):
    path = event["rawPath"]
    if path == "/fail": raise KeyError("failed")
    if path == "/large": yield b"x" * (10 << 20); return
    if path == "/endless":
        try:
            for n in range(1 << 20): yield b"x" * (64 << 10)
        except BrokenPipeError as gone: print("gone after", n, gone)
        return
    yield {"statusCode": 200, "headers": {"content-type": "text/plain"}}
    yield "one"
    if path == "/half": raise KeyError("half")
    if path == "/die": os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60 if path == "/hang" else 0.4)
    yield b"two"
`},
	"python async": {"handler.py": `
import asyncio, os, signal
async def handler(event, context):
    path = event["rawPath"]
    if path == "/fail": raise KeyError("failed")
    if path == "/large": yield b"x" * (10 << 20); return
    if path == "/endless":
        try:
            for n in range(1 << 20): yield b"x" * (64 << 10)
        except BrokenPipeError as gone: print("gone after", n, gone)
        return
    yield "one"
    if path == "/half": raise KeyError("half")
    if path == "/die": os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60 if path == "/hang" else 0.4)
    yield b"two"
`},
	"wsgi": {"wsgi.py": `
import os, signal, time
def endless():
    n = 0
    try:
        while True:
            yield b"x" * (64 << 10)
            n += 1
    finally: print("gone after", n)
def parts(path):
    yield b"one"
    if path == "/half": raise KeyError("half")
    if path == "/die": os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60 if path == "/hang" else 0.4)
    yield b"two"
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail": raise KeyError("failed")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return endless() if path == "/endless" else [b"x" * (10 << 20)] if path == "/large" else parts(path)
`},
	"asgi": {"asgi.py": `
import asyncio, os, signal
async def application(scope, receive, send):
    assert scope["type"] == "http"
    path = scope["path"].removeprefix(scope["root_path"])
    if path == "/fail": raise KeyError("failed")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if path == "/large": return await send({"type": "http.response.body", "body": b"x" * (10 << 20)})
    if path == "/endless":
        assert (await receive())["type"] == "http.request"
        leaves, n = asyncio.create_task(receive()), 0
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * (64 << 10), "more_body": True})
                n += 1
        except OSError: print("gone after", n, (await leaves)["type"])
        return
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    if path == "/half": raise KeyError("half")
    if path == "/die": os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60 if path == "/hang" else 0.4)
    await send({"type": "http.response.body", "body": b"two"})
`},
	"node": {"index.mjs": `
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
const after = (ms) => new Promise((done) => setTimeout(done, ms))
export const handler = awslambda.streamifyResponse(async ({ rawPath }, stream) => {
  if (rawPath === '/fail') throw new TypeError('failed')
  if (rawPath === '/large') return void stream.end(Buffer.alloc(10 << 20, 'x'))
  if (rawPath === '/endless') {
    let n = 0
    const endless = async function* () { for (;; n++) yield Buffer.alloc(64 << 10, 'x') }
    return pipeline(endless, stream).catch((gone) => console.log('gone after', n, gone.code))
  }
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 200, headers: { 'content-type': 'text/plain' } })
  stream.write('one')
  await after(20)
  if (rawPath === '/half') throw new TypeError('half')
  if (rawPath === '/die') process.kill(process.pid, 'SIGKILL')
  await after(rawPath === '/hang' ? 60000 : 400)
  stream.end('two')
  await once(stream, 'finish')
})
`},
	"http.Server": {"server.mjs": `
import http from 'node:http'
export const app = http.createServer((request, response) => {
  if (request.url === '/fail') throw new TypeError('failed')
  response.setHeader('transfer-encoding', 'chunked')
  if (request.url === '/large') return response.end(Buffer.alloc(10 << 20, 'x'))
  if (request.url === '/endless') {
    let n = 0
    const more = () => { do n++; while (response.write(Buffer.alloc(64 << 10, 'x'))) }
    response.on('drain', more)
    request.on('close', () => console.log('gone after', n))
    return more()
  }
  response.write('one')
  setTimeout(() => {
    if (request.url === '/half') throw new TypeError('half')
    if (request.url === '/die') process.kill(process.pid, 'SIGKILL')
    setTimeout(() => response.end('two'), request.url === '/hang' ? 60000 : 400)
  }, 20)
})
`},
	"fetch": {"index.mjs": `
const after = (ms) => new Promise((done) => setTimeout(done, ms))
async function* parts(path) {
  yield Buffer.from('one')
  await after(20)
  if (path === '/half') throw new TypeError('half')
  if (path === '/die') process.kill(process.pid, 'SIGKILL')
  await after(path === '/hang' ? 60000 : 400)
  yield Buffer.from('two')
}
export default { async fetch(request) {
  const path = new URL(request.url).pathname
  if (path === '/fail') throw new TypeError('failed')
  if (path === '/large') return new Response(Buffer.alloc(10 << 20, 'x'))
  let n = 0
  if (path === '/endless') return new Response(new ReadableStream({ pull(out) { n++; out.enqueue(new Uint8Array(64 << 10)) }, cancel() { console.log('gone after', n) } }))
  return new Response(ReadableStream.from(parts(path)))
} }
`},
	"ruby": {"handler.rb": `
def handler(event:, context:)
  path = event['rawPath']
  raise KeyError, 'failed' if path == '/fail'
  return ['x' * (10 << 20)].each if path == '/large'
  Enumerator.new do |out|
    if path == '/endless'
      n = 0
      begin
        loop { out << 'x' * (64 << 10); n += 1 }
      rescue Errno::EPIPE
        puts "gone after #{n}"
      end
      next
    end
    out << { statusCode: 200, headers: { 'content-type' => 'text/plain' } } << 'one'
    raise KeyError, 'half' if path == '/half'
    Process.kill(:KILL, Process.pid) if path == '/die'
    sleep(path == '/hang' ? 60 : 0.4)
    out << 'two'
  end
end
`},
	"rack": {"app.rb": `
Parts = Struct.new(:path) do
  def each
    return yield 'x' * (10 << 20) if path == '/large'
    n = 0
    loop { yield 'x' * (64 << 10); n += 1 } if path == '/endless'
    yield 'one'
    raise KeyError, 'half' if path == '/half'
    Process.kill(:KILL, Process.pid) if path == '/die'
    sleep(path == '/hang' ? 60 : 0.4)
    yield 'two'
  ensure
    puts "gone after #{n}"
  end
end
App = ->(env) { env['PATH_INFO'] == '/fail' ? raise(KeyError, 'failed') : [200, { 'content-type' => 'text/plain' }, Parts.new(env['PATH_INFO'])] }
`},
	"cpp": {"handler.cc": `
#include <csignal>
#include <pipsqueak.hpp>
#include <unistd.h>
static std::string handle(std::string_view event, pipsqueak::context &context)
{
    auto at = [event](const char *path) { return event.find("\"rawPath\":\"" + std::string(path) + "\"") != event.npos; };
    if (at("/fail"))
        throw std::runtime_error("failed");
    if (at("/large"))
        context.write(std::string(10 << 20, 'x'));
    int n = 0;
    try {
        while (at("/endless"))
            context.write(std::string(64 << 10, 'x')), n++;
    } catch (const pipsqueak::write_error &gone) {
        printf("gone after %d %s\n", n, gone.what());
        throw;
    }
    if (at("/large"))
        return "";
    context.head(R"({"statusCode": 200, "headers": {"content-type": "text/plain"}})");
    context.write("one");
    if (at("/half"))
        throw std::runtime_error("half");
    if (at("/die"))
        raise(SIGKILL);
    usleep((at("/hang") ? 60000 : 400) * 1000);
    context.write("two");
    return "";
}
PIPSQUEAK_HANDLER(handler, handle)
`},
	"c": {"handler.c": `
#include <pipsqueak.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    static char block[10 << 20];
    int failed = 0, n = 0;
    ps_answer why;
    const char *path = strstr(event, "\"rawPath\":\"/") + 12;
    memset(block, 'x', sizeof block);
    switch (path[0] == 'h' ? path[1] : path[0]) {
    case 'f': ps_error(context, "Error", "failed"); return;
    case 'l': if (ps_write(context, block, sizeof block, &why)) ps_error(context, why.kind, why.message); return;
    case 'e':
        while (!failed)
            failed = ps_write(context, block, 64 << 10, &why), n++;
        printf("gone after %d %s\n", n, why.message);
        return;
    }
    const char head[] = "{\"headers\":{\"content-type\":\"text/plain\"}}";
    ps_head(context, head, strlen(head));
    ps_write(context, "one", 3, NULL);
    if (!strncmp(path, "half", 4)) { ps_error(context, "Error", "half"); return; }
    if (path[0] == 'd') raise(SIGKILL);
    usleep((path[0] == 'h' ? 60000 : 400) * 1000);
    ps_write(context, "two", 3, NULL);
}
`},
}

func TestStreams(t *testing.T) {
	system(t)
	w := shared(t)
	all := maps.Clone(streamers)
	all["bootstrap"] = goProgram(t, "integration/testdata/bootstrap/streams")
	all["net/http"] = goProgram(t, "integration/testdata/site")
	for kind, code := range all {
		t.Run(kind, func(t *testing.T) {
			name := "streams-" + strings.ToLower(strings.NewReplacer(" ", "-", ".", "-", "/", "-").Replace(kind))
			w.deploy(t, name, code.with("pipsqueak.yaml", "timeout_ms: 3000\n"))
			for range 2 { // the second is warm
				w.beginsEarly(t, name)
			}
			w.breaksOff(t, name)
			w.holdsBack(t, name)
			if a := w.ask(t, "GET", "/fn/"+name+"/large", nil); a.status != 200 || len(a.body) != 10<<20 {
				t.Errorf("10 MiB: %d, %d bytes", a.status, len(a.body))
			}
			if a := w.ask(t, "HEAD", "/fn/"+name+"/parts", nil); a.status != 200 || len(a.body) != 0 {
				t.Errorf("HEAD: %d %q", a.status, a.body)
			}
			event := `{"version":"2.0","rawPath":"/parts","rawQueryString":"","headers":{},"requestContext":{"http":{"method":"GET","path":"/parts","protocol":"HTTP/1.1"}}}`
			if a := w.run(t, name, event); a.status != 200 || !strings.Contains(string(a.body), `"statusCode":200`) {
				t.Errorf("as a whole: %d %s", a.status, a.body)
			}
			e := w.run(t, name, strings.Replace(event, `"/parts"`, `"/large"`, 1)).expectError(t, core.KindTooLarge, core.FaultHandler, 502)
			if !strings.Contains(e.Message, "6291456") {
				t.Errorf("10 MiB as a whole: %s", e.Message)
			}
		})
	}
}

// opened sends a request and returns its response, of which only the head has been read, and the request's
// id.
func (w *worker) opened(t *testing.T, path string) (body *bufio.Reader, id string, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 200 {
		t.Errorf("%s: status %d", path, response.StatusCode)
	}
	return bufio.NewReader(response.Body), response.Header.Get("X-Request-Id"), func() {
		response.Body.Close()
		cancel()
	}
}

func (w *worker) beginsEarly(t *testing.T, name string) {
	t.Helper()
	body, _, leave := w.opened(t, "/fn/"+name+"/parts")
	defer leave()
	first := make([]byte, 3)
	if _, err := io.ReadFull(body, first); err != nil || string(first) != "one" {
		t.Fatalf("%q, %v", first, err)
	}
	began := time.Now()
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "two" || time.Since(began) < 200*time.Millisecond {
		t.Errorf("%q, %v after the first part: %v", rest, time.Since(began), err)
	}
}

// breaksOff asks for responses that end in the middle, and for one that never begins.
func (w *worker) breaksOff(t *testing.T, name string) {
	t.Helper()
	if a := w.ask(t, "GET", "/fn/"+name+"/fail", nil); a.status != 500 {
		t.Errorf("before the first part: %d %s", a.status, a.body)
	}
	for path, kind := range map[string]core.Kind{"half": core.KindException, "die": core.KindExit, "hang": core.KindTimeout} {
		body, id, leave := w.opened(t, "/fn/"+name+"/"+path)
		if got, err := io.ReadAll(body); string(got) != "one" || err == nil {
			t.Errorf("%s: %q, and the response looks whole: %v", path, got, err)
		}
		leave()
		w.failureLine(t, name, id, kind)
	}
}

// holdsBack takes nothing of a response without end, and then leaves.
func (w *worker) holdsBack(t *testing.T, name string) {
	t.Helper()
	body, id, leave := w.opened(t, "/fn/"+name+"/endless")
	if _, err := body.ReadByte(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	leave()
	eventually(t, patience, "the handler learns that the caller has gone", func() bool {
		for _, line := range w.logLines(t, name, "?request="+id) {
			if rest, found := strings.CutPrefix(line.Text, "gone after "); found {
				if count, _, _ := strings.Cut(rest, " "); len(count) > 3 { // 64 MiB
					t.Errorf("the handler wrote %s parts of 64 KiB to a caller that took nothing", count)
				}
				return true
			}
		}
		return false
	})
}

// TestStreamLimit deploys a function that may send one megabyte.
func TestStreamLimit(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "streams-little", streamers["python"].with("pipsqueak.yaml", "stream_mb: 1\n"))
	body, id, leave := w.opened(t, "/fn/streams-little/large")
	defer leave()
	if n, err := io.Copy(io.Discard, body); n != 1<<20 || err == nil {
		t.Errorf("%d bytes, and the response looks whole: %v", n, err)
	}
	w.failureLine(t, "streams-little", id, core.KindTooLarge)
}

// waiting are applications that begin their response two seconds before its first byte.
var waiting = map[string]files{
	"asgi": {"asgi.py": `
import asyncio
async def application(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await asyncio.sleep(2)
    await send({"type": "http.response.body", "body": b"late"})
`},
	"fetch": {"index.mjs": `
export default { fetch() {
  const late = async (controller) => {
    await new Promise((done) => setTimeout(done, 2000))
    controller.enqueue(new TextEncoder().encode('late'))
    controller.close()
  }
  return new Response(new ReadableStream({ pull: late }), { headers: { 'content-type': 'text/event-stream' } })
} }
`},
	"listener": {"index.js": `
module.exports = require('http').createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  setTimeout(() => response.end('late'), 2000)
})
`},
}

// TestHeadsComeFirst: who asks learns of a response when the application has begun it, as with servers of
// these interfaces, also if it is given as a whole.
func TestHeadsComeFirst(t *testing.T) {
	system(t)
	w := shared(t)
	for kind, code := range waiting {
		t.Run(kind, func(t *testing.T) {
			name := "waits-" + kind
			w.deploy(t, name, code)
			for range 2 {
				body, _, leave := w.opened(t, "/fn/"+name+"/")
				began := time.Now()
				if rest, err := io.ReadAll(body); err != nil || string(rest) != "late" || time.Since(began) < time.Second {
					t.Errorf("%q, %v after the head: %v", rest, time.Since(began), err)
				}
				leave()
			}
			event := `{"version":"2.0","rawPath":"/","rawQueryString":"","headers":{},"requestContext":{"http":{"method":"GET","path":"/","protocol":"HTTP/1.1"}}}`
			if a := w.run(t, name, event); !strings.Contains(string(a.body), `"statusCode":200`) || !strings.Contains(string(a.body), "late") {
				t.Errorf("as a whole: %d %s", a.status, a.body)
			}
		})
	}
}
