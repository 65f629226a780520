package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// Do real clients work with real servers?

// transfers uses connections as programs do, and says which way did not work.
const transfers = `
import hashlib, os, socket, ssl, threading, time

def connect(port=7000, host="93.184.216.34"):
    return socket.create_connection((host, port), timeout=20)

def large():
    block, sent, got = os.urandom(1 << 20), hashlib.sha256(), hashlib.sha256()
    with connect() as s:
        s.makefile().readline()
        def send():
            for _ in range(48):
                s.sendall(block)
                sent.update(block)
            s.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        length = 0
        while data := s.recv(1 << 16):
            got.update(data)
            length += len(data)
        sender.join()
    assert length == 48 << 20 and sent.digest() == got.digest(), length

def many():
    all = [connect() for _ in range(200)]
    for i, s in enumerate(all):
        s.sendall(b"%d\n" % i)
    for i, s in enumerate(all):
        f = s.makefile()
        f.readline()
        assert f.readline() == "%d\n" % i
        s.close()

def half():
    with connect() as s:
        s.sendall(b"last words")
        s.shutdown(socket.SHUT_WR)
        assert s.makefile().read().endswith("last words")

def gone():
    with connect(7001) as s:
        s.settimeout(20)
        try:
            while True:
                s.sendall(b"x" * 1000)
                time.sleep(0.01)
        except ConnectionError:
            pass

def closed():
    began = time.monotonic()
    try:
        connect(7002)
    except ConnectionRefusedError:
        assert time.monotonic() - began < 5
    else:
        assert False, "somebody answers"

def names():
    assert socket.gethostbyname("localhost").startswith("127.")
    assert socket.getaddrinfo("web.example", 443, flags=socket.AI_ADDRCONFIG)
    assert socket.getservbyname("https") == 443
    try:
        socket.getaddrinfo("fails.example", 80)
    except socket.gaierror as e:
        assert e.errno in (socket.EAI_AGAIN, socket.EAI_NONAME), e
    else:
        assert False, "fails.example was found"
    time.tzset()
    assert time.tzname[0] == "UTC" and os.path.exists("/usr/share/zoneinfo/Europe/Berlin")
    assert ssl.create_default_context().get_ca_certs() or os.listdir("/etc/ssl/certs")

def handler(event, context):
    failed = {}
    for way in (names, large, many, half, gone, closed):
        try:
            way()
        except Exception as e:
            failed[way.__name__] = repr(e)
    return failed
`

// Large transfers both ways, many connections, half-closed ones, servers that go away or are not there, and
// names.
func TestEgressTransfers(t *testing.T) {
	c := startConnected(t, programs(t), t.TempDir(), "--network", "egress")
	c.world.Serve(t, c.world.Internet, 7000)
	c.world.Reset(t, c.world.Internet, 7001)
	c.world.Name("web.example", egresstest.Name{Addresses: []string{egresstest.Public[0], egresstest.Public[2]}})
	c.world.Name("fails.example", egresstest.Name{Fails: true})
	c.deploy(t, "transfers", handlerFile(transfers).with("pipsqueak.yaml", "timeout_ms: 120000\n"))
	if failed := result[map[string]string](t, c.worker, "transfers", "{}"); len(failed) > 0 {
		t.Errorf("%v", failed)
	}
}

// internetServers starts PostgreSQL, Redis and nginx in the internet, where they are db.example,
// cache.example and web.example. It returns the file of the authority that vouches for nginx.
func (c connected) internetServers(t *testing.T) (ca string) {
	t.Helper()
	initdb, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	coretest.Requires(t, coretest.Found("PostgreSQL", len(initdb) > 0), coretest.File("/usr/bin/redis-server"), coretest.File("/usr/sbin/nginx"))
	dir, err := os.MkdirTemp("", "pipsqueak-servers-")
	coretest.Must(t, err)
	temporary = append(temporary, dir)
	coretest.Must(t, os.Chmod(dir, 0o755))
	authority := coretest.NewAuthority(t)
	cert, key := authority.Issue(t, filepath.Join(dir, "tls"), time.Now().Add(time.Hour), "web.example")
	owner, err := user.Lookup("postgres")
	coretest.Must(t, err)
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	data := filepath.Join(dir, "postgres")
	coretest.Must(t, os.Mkdir(data, 0o700))
	coretest.Must(t, os.Chown(data, uid, gid))
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGQUIT}
	making := exec.Command(initdb[0], "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	making.SysProcAttr, making.Dir = as, dir
	if out, err := making.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	coretest.Must(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all all trust\n"), 0o644))
	conf := filepath.Join(dir, "nginx.conf")
	coretest.Must(t, os.WriteFile(conf, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events {}
http { access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { listen 443 ssl; listen [::]:443 ssl; server_name web.example; ssl_certificate %[2]s; ssl_certificate_key %[3]s; location / { return 200 "hello $request_method"; } } }
`, dir, cert, key), 0o644))
	for _, command := range [][]string{{filepath.Join(filepath.Dir(initdb[0]), "postgres"), "-D", data, "-h", egresstest.Public[0], "-k", "", "-c", "fsync=off"},
		{"/usr/bin/redis-server", "--bind", egresstest.Public[0], "--port", "6379", "--save", "", "--protected-mode", "no", "--dir", dir},
		{"/usr/sbin/nginx", "-c", conf}} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if filepath.Base(command[0]) == "postgres" {
			cmd.SysProcAttr = as
		}
		coretest.Must(t, netns.Do(int(c.world.Internet.Fd()), cmd.Start))
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGQUIT)
			_ = cmd.Wait()
		})
	}
	for _, name := range []string{"db.example", "cache.example", "web.example"} {
		c.world.Name(name, egresstest.Name{Addresses: []string{egresstest.Public[0]}})
	}
	for _, port := range []int{5432, 6379, 443} {
		eventually(t, patience, fmt.Sprint("a server at port ", port), func() bool { return c.world.Answers(egresstest.Public[0], port) })
	}
	return authority.CA
}

const pythonClients = `
import ssl
import httpx, psycopg, redis, requests

CA = "/function/ca.pem"

def handler(event, context):
    with psycopg.connect("host=db.example user=postgres dbname=postgres connect_timeout=10") as db:
        answers = [db.execute("select 6 * 7").fetchone()[0]]
        answers.append(len(db.execute("select repeat('x', 20000000)").fetchone()[0]))
    cache = redis.Redis(host="cache.example")
    cache.set("k", b"v" * 1000000)
    answers.append(len(cache.get("k")))
    answers.append(requests.get("https://web.example/", verify=CA, timeout=10).text)
    answers.append(httpx.post("https://web.example/", verify=ssl.create_default_context(cafile=CA), timeout=10).text)
    try:
        requests.get("https://web.example/", timeout=10)
    except requests.exceptions.SSLError:
        answers.append("untrusted")
    return answers
`

const nodeClients = `
const fs = require('node:fs');
const { Client } = require('pg');
const { createClient } = require('redis');
const { Agent, fetch: undici } = require('undici');
const https = require('node:https');
exports.handler = async () => {
  const db = new Client({ host: 'db.example', user: 'postgres', database: 'postgres' });
  await db.connect();
  const answers = [(await db.query('select 6 * 7 as n')).rows[0].n];
  answers.push((await db.query("select repeat('x', 20000000) as x")).rows[0].x.length);
  await db.end();
  const cache = createClient({ url: 'redis://cache.example' });
  await cache.connect();
  await cache.set('node', 'v'.repeat(1000000));
  answers.push((await cache.get('node')).length);
  await cache.quit();
  const ca = fs.readFileSync('/function/ca.pem');
  answers.push(await new Promise((done, fail) => https.get('https://web.example/', { ca }, (r) => r.setEncoding('utf8').on('data', done)).on('error', fail)));
  answers.push(await (await undici('https://web.example/', { method: 'POST', dispatcher: new Agent({ connect: { ca } }) })).text());
  answers.push(await fetch('https://web.example/').catch((e) => e.cause.code.includes('CERT') || e.cause.code.includes('VERIFY') ? 'untrusted' : e.cause.code));
  return answers;
};
`

const rubyClients = `
require 'net/http'
require 'openssl'
require 'socket'

def ask(request, ca)
  Net::HTTP.start('web.example', 443, use_ssl: true, ca_file: ca, open_timeout: 10) { |http| http.request(request).body }
end

def handler(event:, context:)
  answers = [ask(Net::HTTP::Get.new('/'), '/function/ca.pem'), ask(Net::HTTP::Post.new('/'), '/function/ca.pem')]
  begin
    ask(Net::HTTP::Get.new('/'), nil)
  rescue OpenSSL::SSL::SSLError
    answers << 'untrusted'
  end
  cache = TCPSocket.new('cache.example', 6379)
  cache.write("PING\r\n")
  answers << cache.gets.strip
end
`

const nativeClients = `
#include <curl/curl.h>
#include <libpq-fe.h>
#include <memory>
#include <pipsqueak.hpp>

static std::string query(PGconn *db, const char *text)
{
    std::unique_ptr<PGresult, void (*)(PGresult *)> result(PQexec(db, text), PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
        throw std::runtime_error(PQerrorMessage(db));
    return std::string(PQgetvalue(result.get(), 0, 0), PQgetlength(result.get(), 0, 0));
}

static size_t keep(char *at, size_t, size_t size, void *to)
{
    static_cast<std::string *>(to)->append(at, size);
    return size;
}

static std::string ask(const char *body, const char *ca)
{
    std::string answer;
    std::unique_ptr<CURL, void (*)(CURL *)> curl(curl_easy_init(), curl_easy_cleanup);
    curl_easy_setopt(curl.get(), CURLOPT_URL, "https://web.example/");
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 10L);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
    if (body)
        curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body);
    if (ca)
        curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca);
    CURLcode code = curl_easy_perform(curl.get());
    return code == CURLE_OK ? answer : code == CURLE_PEER_FAILED_VERIFICATION ? "untrusted" : curl_easy_strerror(code);
}

static std::string handle(std::string_view, pipsqueak::context &)
{
    std::unique_ptr<PGconn, void (*)(PGconn *)> db(PQconnectdb("host=db.example user=postgres dbname=postgres connect_timeout=10"), PQfinish);
    if (PQstatus(db.get()) != CONNECTION_OK)
        throw std::runtime_error(PQerrorMessage(db.get()));
    std::string answers = "[" + query(db.get(), "select 6 * 7") + "," + std::to_string(query(db.get(), "select repeat('x', 20000000)").size());
    for (const std::string &one : {ask(nullptr, "/function/ca.pem"), ask("{}", "/function/ca.pem"), ask(nullptr, nullptr)})
        answers += ",\"" + one + "\"";
    return answers + "]";
}
PIPSQUEAK_HANDLER(handler, handle)
`

// Real clients reach real servers by their names, in the languages that have such clients. The packages come
// from the registries, which only a worker outside of the world reaches; the one in the world has the
// functions from it.
func TestEgressClients(t *testing.T) {
	data := t.TempDir()
	w, err := start(programs(t), data)
	coretest.Must(t, err)
	clients := map[string]struct {
		files files
		want  string
	}{
		"python": {handlerFile(pythonClients).with("requirements.txt", "requests==2.32.5\nhttpx==0.28.1\npsycopg[binary]==3.2.10\nredis==6.4.0\n"),
			`[42,20000000,1000000,"hello GET","hello POST","untrusted"]`},
		"node": {files{"index.js": nodeClients, "package.json": `{"dependencies":{"pg":"8.16.3","redis":"5.8.2","undici":"7.16.0"}}`},
			`[42,20000000,1000000,"hello GET","hello POST","untrusted"]`},
		"native": {files{"handler.cc": nativeClients, "pipsqueak.yaml": "debian: [libcurl4-openssl-dev, libpq-dev]\n", "Makefile": "handler.so: handler.cc\n" +
			"\t$(CXX) $(CXXFLAGS) -I$(PIPSQUEAK_DEBIAN)/usr/include/postgresql $(LDFLAGS) -shared -o $@ $< -lcurl -lpq\n"},
			`[42,20000000,"hello GET","hello POST","untrusted"]`},
		"bootstrap": {goProgram(t, "integration/testdata/bootstrap/client"), `["hello GET","hello POST","untrusted"]`},
		"ruby":      {rubyFile(rubyClients), `["hello GET","hello POST","untrusted","+PONG"]`},
	}
	for name, client := range clients {
		w.deploy(t, name, client.files)
	}
	coretest.Must(t, w.stop())
	c := startConnected(t, programs(t), data, "--network", "egress")
	authority := c.internetServers(t)
	ca, err := os.ReadFile(authority)
	coretest.Must(t, err)
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			c.deploy(t, name, client.files.with("ca.pem", string(ca)))
			for range 2 { // forked, and warm
				if got := c.run(t, name, "{}"); string(bytes.ReplaceAll(bytes.TrimSpace(got.body), []byte(", "), []byte(","))) != client.want {
					t.Errorf("%s, want %s", got.body, client.want)
				}
			}
		})
	}
}
