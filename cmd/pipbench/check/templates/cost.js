const statm = () => 4096 * require('fs').readFileSync('/proc/self/statm', 'utf8').split(' ')[1];
const names = process.argv.slice(2);
for (const name of names.slice(1)) require(name);
statm();
const spent = process.threadCpuUsage || process.cpuUsage; // of this thread, since Node.js 23.9
const memory = statm(), used = spent.call(process);
const value = require(names[0]).value;
const after = spent.call(process, used);
console.log((after.user + after.system) / 1000, statm() - memory, value);
