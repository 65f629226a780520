// What the Node.js driver runs in an installer's sandbox to scan: reads the files of packages, or of an archive, and runs nothing of them.
//
// Started as `node scan.mjs REQUEST…`, and answers, as installer.mjs is and does.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { MAX_FILE, Package, readManifest } from './package.mjs';
import { Refused, requested, say } from '../install/tools.mjs';

const PACKAGES = '/packages';
const OUT = '/out';

function report(name, version, root) {
  const found = new Package(root).scan();
  return { packages: [{ name, version }], suspicions: found.map((one) => ({ ...one, package: `${name}==${version}` })) };
}

function scanArchive(archive) {
  const unpacked = path.join(OUT, '.unpacked');
  fs.mkdirSync(unpacked);
  // All is in one directory, mostly called package; npm takes what is in any.
  const { error, status, stderr } = spawnSync('tar', ['-xzf', archive, '-C', unpacked, '--strip-components=1', '--no-same-owner', '--no-same-permissions', '--mode=u+rwX', '--exclude=node_modules/.bin'],
    { encoding: 'utf8', maxBuffer: MAX_FILE });
  const unreadable = (why) => new Refused('invalid', 'handler', `${path.basename(archive)} cannot be unpacked: ${why}`);
  if (error) throw error;
  if (status !== 0) throw unreadable(stderr.trim().split('\n').slice(0, 3).join('; '));
  if (readManifest(unpacked) === undefined) throw unreadable('there is no package.json in it');
  const { name, version } = new Package(unpacked).manifest;
  if (typeof name !== 'string' || typeof version !== 'string') throw unreadable('its package.json has no name and version');
  return report(name.replace('/', '+'), version, unpacked); // as the installer names it
}

function scanPackages(packages) {
  const parts = packages.map(({ name, version }) => {
    const directory = `${PACKAGES}/${name}-${version}`;
    const below = path.join(directory, 'node_modules', name.replace('+', '/'));
    return report(name, version, fs.existsSync(below) ? below : directory);
  });
  return { packages: parts.flatMap((part) => part.packages), suspicions: parts.flatMap((part) => part.suspicions) };
}

const request = requested();
try {
  say({ result: request.archive ? scanArchive(request.archive) : scanPackages(request.packages) });
} catch (error) {
  say({ error: error instanceof Refused ? error.reply : { kind: 'internal', fault: 'driver', message: `scanning: ${error.stack}` } });
}
