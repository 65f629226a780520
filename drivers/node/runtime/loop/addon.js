'use strict';
// The addon, which needs what the dynamic linker has loaded before node (preload.c).
const loaded = { exports: {} };
process.dlopen(loaded, process.argv.pop()); // which nobody is to take for an argument
delete process.env.LD_PRELOAD; // what a package starts at import is not to have it
module.exports = loaded.exports;
