// {{.Name}}: an artificial function, made by pipbench.
'use strict';
const values = [{{range .Packages}}{{if .Imported}}
  require('{{.Name}}').value,{{end}}{{end}}
].join('');
const spent = process.threadCpuUsage || process.cpuUsage; // of this thread, since Node.js 23.9

exports.handler = async (event) => {
  const began = spent.call(process);
  const memory = Buffer.alloc(event.memory || 0);
  for (let page = 0; page < memory.length; page += 4096) memory[page] = 1;
  let answer = 0;
  for (const byte of Buffer.from(values + event.nonce)) answer = (answer * 31 + byte) % 1000003;
  for (let used = began; used.user + used.system - began.user - began.system < (event.cpu_ms || 0) * 1000; used = spent.call(process)) {
    for (let i = 0; i < 1000; i++) answer = answer + i - i;
  }
  if (event.wait_ms) await new Promise((resolve) => setTimeout(resolve, event.wait_ms));
  return { function: '{{.Name}}', answer };
};
