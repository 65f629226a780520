"""What the Python driver runs in an installer's sandbox to scan: reads the files of packages, or of an archive, and runs nothing of them.

Started as `python3 -I -S -B scan.py REQUEST…`, and answers, as installer.py is and does.
"""

import json
import os
import re
import stat
import sys
import tarfile
import traceback
import zipfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path += [here, os.path.dirname(here) + "/install"]  # -I leaves this file's directory out

from package import Modules, module_of  # noqa: E402
from answer import Refused, say  # noqa: E402

PACKAGES = "/packages"
MAX_FILE = 32 << 20   # bytes of one file that are read
MAX_TOTAL = 4 << 30   # bytes that an archive may unpack to
HEAD = 256            # bytes by which machine code is told


def unreadable(why):
    """The archive is at fault."""
    return Refused("invalid", "handler", why)


def files_below(directory):
    """Yields path, size and a function that reads, of every regular file. Links are not followed."""
    def read(path, limit):
        with open(path, "rb") as file:
            return file.read(limit)

    for below, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(below, name)
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode):
                yield os.path.relpath(path, directory), info.st_size, lambda limit, path=path: read(path, limit)


def files_of_zip(archive):
    for info in archive.infolist():
        if not info.is_dir():
            yield info.filename, info.file_size, lambda limit, info=info: archive.open(info).read(limit)


def files_of_tar(archive):
    """As the others; of a link it yields where it leads in place of the function."""
    for member in archive:
        if member.isreg():
            yield member.name, member.size, lambda limit, member=member: archive.extractfile(member).read(limit)
        elif member.issym() or member.islnk():
            yield member.name, 0, member.linkname


def scan_archive(path):
    try:
        if path.endswith((".whl", ".zip")):
            with zipfile.ZipFile(path) as archive:
                return scan(files_of_zip(archive), archive=path)
        with tarfile.open(path, "r:*") as archive:
            return scan(files_of_tar(archive), archive=path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, LookupError) as error:
        raise unreadable(f"{os.path.basename(path)} cannot be unpacked: {error}") from None
    except Exception as error:  # zlib.error, lzma.LZMAError
        if type(error).__module__ in ("zlib", "lzma", "_lzma"):
            raise unreadable(f"{os.path.basename(path)} cannot be unpacked: {error}") from None
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
INSTALLED = re.compile(r"^[^/]+\.data/(purelib|platlib)/")  # what a wheel has below it is put beside the rest


class Package:
    """What has been seen of one package."""

    def __init__(self, archive):
        self.source = bool(archive) and not archive.endswith(".whl")  # an archive of sources: code runs when it is installed
        self.name = self.version = None
        self.other = ""  # metadata beside the code, of an archive that has none at its top
        self.tags = []
        self.binaries, self.compiled, self.sources = [], [], set()
        self.found = []
        self.modules = Modules(self.add)

    def add(self, rule, file, line, reason):
        self.found.append({"rule": rule, "file": file, "line": line, "reason": reason})

    def file(self, path, size, read):
        path = os.path.normpath(path).lstrip("/")
        if self.source:  # all is in a directory <name>-<version>
            path = path.partition("/")[2] or path
        name, installed = os.path.basename(path), INSTALLED.sub("", path)
        if isinstance(read, str):
            self.link(path, read)
        elif path == "PKG-INFO" or re.fullmatch(r"[^/]+\.dist-info/METADATA", path):
            self.metadata(read(MAX_FILE).decode("utf-8", "replace"))
        elif path.endswith(".egg-info/PKG-INFO"):
            self.other = self.other or read(MAX_FILE).decode("utf-8", "replace")
        elif re.fullmatch(r"[^/]+\.dist-info/WHEEL", path):
            self.tags = TAG.findall(read(MAX_FILE).decode("utf-8", "replace"))
        elif name.endswith((".py", ".pyw")):
            self.sources.add(path)
            self.python(path, installed, read(MAX_FILE))
            if size > MAX_FILE:
                self.add("hidden-code", path, 0, f"has {size} bytes of code: only the first {MAX_FILE >> 20} MiB were read")
        elif name.endswith(".pth") and "/" not in installed:
            for number, line in enumerate(read(MAX_FILE).decode("utf-8-sig", "replace").splitlines(), 1):
                if line.startswith(("import ", "import\t")):
                    self.add("install-hook", path, number, "runs code whenever an interpreter starts that has the package installed")
        elif name.endswith(".pyc"):
            self.compiled.append(path)
        elif path == "pyproject.toml" and self.source:
            content = read(MAX_FILE)
            if match := BACKEND_PATH.search(content):
                self.add("install-hook", path, content.count(b"\n", 0, match.start()) + 1, "builds itself with code of its own when it is installed")
        elif size >= 64 and (machine := machine_code(read(HEAD))):
            self.binaries.append((path, machine))

    def link(self, path, target):
        """What a link leads to is read under its own name, where that is one of code."""
        suffix = os.path.splitext(path)[1]
        if path == "setup.py" or suffix in (".py", ".pyw", ".pth") and not target.endswith(suffix):
            self.add("hidden-code", path, 0, f"is a link, to {target[:200]}")

    def metadata(self, text):
        """The first that is found counts."""
        name, version = NAME.search(text), VERSION.search(text)
        if name and version and self.name is None:
            self.name, self.version = re.sub(r"[-_.]+", "-", name[1]).lower(), version[1]

    def python(self, path, installed, content):
        setup = self.source and path == "setup.py"
        if installed in ("sitecustomize.py", "usercustomize.py"):
            self.add("install-hook", path, 0, "is imported whenever an interpreter starts that has the package installed")
        self.modules.file(path, module_of(installed), content, setup)

    def finish(self):
        self.modules.finish()
        self.metadata(self.other)
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


def scan(files, archive=None):
    package, total = Package(archive), 0
    for path, size, read in files:
        total += size
        if total > MAX_TOTAL:
            raise unreadable(f"unpacks to more than {MAX_TOTAL >> 30} GiB")
        package.file(path, size, read)
    package.finish()
    return package


def report(name, version, package):
    return {"packages": [{"name": name, "version": version}],
            "suspicions": [dict(found, package=f"{name}=={version}", file=found["file"][:500]) for found in package.found]}


def scan_packages(packages):
    """Scans on all processors: a child each, which answers through a pipe."""
    processors = min(len(os.sched_getaffinity(0)), len(packages))
    children = [start_child(packages[n::processors]) for n in range(processors)]
    parts = [part for child in children for part in answer_of(*child)]
    return {key: [item for part in parts for item in part[key]] for key in ("packages", "suspicions")}


def start_child(packages):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            parts = [report(p["name"], p["version"], scan(files_below(f"{PACKAGES}/{p['name']}-{p['version']}"))) for p in packages]
            with os.fdopen(writer, "w") as out:
                json.dump(parts, out)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    return child, reader, packages


def answer_of(child, reader, packages):
    with os.fdopen(reader) as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        names = ", ".join(f"{p['name']}=={p['version']}" for p in packages)
        raise unreadable(f"reading one of these has ended the scanner, by signal {-status}: {names}")
    if status > 0:
        raise Refused("internal", "driver", "the scanner has failed; the log of the driver has more")
    return json.loads(text)


def of_archive(path):
    package = scan_archive(path)
    if package.name is None:
        raise unreadable(f"{os.path.basename(path)} is no package: it has no metadata with a name and a version")
    return report(package.name, package.version, package)


if __name__ == "__main__":
    request = json.loads(b"".join(map(os.fsencode, sys.argv[1:])))
    try:
        say({"result": of_archive(request["archive"]) if request.get("archive") else scan_packages(request["packages"])})
    except Refused as refused:
        say({"error": refused.reply})
