"""Installs the packages of a lock, each into a directory of its own."""

import glob
import os
import re
import shutil
import sys
import threading

import uv
from answer import Refused, progress
from manifest import brings_lock, manifest_of
from metadata import licenses, modules, record
from signatures import Signatures

CODE, OUT = "/function", "/out"
TARGET = "/tmp/target"  # where uv puts links to what it has unpacked


def install_all(packages):
    """Installs exactly the archives of the lock. Returns a receipt for each package."""
    if not packages:
        return []
    installation = Installation(packages)
    signatures = Signatures(packages)
    installation.wheels()
    installation.sources()
    installation.split()
    checked = signatures.of(installation.archives)
    return [installation.receipt(package, checked[base(package)]) for package in packages]


def base(package):
    return f"{package['name']}-{package['version']}"


class Installation:
    """What is under way: archives has the digest and size of what was fetched of each package, by its name."""

    def __init__(self, packages):
        self.packages = {package["name"]: package for package in packages}
        self.archives, self.unpacked, self.modules, self.licenses = {}, {}, {}, {}

    def wheels(self):
        """Has uv fetch the wheels, and reports each when it is there."""
        wheels = [package for package in self.packages.values() if not package.get("scripts")]
        if not wheels:
            return
        with open("/tmp/pins.txt", "w") as file:
            file.writelines(" ".join([f"{p['name']}=={p['version']}", *(f"--hash={digest}" for digest in p["archives"])]) + "\n" for p in wheels)
        process = uv.start(uv.CACHE, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", TARGET, "--python", sys.executable,
                           "--link-mode", "symlink", "--config-file", uv.CONFIGURATION, "-r", "/tmp/pins.txt")
        said = []
        listener = threading.Thread(target=lambda: said.append(process.stderr.read()))
        listener.start()
        while listener.is_alive():
            listener.join(0.05)
            self.fetched()
        if process.wait() != 0:
            raise uv.refused(f"installing what {manifest_of(CODE) or 'the lock'} asks for", process, said[0], "caller" if brings_lock(CODE) else "worker")
        self.fetched()
        missing = [p["name"] for p in wheels if p["name"] not in self.archives]
        if missing:
            raise Refused("install", "driver", "the installer does not say which archives it took for " + ", ".join(missing))

    def fetched(self):
        """Looks which wheels uv has put into its cache since the last look: by a file that has digest, name, size and place of each."""
        for file in glob.glob(uv.CACHE + "/wheels-v*/**/*.http", recursive=True):
            name = os.path.basename(os.path.dirname(file))
            if name in self.archives or name not in self.packages:
                continue
            with open(file, "rb") as text:
                entry = WHEEL.match(text.read())
            if not entry:
                continue  # it was fetched to resolve, and not verified: uv fetches it again
            package = self.packages[name]
            digest = f"{entry[2].decode().lower()}:{entry[3].decode()}"
            if digest not in package["archives"]:
                raise Refused("install", "driver", f"the installer took an archive for {name} that its lock does not have: {digest}")
            self.archives[name] = (digest, int.from_bytes(entry[entry.lastgroup], "big"), entry[4].decode())
            self.say_fetched(package)
            self.unpacked[name] = f"{uv.CACHE}/archive-v0/{entry[1].decode()}"

    def say_fetched(self, package):
        size = self.archives[package["name"]][1]
        progress(f"{package['name']}=={package['version']}", f"fetched {size / 1e6:.1f} MB", len(self.archives), len(self.packages))

    def sources(self):
        """Builds and installs the packages that have no wheel."""
        from source import build, fetch

        for package in self.packages.values():
            if package.get("scripts"):
                archive, digest, size = fetch(package)
                self.archives[package["name"]] = (digest, size, os.path.basename(archive))
                self.say_fetched(package)
                wheel = build(package, archive)
                uv.run(f"installing {package['name']}", uv.CACHE, "pip", "install", "--no-deps", "--offline", "--target", TARGET, "--python", sys.executable,
                       "--link-mode", "copy", wheel, env={})

    def split(self):
        """Reads what is installed, and gives each package a directory of its own: the wheel as uv has unpacked it, or what uv has made of it."""
        found = {}
        for entry in os.listdir(TARGET):
            if entry.endswith(".dist-info"):
                found[re.sub(r"[-_.]+", "-", entry[: -len(".dist-info")].partition("-")[0]).lower()] = entry
        for name, package in self.packages.items():
            if name not in found:
                raise Refused("install", "driver", f"the installer left out {name}")
            target = f"{OUT}/{base(package)}"
            unpacked = self.unpacked.get(name)
            if unpacked and not glob.glob(unpacked + "/*.data"):  # one that has files for several places is installed by uv
                os.rename(unpacked, target)
                paths = record(target, found[name])
                split_off([path for path in record(TARGET, found[name]) if is_made(path) and path not in paths], target, None)
            else:
                paths = record(TARGET, found[name])
                split_off(paths, target, unpacked)
            self.modules[name] = modules(target, paths)
            self.licenses[name] = licenses(f"{target}/{found[name]}/METADATA")
            for cache in glob.glob(target + "/**/__pycache__", recursive=True):
                shutil.rmtree(cache)  # made elsewhere

    def receipt(self, package, signature):
        digest, size, _ = self.archives[package["name"]]
        return {"name": package["name"], "version": package["version"], "archive": digest, "bytes": size, "modules": self.modules[package["name"]],
                "licenses": self.licenses[package["name"]], "signatures": [signature]}


# How an entry of uv's cache begins, in MessagePack: the name of a directory, digests, the name and size of the archive.
WHEEL = re.compile(rb"\x95\xb0(.{16})\x91\x81\xa6(Sha256|Sha512)\xd9[\x40\x80]([0-9a-f]+)(?:[\xa0-\xbf]|\xd9.)([^\x00]+\.whl)\x00(?:\xcd(?P<two>..)|\xce(?P<four>.{4})|\xcf(?P<eight>.{8}))", re.DOTALL)


def is_made(path):
    """Whether a file is a program that uv has made, for an entry point of the package."""
    return os.path.dirname(path) == "bin" and os.path.isfile(f"{TARGET}/{path}") and not os.path.islink(f"{TARGET}/{path}")


def split_off(paths, target, unpacked):
    """Moves the files of one package into a directory of its own. Of a file that several have, TARGET has only one's: so each is taken from where its
    own wheel was unpacked, and from TARGET what uv has made."""
    for path in paths:
        sources = [f"{unpacked}/{path}", *glob.glob(f"{glob.escape(unpacked)}/*.data/*/{glob.escape(path)}")] if unpacked and not path.endswith(".dist-info/RECORD") else []
        source = next(filter(os.path.isfile, sources), f"{TARGET}/{path}")
        destination = os.path.normpath(f"{target}/{path}")
        if not destination.startswith(target + "/") or not os.path.lexists(source):
            continue
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        if os.path.islink(source):
            source = os.path.realpath(source)
        shutil.move(source, destination)
