'use strict';
// Where a handler is. Installer and instance look for it in the same way.

const { existsSync, readFileSync } = require('fs');
const path = require('path');

const CODE = '/function'; // the directory of a function's code, and the working directory

// TypeScript is last: what it is compiled to is beside it.
const EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];

// Returns the file and the symbol of "directory/file.symbol", or nothing. Both the file and the symbol may have dots in them, and those of the file
// may stand for directories.
function findHandler(name, directory) {
  const last = name.lastIndexOf('/') + 1;
  for (let dot = name.indexOf('.', last + 1); dot > 0; dot = name.indexOf('.', dot + 1)) {
    for (const base of [name.slice(last, dot), name.slice(last, dot).replaceAll('.', '/')]) {
      for (const extension of EXTENSIONS) {
        const file = `${directory}/${name.slice(0, last)}${base}${extension}`;
        if (existsSync(file)) return [file, name.slice(dot + 1)];
      }
    }
  }
  return [];
}

// Whether a file is an ES module: by its extension, else by the nearest package.json.
function isModule(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    const manifest = path.join(dir, 'package.json');
    if (existsSync(manifest)) {
      try {
        return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
      } catch {
        return false; // require says what is wrong with it
      }
    }
    if (dir === '/') return false;
  }
}

module.exports = { CODE, findHandler, isModule };
