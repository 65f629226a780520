'use strict';
// The handlers of rehearsals (instance.js): one of events, and a web application.
exports.handler = async (event) => event;
exports.application = Object.assign((request, response) => response.end(request.url), { use() {}, handle() {} });
