// Fetches packages, by the libraries of which npm is made: as npm is configured, but without its cache and the tree that it would lay out.

import crypto from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NPM, Refused, npmRefused, say } from './tools.mjs';

const AT_ONCE = 15; // fetches, as npm's own limit of connections
const SCHEME = 'npm registry';
const CACHE = '/tmp/npm-cache';

export class Registry {
  #require;
  #options;
  #retry;
  #keys = new Map(); // registry -> its keys, or undefined when it gives none

  // Reads npm's configuration: files and environment.
  static async open() {
    if (!fs.existsSync(NPM)) throw npmRefused('no npm', '');
    const registry = new Registry();
    registry.#require = createRequire(`${NPM}/lib/npm.js`);
    const Npm = registry.#require('./npm.js');
    if (typeof Npm !== 'function') throw new Refused('unsupported', 'worker', "the npm beside this worker's node is older than npm 8: install a newer one there");
    const npm = new Npm({ argv: ['ci', '--ignore-scripts', '--logs-max=0'] });
    await npm.load();
    registry.#retry = npm.flatOptions.retry;
    registry.#options = { ...npm.flatOptions, retry: { retries: 0 } }; // which npm's libraries would do without a word
    return registry;
  }

  // One of npm's own libraries.
  library(name) {
    return this.#require(name);
  }

  // Does something for each package, some at a time, and returns the results in order.
  static async each(packages, work) {
    const results = [];
    let next = 0;
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      while (next < packages.length) {
        const i = next++;
        results[i] = await work(packages[i]);
      }
    }));
    return results;
  }

  // Returns a package's archive, verified: its bytes and its digest.
  async fetch(p) {
    let data;
    try {
      data = await this.#patiently(p, () => this.#archive(p));
    } catch (error) {
      throw failed(`fetching ${p.real}@${p.exact}`, error);
    }
    for (const digest of p.archives) {
      if (digestLike(digest, data) === digest) return { data, archive: digest };
    }
    throw new Refused('install', 'caller', `${p.real}@${p.exact}: what the registry gave has the digest ${digestLike(p.archives[0], data)}, and the lock ${p.archives.join(' or ')}: nothing of it was kept`);
  }

  // Does something about a package that the registry may have failed at for the moment: again, as often as npm would, and reports it.
  async #patiently(p, work) {
    const { retries, factor, minTimeout, maxTimeout } = this.#retry;
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (attempt > retries || !mayPass(error)) throw error;
        say({ progress: { verb: 'install', item: `${p.name}==${p.version}`, detail: `attempt ${attempt} of ${retries + 1} failed: ${error.message}` } });
        await sleep(Math.min(minTimeout * factor ** (attempt - 1), maxTimeout));
      }
    }
  }

  // Registries have archives at an address that follows from name and version; one that has not says where in its metadata.
  async #archive(p) {
    const spec = `${p.real}@${p.exact}`;
    try {
      return await whole(await this.library('npm-registry-fetch')(`/${p.real}/-/${path.basename(p.real)}-${p.exact}.tgz`, { ...this.#options, cache: undefined, spec }), this.#options.timeout);
    } catch (error) {
      if (error.code !== 'E404') throw error;
      return this.library('pacote').tarball(spec, { ...this.#options, cache: CACHE });
    }
  }

  // Unpacks an archive. Only files and directories are taken, as npm does.
  unpack(p, data, directory) {
    fs.mkdirSync(directory, { recursive: true });
    let wrong;
    try {
      this.library('tar').x({ sync: true, cwd: directory, strip: 1, noMtime: true, preserveOwner: false,
        filter: (_, entry) => {
          entry.mode = entry.type === 'Directory' || entry.mode & 0o100 ? 0o755 : 0o644;
          return !/link$/i.test(entry.type);
        },
        onwarn: (code, message, { code: cause } = {}) => {
          if (!['TAR_ENTRY_INFO', 'TAR_ENTRY_UNSUPPORTED'].includes(code)) wrong ??= Object.assign(new Error(message), { code: cause ?? code });
        },
      }).end(data);
    } catch (error) {
      wrong = error;
    }
    if (wrong === undefined && fs.readdirSync(directory).length === 0) wrong = new Error('there is nothing in it'); // older npms take no bytes for an archive
    if (wrong === undefined) return;
    if (['ENOSPC', 'EDQUOT'].includes(wrong.code)) throw wrong;
    throw new Refused('install', 'caller', `the archive of ${p.real}@${p.exact} cannot be unpacked: ${wrong.message}`);
  }

  // What the registry's signature says of a package: its signer, or why there is none. One that is wrong is refused.
  async signature(p, archive) {
    const spec = `${p.real}@${p.exact}`, fetch = this.library('npm-registry-fetch'), options = { ...this.#options, cache: CACHE, spec };
    const registry = fetch.pickRegistry(spec, options);
    if (!this.#keys.has(registry)) this.#keys.set(registry, this.#patiently(p, () => this.#fetchKeys(fetch, options)));
    let manifest;
    try {
      const keys = await this.#keys.get(registry);
      if (keys === undefined) return { scheme: SCHEME, verified: false, detail: 'the registry gives no keys' };
      const { host, pathname } = new URL(registry);
      manifest = await this.#patiently(p, async () => this.library('pacote').manifest(spec,
        { ...options, [`//${host}${pathname}:_keys`]: keys, verifySignatures: true, packumentCache: await versionOnly(fetch, p, options, keys) }));
    } catch (error) {
      if (/SIGNATURE|EINTEGRITY/.test(error.code)) throw new Refused('install', 'worker', `${spec}: the registry's signature is wrong: ${error.message}`);
      throw failed(`checking the signature of ${spec}`, error);
    }
    if (!manifest._signatures?.length) return { scheme: SCHEME, verified: false, detail: 'the registry gives keys, and no signature of this package' };
    const signed = this.library('ssri').parse(manifest._integrity)[archive.split(':')[0]] ?? [];
    if (!signed.some((one) => one.hexDigest() === archive.split(':')[1])) {
      throw new Refused('install', 'worker', `${spec}: the registry has signed ${manifest._integrity}, and the archive has the digest ${archive}`);
    }
    return { scheme: SCHEME, verified: true, signer: manifest._signatures.map(({ keyid }) => keyid).join(', ') };
  }

  async #fetchKeys(fetch, options) {
    try {
      const { keys } = await fetch.json('/-/npm/v1/keys', options);
      return keys.map((key) => ({ ...key, pemkey: `-----BEGIN PUBLIC KEY-----\n${key.key}\n-----END PUBLIC KEY-----` }));
    } catch (error) {
      if (['E400', 'E404'].includes(error.code)) return undefined; // as npm audit signatures has it
      throw error;
    }
  }
}

// pacote reads a signature from the metadata of all versions, of which popular packages have megabytes. Given that of this version as if it were
// all, it reads no more. When a key has expired, it needs the times of publication, which only the whole has.
async function versionOnly(fetch, p, options, keys) {
  const expired = new Set(keys.filter(({ expires }) => expires).map(({ keyid }) => keyid));
  try {
    const one = await fetch.json(`/${p.real.replace('/', '%2f')}/${p.exact}`, options);
    if (one.dist?.signatures?.some(({ keyid }) => expired.has(keyid))) return new Map();
    return { has: () => true, get: () => ({ name: p.real, versions: { [p.exact]: one } }) };
  } catch (error) {
    if (['E404', 'E405'].includes(error.code)) return new Map();
    throw error;
  }
}

// The whole body of an answer, of which each part comes in time.
function whole(response, silent) {
  const length = response.headers.get('content-length'), wanted = length === null || response.headers.has('content-encoding') ? undefined : Number(length);
  return new Promise((done, refuse) => {
    const chunks = [];
    let size = 0;
    const end = (error) => {
      clearTimeout(timer);
      if (error === undefined && wanted !== undefined && size !== wanted) error = new Error('the answer ended');
      if (error === undefined) done(Buffer.concat(chunks));
      else refuse(Object.assign(error, { code: error.code ?? 'EPIPE', message: `${error.message}, after ${size}${wanted === undefined ? '' : ` of ${wanted}`} bytes` }));
    };
    const timer = setTimeout(() => {
      end(Object.assign(new Error(`the registry sent nothing for ${silent / 1000} s`), { code: 'ETIMEDOUT' }));
      response.body.destroy();
    }, silent);
    response.body.on('data', (chunk) => {
      timer.refresh();
      size += chunk.length;
      chunks.push(chunk);
    }).on('error', end).on('end', () => end());
  });
}

// Whether something that a registry has failed at may succeed a moment later: no refusal of its own, and nothing that is wrong with what it sent.
const mayPass = ({ code }) => !/^E4(?!08|29)\d\d$|INTEGRITY|SIGNATURE|CERT|^ENOSPC$|^EDQUOT$/.test(code);

function digestLike(digest, data) {
  const [kind] = digest.split(':');
  return `${kind}:${crypto.createHash(kind).update(data).digest('hex')}`;
}

function failed(what, error) {
  if (error instanceof Refused) return error;
  return npmRefused(what, `code ${error.code}\n${error.message}`);
}
