// Takes the processor's time that the installation of this artificial package costs.
'use strict';
let n = 0;
for (let used = process.cpuUsage(), began = used; used.user + used.system - began.user - began.system < {{.InstallNanoseconds}} / 1000; used = process.cpuUsage()) {
  for (let i = 0; i < 10000; i++) n = (n * 31 + i) | 0;
}
