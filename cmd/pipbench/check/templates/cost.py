import importlib, sys, time


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


for name in sys.argv[2:]:
    importlib.import_module(name)
resident()
before, began = resident(), time.thread_time_ns()
module = importlib.import_module(sys.argv[1])
print((time.thread_time_ns() - began) / 1e6, resident() - before, module.value)
