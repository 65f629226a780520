"""Byte code, made by processes that each begin with nothing and are told one file after another.

What a process has seen before shows in the byte code that it makes: in which objects a file's constants are, in the order of a set of
strings. So the processes that compile do nothing else, all start alike, and know the same hashes. Run as a program, this file is such a process.
"""

import errno
import json
import os
import py_compile
import re
import subprocess
import sys
from importlib.util import cache_from_source

from answer import FULL, Refused, full

# Byte code that is valid as long as its source is not changed, which the store sees to: nothing is compared at import.
INVALIDATION = py_compile.PycInvalidationMode.UNCHECKED_HASH

# The import of something called tests, in one line or in parentheses.
OF_TESTS = re.compile(rb"^[ \t]*(?:from\s+[\w.]+\s+import\s*\([^)]*|(?:from|import)\b[^\n]*)\btests\b", re.MULTILINE)


class Compilers:
    """As many processes as there are processors. Leaving the context waits for them to have compiled everything."""

    def __enter__(self):
        self.processes, self.turn, self.most = [], 0, len(os.sched_getaffinity(0))
        return self

    def compile(self, source, place=None):
        """Has a file compiled. The byte code goes to where it belongs beside place, or else beside the source."""
        if self.turn < self.most:
            command = [sys.executable, "-S", "-s", "-B", "-X", "utf8", __file__]
            env = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
            self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env))
        process = self.processes[self.turn % self.most]
        self.turn += 1
        line = json.dumps([source, cache_from_source(place or source, optimization="")]).encode() + b"\n"
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and its status says why

    def __exit__(self, kind, error, trace):
        for process in self.processes:
            if error is not None:
                process.kill()
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        statuses = [process.wait() for process in self.processes]
        if error is None:
            if any(status in FULL for status in statuses):
                raise full("compiling")
            if any(statuses):
                raise Refused("install", "worker", f"compiling: a process ended with status {next(filter(None, statuses))}")


def work():
    """Compiles what can be compiled. Some files are no Python, such as templates; an import of one will say so."""
    for line in sys.stdin:
        source, target = json.loads(line)
        try:
            py_compile.compile(source, cfile=target, doraise=True, invalidation_mode=INVALIDATION)
        except (py_compile.PyCompileError, RecursionError, MemoryError):
            pass
        except OSError as error:
            if error.errno in (*FULL, errno.ENOENT):
                return error.errno
    return 0


def sources(directory):
    return [os.path.join(below, name) for below, _, names in os.walk(directory) for name in names if name.endswith(".py") and os.path.isfile(os.path.join(below, name))]


def worth_compiling(package):
    """Returns the package's source files, without its tests unless something else of it imports from them: of many packages they
    are the larger part, and nobody imports them."""
    tests, others = [], []
    for file in sources(package):
        *directories, name = os.path.relpath(file, package).split(os.sep)
        (tests if "tests" in directories or name == "conftest.py" else others).append(file)
    return tests + others if tests and any(map(imports_tests, others)) else others


def imports_tests(file):
    with open(file, "rb") as source:
        text = source.read()
    return b"tests" in text and OF_TESTS.search(text) is not None


if __name__ == "__main__":
    sys.exit(work())
