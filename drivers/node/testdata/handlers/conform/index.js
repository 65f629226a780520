// The handler that the conformance kit sends its events to: it does what event.do says (docs/conformance.md).

const { spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');

let count = 0;
const held = [];

class KitError extends Error {
  name = 'KitError';
}

function fall(message, depth, causes) {
  if (depth > 0) fall(message, depth - 1, causes);
  throw withCauses([message, ...causes]);
}

const withCauses = ([message, ...causes]) => new KitError(message, causes.length > 0 ? { cause: withCauses(causes) } : undefined);

function unreadable() {
  const error = new Error();
  for (const name of ['message', 'stack', 'name']) Object.defineProperty(error, name, { get() { throw new KitError(name); } });
  error.cause = error;
  throw error;
}

const does = {
  echo: ({ value }) => value,
  raise: ({ message, depth = 0, causes = [] }) => fall(message, depth, causes),
  unreadable,
  exit: ({ code }) => process.exit(code),
  crash: () => process.abort(),
  hang: () => { for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000); },
  print: ({ out = '', err = '' }) => { process.stdout.write(out); process.stderr.write(err); },
  big: ({ bytes }) => 'x'.repeat(bytes),
  state: () => ++count,
  random: () => ({
    random: String(Math.random()),
    bytes: crypto.randomBytes(16).toString('hex'),
    uuid: crypto.randomUUID(),
    int: String(crypto.randomInt(2 ** 47)),
    web: Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(16))).toString('hex'),
    directory: fs.mkdtempSync('/tmp/kit-'),
  }),
  drawn: ({ module }) => globalThis.kitDrawn[module],
  env: () => process.env,
  about: (event, context) => ({
    request_id: context.awsRequestId,
    function: context.functionName,
    remaining_ms: context.getRemainingTimeInMillis(),
    pid: process.pid,
    cwd: process.cwd(),
  }),
  file: ({ path, text }) => {
    if (text !== undefined) fs.writeFileSync(path, text);
    return fs.readFileSync(path, 'utf8');
  },
  run: ({ command }) => {
    const { stdout, status } = spawnSync('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
    return { out: String(stdout), status };
  },
  signal: () => new Promise((done) => {
    process.once('SIGUSR2', () => done(1));
    process.kill(process.pid, 'SIGUSR2');
    setTimeout(done, 1000, 0);
  }),
  sleep: ({ ms }) => new Promise((done) => setTimeout(done, ms, null)),
  grow: ({ bytes }) => { held.push(Buffer.alloc(bytes, 'x')); },
  unusable: () => 1n,
  number: ({ name, within }) => (within ? [Number(name)] : Number(name)),
  odd: ({ name, within }) => {
    const cycle = [];
    cycle.push(cycle);
    const odd = { function: fall, object: new KitError(), cycle }[name];
    return within ? { value: odd } : odd;
  },
  bytes: ({ bytes, key }) => {
    const text = String.fromCharCode(0xd800, ...bytes);
    return key ? { [text]: 1 } : text;
  },
  nest: ({ levels }) => {
    let nested = [];
    for (let i = 1; i < levels; i++) nested = [nested];
    return nested;
  },
  stream: ({ head, parts = [], bytes, raise }, context) => awslambda.streamifyResponse(async (event, stream) => {
    stream.on('error', () => { count++; });
    if (head !== undefined) stream = awslambda.HttpResponseStream.from(stream, head);
    for (const part of bytes === undefined ? parts : ['x'.repeat(bytes)]) await new Promise((done) => stream.write(part, done));
    if (raise !== undefined) throw new KitError(raise);
    stream.end();
  })({}, context),
  fork: () => { throw new KitError('a process of Node.js cannot fork'); },
  invoke: ({ calls, bytes, uncaught }, context) => Promise.all(calls.map(async ([name, event]) => {
    try {
      return { result: await context.invoke(name, bytes === undefined ? event : 'x'.repeat(bytes)) };
    } catch (error) {
      if (uncaught) throw error;
      const { kind, fault, message, retryable } = error;
      return { error: { kind, fault, message, retryable } };
    }
  })),
};

exports.handler = (event, context) => (event?.do === undefined ? event : does[event.do](event, context));
