// {{.Package.Name}} {{.Version.Number}}: an artificial package, made by pipbench.
'use strict';
{{range .Requires}}require({{json .Package}});
{{end}}
// What importing this package costs, beyond what it requires: modules, memory that is touched page by page, and the processor's time.
const spent = process.threadCpuUsage || process.cpuUsage; // of this thread, since Node.js 23.9
const began = spent.call(process);
for (const module of {{json .Modules}}) require('./' + module);
const memory = Buffer.alloc({{.Memory}});
for (let page = 0; page < memory.length; page += 4096) memory[page] = 1;
// A search that goes back and forth: a loop of JavaScript that runs often would be compiled, by
// other threads and with memory of its own.
const search = /(a+)+b/, text = 'a'.repeat({{.Search}});
for (let used = began; used.user + used.system - began.user - began.system < {{.Nanoseconds}} / 1000; used = spent.call(process)) search.test(text);
module.exports = { version: '{{.Version.Number}}', value: '{{.Version.Value}}', memory };
