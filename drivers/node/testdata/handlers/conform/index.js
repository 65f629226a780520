'use strict';
// The handler that the conformance kit sends its events to: it does what event.do says (docs/conformance.md).

const { spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');

class KitError extends Error {
  name = 'KitError';
}

let count = 0;
const held = [];

exports.handler = async (event, context) => {
  if (typeof event !== 'object' || event === null || Array.isArray(event) || !('do' in event)) return event;
  return actions[event.do](event, context);
};

function fall(message, depth) {
  if (depth > 0) fall(message, depth - 1);
  throw new KitError(message);
}

async function invoke(event, context, name, argument) {
  if ('bytes' in event) argument = 'x'.repeat(event.bytes);
  try {
    return { result: await context.invoke(name, argument) };
  } catch (error) {
    if (event.uncaught) throw error;
    const { kind, fault, message, retryable } = error;
    return { error: { kind, fault, message, retryable } };
  }
}

const actions = {
  echo: (event) => event.value,
  raise: (event) => fall(event.message, event.depth ?? 0),
  exit: (event) => process.exit(event.code),
  crash: () => process.abort(),
  hang: () => new Promise(() => setInterval(() => {}, 1000)),
  print(event) {
    process.stdout.write(event.out ?? '');
    process.stderr.write(event.err ?? '');
    return null;
  },
  big: (event) => 'x'.repeat(event.bytes),
  state: () => ++count,
  random: () => ({
    random: String(Math.random()),
    uuid: crypto.randomUUID(),
    bytes: crypto.randomBytes(16).toString('hex'),
    int: String(crypto.randomInt(2 ** 47)),
    values: String(crypto.getRandomValues(new BigUint64Array(2))),
    temporary: fs.mkdtempSync('/tmp/kit-random-'),
  }),
  env: () => ({ ...process.env }),
  about: (event, context) => ({
    request_id: context.awsRequestId,
    function: context.functionName,
    remaining_ms: context.getRemainingTimeInMillis(),
    pid: process.pid,
    cwd: process.cwd(),
  }),
  file(event) {
    if ('text' in event) fs.writeFileSync(event.path, event.text);
    return fs.readFileSync(event.path, 'utf8');
  },
  run(event) {
    const { stdout, status } = spawnSync('/bin/sh', ['-c', event.command]);
    return { out: String(stdout), status };
  },
  sleep: (event) => new Promise((resolve) => setTimeout(() => resolve(null), event.ms)),
  grow(event) {
    held.push(Buffer.alloc(event.bytes, 'x'));
    return null;
  },
  unusable: () => 1n,
  invoke: (event, context) => Promise.all(event.calls.map(([name, argument]) => invoke(event, context, name, argument))),
};
