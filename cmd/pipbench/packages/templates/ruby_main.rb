# {{.Package.Name}} {{.Version.Number}}: an artificial package, made by pipbench.
{{range .Requires}}require "{{module .Package}}"
{{end}}
module {{constant .Package.Name}}
  VERSION = "{{.Version.Number}}"
  VALUE = "{{.Version.Value}}"

  # What requiring this package costs, beyond what it requires: files, memory that is touched page by page, and the processor's time.
  ends = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID, :nanosecond) + {{.Nanoseconds}}
  {{json .Modules}}.each { |file| require_relative file }
  MEMORY = ("\0" * {{.Memory}}).b
  0.step(MEMORY.bytesize - 1, 4096) { |page| MEMORY.setbyte(page, 1) }
  1000.times { |i| i * i } while Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID, :nanosecond) < ends
end
