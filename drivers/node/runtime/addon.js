'use strict';
// The addon, which the dynamic linker has loaded already (preload.c): this is the same copy of it.
const loaded = { exports: {} };
process.dlopen(loaded, process.argv[2]);
delete process.env.LD_PRELOAD; // what a package starts at import is not to have it
module.exports = loaded.exports;
