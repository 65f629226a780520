'use strict';
// The handler of a rehearsal (instance.js).
exports.handler = async (event) => event;
