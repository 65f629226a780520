const statm = () => 4096 * require('fs').readFileSync('/proc/self/statm', 'utf8').split(' ')[1];
const names = process.argv.slice(2);
for (const name of names.slice(1)) require(name);
statm();
const memory = statm(), used = process.cpuUsage();
const value = require(names[0]).value;
const after = process.cpuUsage(used);
console.log((after.user + after.system) / 1000, statm() - memory, value);
