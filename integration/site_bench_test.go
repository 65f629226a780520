package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// How fast do functions answer HTTP: the first byte of a web application, of a response in parts, and many
// requests?

// applications are those of examples, each with what starts it in a process of its own and has it answer one
// request, without a server in between.
var applications = []struct {
	name     string
	language int // of subjects
	program  string
}{
	{"flask", 0, `
from app import app
status = []
assert b"form" in b"".join(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
    "wsgi.input": None, "wsgi.errors": None}, lambda *all: status.append(all)))
`},
	{"fastapi", 0, `
import asyncio
from main import app
sent = []
async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
async def send(message): sent.append(message)
asyncio.run(app({"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "headers": [], "scheme": "http",
    "server": ("x", 80), "client": ("x", 1), "http_version": "1.1", "asgi": {"version": "3.0"}}, receive, send))
assert b"form" in sent[1]["body"]
`},
	{"express", 1, `
const server = require(process.argv[1] + '/app').listen(0, '127.0.0.1', async () => {
  const page = await fetch('http://127.0.0.1:' + server.address().port)
  if (!(await page.text()).includes('form')) process.exit(1)
  process.exit(0)
})
`},
	{"sinatra", 2, `
require 'stringio'
require 'app'
status, _, body = App.call('REQUEST_METHOD' => 'GET', 'PATH_INFO' => '/', 'SCRIPT_NAME' => '', 'QUERY_STRING' => '', 'SERVER_NAME' => 'x', 'SERVER_PORT' => '80',
  'rack.url_scheme' => 'http', 'rack.input' => StringIO.new, 'rack.errors' => $stderr)
raise "#{status}" unless status == 200 && body.each.to_a.join.include?('form')
`},
}

// BenchmarkApplications measures fork starts of web applications, to the first byte of a page, against a
// process that does the same once.
func BenchmarkApplications(b *testing.B) {
	for _, a := range applications {
		b.Run(a.name, func(b *testing.B) {
			system(b)
			l := subjects[a.language]
			coretest.Requires(b, l.needs...)
			w, dir, name := shared(b), filepath.Join("examples", a.name), "bench-"+a.name
			f := directory(b, dir)
			w.ready(b, name, f.with("pipsqueak.yaml", f["pipsqueak.yaml"]+"reuse: false\n"))
			w.ask(b, "GET", "/fn/"+name, nil)
			time.Sleep(aged)
			alone := take(20, 0, func() {
				command := l.alone(b, w, filepath.Join(repositoryRoot(b), dir), name, a.program)
				if out, err := command.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			})
			other := 0
			s := take(100, 100*time.Millisecond, func() {
				if page := w.ask(b, "GET", "/fn/"+name, nil); page.status != 200 || page.header.Get("Pipsqueak-Start") != "fork" {
					other++
				}
			})
			times := float64(alone.at(0.5)) / float64(s.at(0.5))
			report(b, "fork start to the first byte, "+a.name, fmt.Sprintf("%v, %.0f× faster, %d not by fork", s, times, other), "new process: "+alone.String(),
				"p50 ≤ 10 ms, ≥ 20×", other == 0 && ms(s.at(0.5)) <= 10 && times >= 20)
		})
	}
}

// alone is the subject's process with another program.
func (l subject) alone(b *testing.B, w *worker, dir, function, program string) *exec.Cmd {
	b.Helper()
	command := l.process(b, w, dir, function)
	for i, arg := range command.Args {
		if arg == "-c" || arg == "-e" {
			command.Args[i+1] = program
		}
	}
	if l.name == "node" {
		packages := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
		packages.Dir = command.Args[len(command.Args)-1]
		if out, err := packages.CombinedOutput(); err != nil {
			b.Fatalf("npm install: %v: %s", err, out)
		}
	}
	return command
}

// timed write the time into the first part of their response, in nanoseconds.
var timed = map[string]files{
	"python": {"handler.py": "import time\ndef handler(event, context):\n    yield str(time.time_ns())\n    time.sleep(0.005)\n    yield ' end'\n"},
	"node": {"index.mjs": `
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write(String(Math.round((performance.timeOrigin + performance.now()) * 1e6)))
  await new Promise((done) => setTimeout(done, 5))
  stream.end(' end')
})
`},
	"ruby": {"handler.rb": `
def handler(event:, context:)
  Enumerator.new do |out|
    out << Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond).to_s
    sleep 0.005
    out << ' end'
  end
end
`},
	"native": {"handler.cc": `
#include <chrono>
#include <pipsqueak.hpp>
#include <thread>
static std::string handle(std::string_view, pipsqueak::context &context)
{
    context.write(std::to_string(std::chrono::system_clock::now().time_since_epoch().count()));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    context.write(" end");
    return "";
}
PIPSQUEAK_HANDLER(handler, handle)
`},
}

// BenchmarkStream measures the time from the handler's write of the first part to its first byte at the
// client.
func BenchmarkStream(b *testing.B) {
	system(b)
	for language, f := range timed {
		b.Run(language, func(b *testing.B) {
			w, name := shared(b), "clock-"+language
			w.deploy(b, name, f)
			var s samples
			take(320, 0, func() {
				r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.url+"/fn/"+name, nil)
				if err != nil {
					b.Fatal(err)
				}
				response, err := sender.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				defer response.Body.Close()
				first := make([]byte, 64)
				n, err := response.Body.Read(first)
				now := time.Now()
				wrote, wrong := strconv.ParseInt(string(first[:n]), 10, 64)
				rest, _ := io.ReadAll(response.Body)
				if err != nil || wrong != nil || string(rest) != " end" {
					b.Fatalf("%q, then %q: %v, %v", first[:n], rest, err, wrong)
				}
				s = append(s, now.Sub(time.Unix(0, wrote)))
			})
			s = s[20:]
			report(b, "first byte of a response in parts after its write, "+language, s.String(), "–", "p50 ≤ 1 ms", ms(s.at(0.5)) <= 1)
		})
	}
}

// echoes send the body of a request back.
var echoes = map[string]files{
	"python": handlerFile("def handler(event, context):\n    return {'statusCode': 200, 'body': event['body'], 'isBase64Encoded': event['isBase64Encoded']}\n"),
	"node":   {"index.js": "exports.handler = async ({ body, isBase64Encoded }) => ({ statusCode: 200, body, isBase64Encoded })\n"},
	"ruby":   {"handler.rb": "def handler(event:, context:) = { statusCode: 200, body: event['body'], isBase64Encoded: event['isBase64Encoded'] }\n"},
}

// BenchmarkSite measures warm instances that send the body of a request back, over 16 connections.
func BenchmarkSite(b *testing.B) {
	system(b)
	for language, f := range echoes {
		b.Run(language, func(b *testing.B) {
			w, name := shared(b), "echo-site-"+language
			w.deploy(b, name, f)
			if a := w.ask(b, "POST", "/fn/"+name, []byte(`{"a": 1}`)); strings.TrimSpace(string(a.body)) != `{"a": 1}` {
				b.Fatal(a)
			}
			load(b, w.url+"/fn/"+name, 16, "2s")
			bare := load(b, bareEcho(b), 16, "5s")
			got := load(b, w.url+"/fn/"+name, 16, "10s")
			report(b, "warm echo by /fn, "+language+", 16 connections", got.String(), "bare net/http: "+bare.String(), "≥ 10000 requests/s", got.perSecond >= 10000)
		})
	}
}
