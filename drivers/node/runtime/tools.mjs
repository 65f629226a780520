// The programs that an installer runs, and how it talks to the driver.

import { spawn } from 'node:child_process';
import fs from 'node:fs';

export const CODE = '/function';
const TOOLS = '/pipsqueak/tools';
const MAX_PACKET = 100 << 10;
const MAX_SAID = 60 << 10; // bytes of what a program has said that a user is told

// What the user is told: kind and fault as core has them.
export class Refused extends Error {
  constructor(kind, fault, message) {
    super(message);
    this.reply = { kind, fault, message: message.slice(0, MAX_SAID) };
  }
}

// Sends a message to the driver, in several packets when it is long: each but the last begins with '+'.
export function say(message) {
  let rest = Buffer.from(JSON.stringify(message));
  while (rest.length > MAX_PACKET) {
    fs.writeSync(3, Buffer.concat([Buffer.from('+'), rest.subarray(0, MAX_PACKET)]));
    rest = rest.subarray(MAX_PACKET);
  }
  fs.writeSync(3, Buffer.concat([Buffer.from('.'), rest]));
}

// Runs npm in a directory. Scripts of packages are not run.
export async function npm(what, directory, ...args) {
  const program = `${TOOLS}/npm/bin/npm-cli.js`;
  if (!fs.existsSync(program)) {
    throw new Refused('unsupported', 'worker', 'this worker has no npm beside its node: install npm there (pipsqueak doctor tells more)');
  }
  const env = { ...process.env, npm_config_update_notifier: 'false' };
  if (fs.existsSync(`${TOOLS}/npmrc`)) env.npm_config_userconfig = `${TOOLS}/npmrc`;
  const { code, stderr } = await run(process.execPath, [program, ...args, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory, env });
  if (code === 0) return;
  const said = stderr.split('\n').map((line) => line.replace(/^npm (error|ERR!) ?/, '')).filter((line) => line.trim() && !/complete log of this run|_logs\//.test(line)).join('\n');
  if (/ENOSPC|EDQUOT/.test(said)) throw new Refused('exhausted', 'worker', `the disk of the worker is full: free space there: ${said}`);
  if (/code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|E5\d\d)/.test(said)) {
    throw new Refused('install', 'worker', `${what}: the package registry cannot be reached: ${said}`);
  }
  throw new Refused('install', 'caller', `${what}: ${said}`);
}

// Runs esbuild. Returns its exit code and what it said.
export function esbuild(...args) {
  const program = `${TOOLS}/esbuild`;
  if (!fs.existsSync(program)) throw new Refused('unsupported', 'worker', 'this worker has no esbuild: run `make build` where it was built');
  return run(program, args, { cwd: CODE });
}

function run(program, args, options) {
  return new Promise((done, failed) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
    child.on('error', failed).on('close', (code) => done({ code, stderr }));
  });
}
