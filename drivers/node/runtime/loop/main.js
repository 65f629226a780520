'use strict';
// The modules of the function that packages find. As require.main and process.mainModule they find one that
// stands where the handler is, and is another module than the handler's (DECISIONS.md).

const Module = require('module');
const path = require('path');
const { CODE } = require('./handler');

const { mainModule } = process;

// Has the module stand where a file is.
function standAt(file) {
  mainModule.filename = file;
  mainModule.path = path.dirname(file);
  mainModule.paths = Module._nodeModulePaths(mainModule.path);
}

// The file that would be beside a package, from which it is required.
const besidePackage = (home) => `${home}/node_modules/pipsqueak.js`;

const isBeside = (file) => typeof file === 'string' && file.endsWith(besidePackage(''));

// Has a package's module that was required from beside it find as its parent the file of the function that has
// required it first, as soon as one has.
function findParent(module) {
  let parent = module?.parent;
  if (!isBeside(parent?.filename)) return;
  const requires = (file) => file.startsWith(`${CODE}/`) && require.cache[file]?.children?.includes(module);
  Object.defineProperty(module, 'parent', { configurable: true,
    get: () => require.cache[Object.keys(require.cache).find(requires)] ?? parent,
    set: (other) => { parent = other; } });
}

module.exports = { besidePackage, findParent, isBeside, mainModule, standAt };
