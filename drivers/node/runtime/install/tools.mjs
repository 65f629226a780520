// The programs that an installer runs, and how it talks to the driver.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

export const CODE = '/function';
const TOOLS = '/pipsqueak/tools';
export const NPM = `${TOOLS}/npm`;
const MAX_PACKET = 100 << 10;
const NO_GIT = '/there-is-no-git';
const MAX_SAID = 60 << 10; // bytes of what a program has said that a user is told

// What the user is told: kind and fault as core has them.
export class Refused extends Error {
  constructor(kind, fault, message) {
    super(message);
    this.reply = { kind, fault, message: message.slice(0, MAX_SAID) };
  }
}

// What the program was asked for: JSON, in as many arguments as it takes.
export const requested = () => JSON.parse(process.argv.slice(2).join(''));

// Sends a message to the driver, in several packets when it is long: each but the last begins with '+'.
export function say(message) {
  let rest = Buffer.from(JSON.stringify(message));
  while (rest.length > MAX_PACKET) {
    fs.writeSync(3, Buffer.concat([Buffer.from('+'), rest.subarray(0, MAX_PACKET)]));
    rest = rest.subarray(MAX_PACKET);
  }
  fs.writeSync(3, Buffer.concat([Buffer.from('.'), rest]));
}

// Runs npm in a directory. Scripts of packages are not run, and no git: packages do not come from repositories, and a .git in the directory could
// name programs for it to run.
export async function npm(what, directory, ...args) {
  if (!fs.existsSync(NPM)) throw npmRefused(what, '');
  const { code, stderr } = await run(process.execPath, [`${NPM}/bin/npm-cli.js`, ...args, '--ignore-scripts', `--git=${NO_GIT}`, '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'], { cwd: directory });
  if (code === 0) return;
  throw npmRefused(what, stderr.split('\n').map((line) => line.replace(/^npm (error|ERR!) ?/, '')).filter((line) => line.trim() && !/complete log of this run|_logs\//.test(line)).join('\n'));
}

// The error for what npm or its libraries have said: whose fault it is shows in the code of theirs.
export function npmRefused(what, said) {
  if (!fs.existsSync(NPM)) return new Refused('unsupported', 'worker', 'this worker has no npm beside its node: install npm there (pipsqueak doctor reports more)');
  if (said.includes(NO_GIT)) {
    return new Refused('install', 'caller', `${what}: a package is to come from a repository, which is not supported: take it from the registry, or put the code into the function's directory`);
  }
  if (/ENOSPC|EDQUOT/.test(said)) return new Refused('exhausted', 'worker', `the disk of the worker is full: free space there: ${said}`);
  if (/code (FETCH_ERROR|ENOTFOUND|EAI_AGAIN|E(CONN|NET|HOST|TIMED)\w+|EPIPE|EPROTO|ERR_(SOCKET|SSL|TLS)\w*|E\w*TIMEOUT|\w*(CERT|SIGNATURE_FAILURE)\w*|E401|E403|E407|E429|E5\d\d)/.test(said)) {
    return new Refused('install', 'worker', `${what}: the package registry cannot be reached: ${said}; see that the worker's machine reaches it, or name another one as \`registry\` in npm's configuration there`);
  }
  return new Refused('install', 'caller', `${what}: ${said}`);
}

// Runs esbuild. Returns its exit code and what it said.
export function esbuild(...args) {
  const program = `${TOOLS}/esbuild`;
  if (!fs.existsSync(program)) throw new Refused('unsupported', 'worker', 'this worker has no esbuild: run `make build` where it was built');
  return run(program, args, { cwd: CODE });
}

export function run(program, args, options) {
  return new Promise((done, failed) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
    child.on('error', failed).on('close', (code, signal) => done({ code, stderr: signal === null ? stderr : `${stderr}\n${path.basename(program)} was ended by ${signal}` }));
  });
}
