'use strict';
// Does what a function may do, in a process that was forked. Each check returns what it has to, or throws.

const assert = require('assert');
const { once } = require('events');

const checks = {
  async timers() {
    const start = performance.now();
    await new Promise((done) => setTimeout(done, 20));
    assert(performance.now() - start >= 19);
    let ticks = 0;
    await new Promise((done) => { const every = setInterval(() => { if (++ticks === 3) { clearInterval(every); done(); } }, 1); });
    await new Promise((done) => process.nextTick(done));
    await new Promise((done) => setImmediate(done));
    await new Promise((done) => queueMicrotask(done));
  },
  async http() {
    const http = require('http');
    const server = http.createServer((request, response) => { request.resume().on('end', () => response.end('hello ' + request.url)); });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const text = await new Promise((done, failed) => {
      http.get({ port, path: '/a', agent: false }, (response) => { let s = ''; response.on('data', (d) => { s += d; }).on('end', () => done(s)); }).on('error', failed);
    });
    assert.equal(text, 'hello /a');
    const answer = await fetch(`http://127.0.0.1:${port}/b`, { method: 'POST', body: 'x'.repeat(100000), headers: { connection: 'close' } });
    assert.equal(await answer.text(), 'hello /b');
    server.close();
    server.closeAllConnections();
  },
  async files() {
    const fs = require('fs');
    const name = `/tmp/${process.pid}-file`;
    await fs.promises.writeFile(name, 'text');
    assert.equal(await fs.promises.readFile(name, 'utf8'), 'text');
    await new Promise((done, failed) => fs.stat(name, (e, s) => (e ? failed(e) : done(s))));
    const many = await Promise.all(Array.from({ length: 20 }, () => fs.promises.readFile(__filename)));
    assert.equal(new Set(many.map(String)).size, 1);
  },
  async pid() {
    assert.equal(process.pid, Number(require('fs').readlinkSync('/proc/self')));
    assert.equal((await import('node:process')).pid, process.pid); // which a zygote's package has imported
  },
  async dns() {
    const dns = require('dns');
    assert.equal((await dns.promises.lookup('localhost', { family: 4 })).address, '127.0.0.1');
    await assert.rejects(dns.promises.lookup('no.such.host.invalid'), /ENOTFOUND|EAI_AGAIN/);
  },
  async crypto() {
    const crypto = require('crypto');
    const { promisify } = require('util');
    const key = await promisify(crypto.pbkdf2)('p', 's', 1000, 32, 'sha256');
    assert.equal(key.toString('hex'), crypto.pbkdf2Sync('p', 's', 1000, 32, 'sha256').toString('hex'));
    assert.equal((await promisify(crypto.randomBytes)(16)).length, 16);
    assert.equal((await promisify(crypto.scrypt)('p', 's', 32)).length, 32);
    const digest = await globalThis.crypto.subtle.digest('SHA-256', Buffer.from('x'));
    assert.equal(Buffer.from(digest).toString('hex'), crypto.createHash('sha256').update('x').digest('hex'));
    const pair = await promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
    assert(crypto.verify(null, Buffer.from('m'), pair.publicKey, crypto.sign(null, Buffer.from('m'), pair.privateKey)));
  },
  async zlib() {
    const zlib = require('zlib');
    const { promisify } = require('util');
    const packed = await promisify(zlib.gzip)('x'.repeat(1 << 20));
    assert.equal((await promisify(zlib.gunzip)(packed)).length, 1 << 20);
    assert.equal(String(await promisify(zlib.brotliDecompress)(await promisify(zlib.brotliCompress)('y'))), 'y');
  },
  async processes() {
    const { execFile, execFileSync, fork, spawn } = require('child_process');
    const { promisify } = require('util');
    assert.equal((await promisify(execFile)('echo', ['out'])).stdout, 'out\n');
    assert.equal(execFileSync('echo', ['sync']).toString(), 'sync\n');
    const child = spawn('sh', ['-c', 'exit 7']);
    assert.deepEqual(await once(child, 'exit'), [7, null]);
    assert.equal((await promisify(execFile)(process.execPath, ['-p', '1 + 1'])).stdout, '2\n');
    const other = fork(__dirname + '/child.js');
    const gone = once(other, 'exit');
    other.send('ping');
    assert.deepEqual((await once(other, 'message'))[0], 'ping pong');
    await gone;
  },
  async wasm() {
    const add = Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex');
    const { instance } = await WebAssembly.instantiate(add);
    assert.equal(instance.exports.add(2, 3), 5);
    assert.equal((await WebAssembly.compile(add)) instanceof WebAssembly.Module, true);
  },
  async workers() {
    const { Worker } = require('worker_threads');
    const run = async (n) => {
      const worker = new Worker('const { parentPort, workerData } = require("worker_threads"); let s = 0; for (let i = 0; i < 1e6; i++) s += i % workerData; parentPort.postMessage(s);',
        { eval: true, workerData: n });
      const gone = once(worker, 'exit');
      const [sum] = await once(worker, 'message');
      await gone;
      return sum;
    };
    assert.deepEqual(await Promise.all([run(1), run(2)]), [0, 500000]);
    const endless = new Worker('setInterval(() => {}, 1000)', { eval: true });
    await once(endless, 'online');
    assert.equal(await endless.terminate(), 1);
    const data = new SharedArrayBuffer(4);
    assert.equal(Atomics.load(new Int32Array(data), 0), 0);
  },
  async streams() {
    const { pipeline } = require('stream/promises');
    const { Readable, Transform } = require('stream');
    const fs = require('fs');
    await pipeline(Readable.from(['a', 'b']), new Transform({ transform(c, _, done) { done(null, String(c).toUpperCase()); } }), fs.createWriteStream('/tmp/stream'));
    let text = '';
    for await (const part of fs.createReadStream('/tmp/stream', 'utf8')) text += part;
    assert.equal(text, 'AB');
  },
  async sockets() {
    const net = require('net');
    const server = net.createServer((s) => s.pipe(s)).listen('/tmp/socket');
    await once(server, 'listening');
    const client = net.connect('/tmp/socket');
    client.end('echo');
    let text = '';
    for await (const part of client) text += part;
    assert.equal(text, 'echo');
    server.close();
  },
  async signals() {
    const alive = setInterval(() => {}, 1000);
    for (const signal of ['SIGUSR2', 'SIGTERM', 'SIGCHLD']) {
      const got = once(process, signal);
      process.kill(process.pid, signal);
      await got;
    }
    clearInterval(alive);
    // One for which libuv starts to listen with a child, and one that comes while nothing else is to do.
    const [died, gone] = [once(process, 'SIGCHLD'), once(require('child_process').spawn('true'), 'exit')];
    await Promise.all([died, gone]);
  },
  async watch() {
    const fs = require('fs');
    fs.mkdirSync('/tmp/watched', { recursive: true });
    const watcher = fs.watch('/tmp/watched');
    const seen = once(watcher, 'change');
    fs.writeFileSync('/tmp/watched/file', 'x');
    assert.equal((await seen)[1], 'file');
    watcher.close();
    const polled = new Promise((done) => fs.watchFile('/tmp/watched/file', { interval: 5 }, done));
    const again = setInterval(() => fs.appendFileSync('/tmp/watched/file', 'y'), 5);
    await polled;
    clearInterval(again);
    fs.unwatchFile('/tmp/watched/file');
  },
  async commands() {
    const { exec, execSync, spawn, spawnSync } = require('child_process');
    const { promisify } = require('util');
    assert.equal((await promisify(exec)('echo a; echo b >&2')).stderr, 'b\n');
    assert.equal(String(execSync('cat', { input: 'in' })), 'in');
    assert.equal(spawnSync('sh', ['-c', 'kill -9 $$']).signal, 'SIGKILL');
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end('through');
    assert.equal(String((await once(child.stdout, 'data'))[0]), 'through');
    await assert.rejects(promisify(exec)('sleep 60', { timeout: 20 }), /Command failed/);
    const many = await Promise.all(Array.from({ length: 10 }, (_, i) => promisify(exec)(`echo ${i}`)));
    assert.equal(many.map(({ stdout }) => stdout.trim()).join(''), '0123456789');
    const controller = new AbortController();
    const stopped = once(spawn('sleep', ['60'], { signal: controller.signal }), 'error');
    controller.abort();
    assert.equal((await stopped)[0].name, 'AbortError');
  },
  async input() {
    let text = '';
    for await (const part of process.stdin) text += part;
    assert.equal(text, '');
    const lines = [];
    const { createInterface } = require('readline');
    const { Readable } = require('stream');
    for await (const line of createInterface({ input: Readable.from(['a\nb', 'c\n']) })) lines.push(line);
    assert.deepEqual(lines, ['a', 'bc']);
  },
  async messages() {
    const { MessageChannel } = require('worker_threads');
    const { port1, port2 } = new MessageChannel();
    const got = once(port2, 'message');
    port1.postMessage({ a: 1 });
    assert.deepEqual((await got)[0], { a: 1 });
    port1.close();
    assert.equal(typeof gc, 'undefined');
    const { AsyncLocalStorage } = require('async_hooks');
    const storage = new AsyncLocalStorage();
    assert.equal(await storage.run(4, async () => { await null; return storage.getStore(); }), 4);
    assert.equal(require('inspector').url(), undefined);
  },
  async descriptors() {
    // When there are no more, libuv closes one that it keeps for that, by its number, to refuse whoever connects.
    const fs = require('fs');
    const net = require('net');
    let accepted;
    const server = net.createServer((socket) => { accepted = true; socket.destroy(); }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const opened = [];
    do { // again when a socket of an earlier check was closed meanwhile, and so there was a descriptor
      accepted = false;
      assert.throws(() => { for (;;) opened.push(fs.openSync(__filename)); }, /EMFILE/);
      fs.closeSync(opened.pop());
      await once(net.connect(server.address().port, '127.0.0.1').resume(), 'close');
    } while (accepted);
    for (const fd of opened) assert.equal(fs.readlinkSync(`/proc/self/fd/${fd}`), __filename);
    for (const fd of opened) fs.closeSync(fd);
    server.close();
  },
  async memory() {
    // Enough garbage and long-lived objects for every kind of collection, and code that gets optimised.
    const kept = [];
    for (let i = 0; i < 300; i++) {
      const list = Array.from({ length: 2000 }, (_, j) => ({ i, j, s: 'x' + j }));
      if (i % 30 === 0) kept.push(list);
    }
    let sum = 0;
    for (let i = 0; i < 2e6; i++) sum = (sum + i * 7) % 1000003;
    assert.equal(kept.length, 10);
    assert.equal(typeof sum, 'number');
    const registry = new FinalizationRegistry(() => {});
    registry.register({}, 1);
    assert(new WeakRef({}).deref());
  },
  async modules() {
    assert.equal((await import('node:path')).sep, '/');
    assert.equal((await import('data:text/javascript,export default 4')).default, 4);
    assert.equal((await import(__dirname + '/more.mjs')).default, 'more');
  },
  async abort() {
    await assert.rejects(fetch('http://127.0.0.1:1/'), TypeError);
    const { setTimeout } = require('timers/promises');
    await assert.rejects(setTimeout(10000, 0, { signal: AbortSignal.timeout(10) }), /abort/i);
  },
};

exports.handler = async ({ check }, context) => {
  assert(context.getRemainingTimeInMillis() > 0);
  if (check !== undefined) {
    await checks[check]();
    return 'fine';
  }
  return Object.keys(checks);
};
