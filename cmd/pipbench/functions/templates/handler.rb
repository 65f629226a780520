# {{.Name}}: an artificial function, made by pipbench.
{{range .Packages}}{{if .Imported}}require "{{module .Name}}"
{{end}}{{end}}
VALUES = [{{range .Packages}}{{if .Imported}}{{constant .Name}}::VALUE, {{end}}{{end}}].join

def handler(event:, context:)
  used = -> { Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID, :nanosecond) }
  ends = used.call + (event.fetch("cpu_ms", 0) * 1e6).to_i
  memory = ("\0" * event.fetch("memory", 0)).b
  0.step(memory.bytesize - 1, 4096) { |page| memory.setbyte(page, 1) }
  answer = (VALUES + event.fetch("nonce")).bytes.reduce(0) { |n, byte| (n * 31 + byte) % 1000003 }
  1000.times { |i| i * i } while used.call < ends
  sleep(event.fetch("wait_ms", 0) / 1e3)
  { function: "{{.Name}}", answer: answer }
end
