"""What the Python driver runs in an installer's sandbox: resolve a function's packages, or install them.

Started as `python3 -I -S installer.py REQUEST`, REQUEST being JSON. Answers over descriptor 3, one JSON packet a message:
any number of {"progress": ...}, then {"result": ...} or {"error": ...}.
"""

import ast
import errno
import importlib.util
import json
import os
import py_compile
import re
import shutil
import socket
import subprocess
import sys

CODE, OUT, UV = "/function", "/out", "/pipsqueak/tools/uv"
# Byte code that is valid as long as its source is not changed, which the store sees to: nothing is compared at import.
INVALIDATION = py_compile.PycInvalidationMode.UNCHECKED_HASH
MAX_PACKET = 100 << 10
FULL = (errno.ENOSPC, errno.EDQUOT)


class Refused(Exception):
    """What the user is told: kind and fault as core has them."""

    def __init__(self, kind, fault, message):
        super().__init__(message)
        self.reply = {"kind": kind, "fault": fault, "message": message[:8000]}


def resolve(request):
    compile_files(sources(CODE))
    module = request["handler"].rpartition(".")[0]
    manifest = os.path.join(CODE, "requirements.txt")
    packages = lock(manifest) if os.path.exists(manifest) else []
    return {"packages": packages, "imports": imports_of(module)}


def lock(manifest):
    """Returns the exact packages that the manifest asks for, with all that they need."""
    with open(manifest, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if INDEX_OPTION.match(line):
                raise Refused("install", "handler", f"requirements.txt, line {number}: {line.strip()!r}: a function cannot choose where packages "
                              "come from; take the option out")
    out = uv("resolving requirements.txt", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", sys.executable, manifest)
    packages = []
    for line in out.splitlines():
        line = line.split(" ;")[0].strip()
        if not line or line.startswith(("#", "--")):
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", line)
        if pin is None:
            raise Refused("install", "handler", f"requirements.txt: {line!r} is not a package of an index at an exact version; "
                          "paths, links and repositories are not supported: put the code into the function's directory")
        packages.append({"name": re.sub(r"[-_.]+", "-", pin[1]).lower(), "version": pin[2]})
    return packages


def imports_of(handler_module):
    """Returns the modules that the handler's file imports whenever it is imported, directly or through other files of the
    function, and that are neither the function's nor the language's. Imports inside of functions, conditions and try
    statements may never happen, and are left out."""
    found, seen, files = {}, set(), [os.path.join(CODE, handler_module + ".py")]
    while files:
        file = files.pop(0)
        if file in seen:
            continue
        seen.add(file)
        try:
            with open(file, "rb") as source:
                body = ast.parse(source.read()).body
        except (OSError, SyntaxError, ValueError):
            continue  # the import will say so, with all its words
        for statement in body:
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
                names = [statement.module]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                local = [p for p in (f"{CODE}/{name.replace('.', '/')}.py", f"{CODE}/{name.replace('.', '/')}/__init__.py") if os.path.exists(p)]
                files.extend(local)
                if not local and not os.path.isdir(f"{CODE}/{top}") and not in_standard_library(top):
                    found[name] = True
    return list(found)


def in_standard_library(name):
    names = getattr(sys, "stdlib_module_names", None)
    if names is not None:
        return name in names
    return importlib.util.find_spec(name) is not None  # Python 3.9: no package of the host is in sys.path


def install(request):
    packages = request.get("packages")
    if not packages:
        return {}
    pins = [f"{p['name']}=={p['version']}" for p in packages]
    everything = os.path.join(OUT, ".all")
    progress("install", f"{len(pins)} packages", "fetching")
    with open("/tmp/pins.txt", "w") as file:
        file.write("\n".join(pins))
    uv("installing packages", "pip", "install", "--no-deps", "--target", everything, "--python", sys.executable,
       "--link-mode", "hardlink", "-r", "/tmp/pins.txt")
    shutil.rmtree(os.path.join(OUT, ".cache"), ignore_errors=True)
    wanted = {(p["name"], p["version"]): p for p in packages}
    for entry in sorted(os.listdir(everything)):
        if entry.endswith(".dist-info"):
            name, _, version = entry[: -len(".dist-info")].partition("-")
            name = re.sub(r"[-_.]+", "-", name).lower()
            package = wanted.pop((name, version), None) or pop_by_name(wanted, name)
            if package:
                size = split_off(everything, entry, os.path.join(OUT, f"{package['name']}-{package['version']}"))
                progress("install", f"{package['name']}=={package['version']}", f"{size / 1e6:.1f} MB", len(packages) - len(wanted), len(packages))
    if wanted:
        raise Refused("install", "driver", "the installer left out " + ", ".join(n for n, _ in wanted))
    shutil.rmtree(everything)
    progress("install", f"{len(pins)} packages", "compiling")
    compile_packages()
    return {}


def compile_packages():
    """Compiles what is imported of the packages, on all processors."""
    packages = [os.path.join(OUT, name) for name in os.listdir(OUT) if not name.startswith(".")]
    files = [file for package in packages for file in worth_compiling(package)]
    processors = len(os.sched_getaffinity(0))
    children = [fork(compile_files, files[n::processors]) for n in range(processors)]
    for status in [os.waitpid(child, 0)[1] for child in children]:
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) in FULL:
            raise OSError(os.WEXITSTATUS(status), "compiling packages")
        if status != 0:
            raise Refused("install", "worker", f"compiling packages: a process ended with status {status}")


def fork(work, *arguments):
    """Runs work in a child, which exits with 0 or the number of its OSError. Returns the child's pid."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            work(*arguments)
            status = 0
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)
    return child


def compile_files(files):
    """Compiles what can be compiled. Some files are no Python, such as templates; an import of one will say so."""
    for file in files:
        try:
            py_compile.compile(file, doraise=True, invalidation_mode=INVALIDATION)
        except py_compile.PyCompileError:
            pass
        except OSError as error:
            if error.errno in FULL:
                raise


def sources(directory):
    return [os.path.join(below, name) for below, _, names in os.walk(directory) for name in names if name.endswith(".py")]


# Options of a requirements file that name another index.
INDEX_OPTION = re.compile(r"\s*(--(extra-)?index-url|--find-links|--no-index|-i\b|-f\b)")

# The import of something called tests, in one line or in parentheses.
OF_TESTS = re.compile(rb"^[ \t]*(?:from\s+[\w.]+\s+import\s*\([^)]*|(?:from|import)\b[^\n]*)\btests\b", re.MULTILINE)


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


def pop_by_name(wanted, name):
    """A dist-info spells a version as the package does, not always as the lock: 1.0 for 1.0.0."""
    for key in wanted:
        if key[0] == name:
            return wanted.pop(key)
    return None


def split_off(everything, dist_info, target):
    """Moves the files of one package into a directory of its own. Returns their size."""
    size = 0
    with open(os.path.join(everything, dist_info, "RECORD"), encoding="utf-8") as record:
        paths = [line.rsplit(",", 2)[0].strip('"') for line in record if line.strip()]
    for path in paths:
        source, destination = os.path.join(everything, path), os.path.normpath(os.path.join(target, path))
        if not destination.startswith(target + "/") or not os.path.lexists(source):
            continue  # scripts that pip would put into bin/ beside the packages are no use to a function
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        os.replace(source, destination)
        size += os.lstat(destination).st_size
    return size


def uv(what, *arguments):
    if not os.path.exists(UV):
        raise Refused("unsupported", "worker", "this worker has no package installer: run `make deps build` where it was built")
    # Beside what is installed, so that files are moved and not copied; away from it where nothing is installed.
    cache = os.path.join(OUT, ".cache") if os.path.isdir(OUT) else "/tmp/cache"
    env = dict(os.environ, UV_CACHE_DIR=cache, UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never", NO_COLOR="1")
    run = subprocess.run([UV, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CODE if os.path.isdir(CODE) else "/")
    if run.returncode == 0:
        return run.stdout.decode()
    said = run.stderr.decode("utf-8", "replace").strip()
    if "No space left" in said or "quota exceeded" in said:
        raise full(f"{what}: {said}")
    if re.search(r"dns error|error sending request|[Cc]onnection|timed? out|network", said):
        raise Refused("install", "worker", f"{what}: the package index cannot be reached: {said}")
    raise Refused("install", "handler", f"{what}: {said}")


def full(what):
    return Refused("exhausted", "worker", f"the disk of the worker is full: free space there, or start the worker with --data on a larger disk: {what}")


def progress(verb, item, detail, done=0, total=0):
    say({"progress": {"verb": verb, "item": item, "detail": detail, "done": done, "total": total}})


def say(message):
    """Sends the message, in several packets when it is long: each but the last begins with '+'."""
    text = json.dumps(message).encode()
    while len(text) > MAX_PACKET:
        control.send(b"+" + text[:MAX_PACKET])
        text = text[MAX_PACKET:]
    control.send(b"." + text)


if __name__ == "__main__":
    control = socket.socket(fileno=3)
    request = json.loads(sys.argv[1])
    try:
        say({"result": {"resolve": resolve, "install": install}[request["op"]](request)})
    except Refused as refused:
        say({"error": refused.reply})
    except OSError as error:
        say({"error": (full(str(error)) if error.errno in FULL else Refused("install", "worker", f"{request['op']}: {error}")).reply})
