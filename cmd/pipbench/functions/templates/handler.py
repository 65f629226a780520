"""{{.Name}}: an artificial function, made by pipbench."""
import time
{{range .Packages}}{{if .Imported}}import {{module .Name}}
{{end}}{{end}}
VALUES = ""{{range .Packages}}{{if .Imported}} + {{module .Name}}.value{{end}}{{end}}


def handler(event, context):
    until = time.thread_time_ns() + int(event.get("cpu_ms", 0) * 1e6)
    memory = bytearray(event.get("memory", 0))
    for page in range(0, len(memory), 4096):
        memory[page] = 1
    answer = 0
    for byte in (VALUES + event["nonce"]).encode():
        answer = (answer * 31 + byte) % 1000003
    while time.thread_time_ns() < until:
        sum(range(1000))
    time.sleep(event.get("wait_ms", 0) / 1e3)
    return {"function": "{{.Name}}", "answer": answer}
