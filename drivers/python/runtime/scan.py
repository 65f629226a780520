"""What the Python driver runs in an installer's sandbox to scan: reads the files of packages, or of an archive, and runs nothing of them.

Started as `python3 -I -S -B scan.py REQUEST`. Answers over descriptor 3 as installer.py does (core/driver/zygote, Install).
"""

import importlib.util
import json
import os
import re
import socket
import sys
import tarfile
import zipfile

PACKAGES = "/packages"
MAX_PACKET = 100 << 10
MAX_FILE = 32 << 20   # bytes of one file that are read
MAX_TOTAL = 4 << 30   # bytes that an archive may unpack to


def load_code():
    """This program is started with -I: what is beside it is not in sys.path."""
    spec = importlib.util.spec_from_file_location("scan_code", os.path.join(os.path.dirname(os.path.abspath(__file__)), "scan_code.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


code = load_code()


class Unreadable(Exception):
    """The archive is at fault."""


def files_below(directory):
    """Yields path, size and a function that reads, of every regular file. Links are not followed."""
    for below, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            full = os.path.join(below, name)
            info = os.lstat(full)
            if os.path.isfile(full) and not os.path.islink(full):
                yield os.path.relpath(full, directory), info.st_size, lambda full=full: open(full, "rb").read(MAX_FILE)


def files_of_zip(archive):
    for info in archive.infolist():
        if not info.is_dir():
            yield info.filename, info.file_size, lambda info=info: archive.open(info).read(MAX_FILE)


def files_of_tar(archive):
    for member in archive:
        if member.isreg():
            # All is in a directory <name>-<version>.
            yield member.name.partition("/")[2] or member.name, member.size, lambda member=member: archive.extractfile(member).read(MAX_FILE)


def scan_archive(path):
    try:
        if path.endswith((".whl", ".zip")):
            with zipfile.ZipFile(path) as archive:
                return scan(files_of_zip(archive), archive=path)
        with tarfile.open(path, "r:*") as archive:
            return scan(files_of_tar(archive), archive=path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, LookupError) as error:
        raise Unreadable(f"{os.path.basename(path)} cannot be unpacked: {error}") from None
    except Exception as error:  # zlib.error, lzma.LZMAError
        if type(error).__module__ in ("zlib", "lzma", "_lzma"):
            raise Unreadable(f"{os.path.basename(path)} cannot be unpacked: {error}") from None
        raise


MAGIC = ((b"\x7fELF", "for Linux"), (b"MZ", "for Windows"), (b"\0asm", "for WebAssembly"), (b"\xcf\xfa\xed\xfe", "for macOS"),
         (b"\xce\xfa\xed\xfe", "for macOS"), (b"\xca\xfe\xba\xbe", "for macOS"))


def machine_code(content):
    """Returns what machine the content is code for, or None. A Java class begins as a macOS binary does, but for its version."""
    for magic, machine in MAGIC:
        if content.startswith(magic):
            if magic == b"MZ" and len(content) < 256 or magic == b"\xca\xfe\xba\xbe" and content[4:7] != b"\0\0\0":
                return None
            return machine
    return None


# Of a wheel: what it says of itself.
TAG = re.compile(r"^Tag: (\S+)", re.MULTILINE)
NAME = re.compile(r"^Name: (\S+)", re.MULTILINE)
VERSION = re.compile(r"^Version: (\S+)", re.MULTILINE)
BACKEND_PATH = re.compile(rb"^[ \t]*backend-path\s*=", re.MULTILINE)
RUNS = re.compile(rb"^import[ \t]", re.MULTILINE)


class Package:
    """What has been seen of one package."""

    def __init__(self, archive):
        self.source = bool(archive) and not archive.endswith(".whl")  # an archive of sources: code runs when it is installed
        self.name = self.version = None
        self.tags = []
        self.binaries, self.compiled, self.sources = [], [], set()
        self.found = []

    def add(self, rule, file, line, reason):
        self.found.append({"rule": rule, "file": file, "line": line, "reason": reason})

    def file(self, path, size, read):
        name = os.path.basename(path)
        if path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO")) or path == "PKG-INFO":
            self.metadata(read().decode("utf-8", "replace"))
        elif path.endswith(".dist-info/WHEEL"):
            self.tags = TAG.findall(read().decode("utf-8", "replace"))
        elif name.endswith((".py", ".pyw")):
            self.sources.add(path)
            self.python(path, name, read())
        elif name.endswith(".pth") and "/" not in path:
            content = read()
            for match in RUNS.finditer(content):
                self.add("install-hook", path, line_of(content, match.start()), "runs code whenever an interpreter starts that has the package installed")
        elif name.endswith(".pyc"):
            self.compiled.append(path)
        elif name == "pyproject.toml" and "/" not in path and self.source:
            content = read()
            if match := BACKEND_PATH.search(content):
                self.add("install-hook", path, line_of(content, match.start()), "builds itself with code of its own when it is installed")
        elif size >= 64 and (machine := machine_code(read())):
            self.binaries.append((path, machine))

    def metadata(self, text):
        """The first that is found counts: a package may have others in it."""
        name, version = NAME.search(text), VERSION.search(text)
        if name and version and self.name is None:
            self.name, self.version = re.sub(r"[-_.]+", "-", name[1]).lower(), version[1]

    def python(self, path, name, content):
        setup = self.source and path == "setup.py"
        if name in ("sitecustomize.py", "usercustomize.py") and "/" not in path:
            self.add("install-hook", path, 0, "is imported whenever an interpreter starts that has the package installed")
        for rule, line, reason in code.suspicions(content, setup):
            self.add(rule, path, line, reason)

    def finish(self):
        for path in self.compiled:
            folder, name = os.path.split(path)
            source = os.path.join(os.path.dirname(folder), name.split(".")[0] + ".py") if os.path.basename(folder) == "__pycache__" else path[:-1]
            if source not in self.sources:
                self.add("hidden-code", path, 0, "is compiled code without its source")
        if self.binaries:
            self.add(*self.told_binaries())

    def told_binaries(self):
        first = self.binaries[0][0]
        which = ", ".join(f"{os.path.basename(path)} {machine}" for path, machine in self.binaries[:5])
        if len(self.binaries) > 5:
            which += f" and {len(self.binaries) - 5} more"
        if self.source:
            return "stray-binary", first, 0, f"an archive of sources has compiled code: {which}"
        pure = [tag for tag in self.tags if tag.endswith("-none-any")]
        if pure:
            return "stray-binary", first, 0, f"says that it has no compiled code ({pure[0]}) and has: {which}"
        normal = f"as its tag {self.tags[0]} says" if self.tags else "and it does not say for which machine"
        return "binary", first, 0, f"has compiled code without its source, {normal}: {which}"


def line_of(content, offset):
    return content.count(b"\n", 0, offset) + 1


def scan(files, archive=None):
    package, total = Package(archive), 0
    for path, size, read in files:
        total += size
        if total > MAX_TOTAL:
            raise Unreadable(f"unpacks to more than {MAX_TOTAL >> 30} GiB")
        package.file(os.path.normpath(path), size, read)
    package.finish()
    return package


def report(name, version, package):
    return {"packages": [{"name": name, "version": version}],
            "suspicions": [dict(found, package=f"{name}=={version}", file=found["file"][:500]) for found in package.found]}


def scan_packages(packages):
    """Scans on all processors: a child each, which answers through a pipe."""
    processors = min(len(os.sched_getaffinity(0)), len(packages)) or 1
    answers = []
    for n in range(processors):
        reader, writer = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                os.close(reader)
                parts = [report(p["name"], p["version"], scan(files_below(f"{PACKAGES}/{p['name']}-{p['version']}"))) for p in packages[n::processors]]
                with os.fdopen(writer, "w") as out:
                    json.dump(parts, out)
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        answers.append(os.fdopen(reader))
    parts = [part for answer in answers for part in json.load(answer)]
    return {key: [item for part in parts for item in part[key]] for key in ("packages", "suspicions")}


def of_archive(path):
    package = scan_archive(path)
    if package.name is None:
        raise Unreadable(f"{os.path.basename(path)} is no package: it has no metadata with a name and a version")
    return report(package.name, package.version, package)


def say(message):
    text = json.dumps(message).encode()
    while len(text) > MAX_PACKET:
        control.send(b"+" + text[:MAX_PACKET])
        text = text[MAX_PACKET:]
    control.send(b"." + text)


if __name__ == "__main__":
    control = socket.socket(fileno=3)
    request = json.loads(sys.argv[1])
    try:
        say({"result": of_archive(request["archive"]) if request.get("archive") else scan_packages(request["packages"])})
    except Unreadable as unreadable:
        say({"error": {"kind": "invalid", "fault": "handler", "message": str(unreadable)}})
