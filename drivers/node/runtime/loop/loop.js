'use strict';
// The loop of a zygote that imports and forks as its driver asks over the control socket, one JSON packet a message (PROTOCOL.md, zygote
// loop), and of the instances that its children are.

const addon = require('./addon');
const fork = require('./fork');
const { HTTP, PLAIN, beInstance, listen, rehearse } = require('./instance');
const { Failure, failureOf, load, open, packed } = require('./load');
require('./application'); // compiled once, for all web applications

// What addon.zygote returns besides a request.
const LOST = 0, ZYGOTE = -1, INSTANCE = -2;
// Of a root zygote, some 8 ms: so many that V8 optimizes there, once, what else each instance would optimize.
const REHEARSALS = 24;

// Forks and imports as the driver asks. Runs as an immediate, where the event loop can be forked: no other callback of its turn
// is waiting to be called. It begins with the reply to what was asked before.
function beZygote(reply) {
  for (;;) {
    const request = addon.zygote(reply);
    reply = '';
    switch (request) {
      case LOST:
        // There is nothing more to do, but what was forked from here lives on, and would die with this process. Core ends it
        // when it is not needed any more.
        addon.rest();
        break;
      case INSTANCE:
        beInstance(fork.forget());
        return;
      case ZYGOTE:
        fork.settle();
        break;
      default:
        answer(JSON.parse(request));
        return;
    }
  }
}

async function answer(request) {
  let message;
  try {
    if (request.op !== 'import') throw new Failure('internal', 'driver', `unknown request ${JSON.stringify(request.op)}`);
    const { report } = await load(request, (failure) => {
      addon.say(packed({ error: failure.reply }));
      addon.exit(1);
    });
    message = report;
  } catch (failure) {
    message = { error: failureOf(failure).reply };
  }
  setImmediate(() => {
    fork.prepare();
    beZygote(packed(message));
  });
}

async function main() {
  fork.open();
  await open();
  listen();
  for (let i = 0; i < REHEARSALS; i++) {
    if (i === REHEARSALS - 1) addon.forgetText();
    await rehearse(PLAIN);
    await rehearse(HTTP);
  }
  setImmediate(() => {
    addon.endThreads();
    fork.prepare();
    beZygote('{"parked":true}');
  });
}

main();
