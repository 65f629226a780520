"""{{.Package.Name}} {{.Version.Number}}: an artificial package, made by pipbench."""
{{range .Requires}}import {{module .Package}}
{{end}}import importlib as _importlib
import time as _time

__version__ = "{{.Version.Number}}"
value = "{{.Version.Value}}"

# What importing this package costs, beyond what it requires: modules, memory that is touched page by page, and the processor's time.
_until = _time.thread_time_ns() + {{.Nanoseconds}}
for _name in {{json .Modules}}:
    _importlib.import_module("{{module .Package.Name}}." + _name)
_memory = bytearray({{.Memory}})
for _page in range(0, len(_memory), 4096):
    _memory[_page] = 1
while _time.thread_time_ns() < _until:
    sum(range(1000))
