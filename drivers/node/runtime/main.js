'use strict';
// The module that code finds as require.main and process.mainModule. It stands where the handler is, and is
// another module than the handler's (DECISIONS.md).

const Module = require('module');
const path = require('path');

const { mainModule } = process;

// Has the module stand where a file is.
function standAt(file) {
  mainModule.filename = file;
  mainModule.path = path.dirname(file);
  mainModule.paths = Module._nodeModulePaths(mainModule.path);
}

module.exports = { mainModule, standAt };
