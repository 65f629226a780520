"""Builds wheels of packages that have none: what runs then is code of the package. It sees no credentials of the index."""

import ctypes
import glob
import hashlib
import os
import re
import signal
import sys
import tarfile
import zipfile
import zlib

import uv
from answer import Refused

CACHE = "/tmp/cache"
PR_SET_DUMPABLE = 4
MAX_MANIFEST = 1 << 20  # bytes of a pyproject.toml, or of what a build says of its wheel


def fetch(package):
    """Fetches the source archive that the lock has. Returns its path, digest and size."""
    import index

    what = f"fetching {package['name']}=={package['version']}"
    try:
        sources = [file for file in index.find(package) if file["name"].endswith((".tar.gz", ".zip"))]
        if not sources:
            raise Refused("install", "worker", f"{what}: the index has no source archive with a digest of the lock")
        body = index.get_archive(sources[0]["url"])
    except (OSError, ValueError) as error:
        raise Refused("install", "worker", f"{what}: the package index cannot be read: {error}") from None
    algorithm, _, digest = sources[0]["digest"].partition(":")
    if hashlib.new(algorithm, body).hexdigest() != digest:
        raise Refused("install", "worker", f"{what}: {sources[0]['name']} has another digest than the lock: expected {digest}, got {hashlib.new(algorithm, body).hexdigest()}")
    os.makedirs("/tmp/sources", exist_ok=True)
    path = "/tmp/sources/" + os.path.basename(sources[0]["name"])
    with open(path, "wb") as file:
        file.write(body)
    return path, sources[0]["digest"], len(body)


def build(package, archive):
    """Returns the path of a wheel made of the source archive. What the build needs is fetched before, as wheels."""
    what, name = f"building {package['name']}=={package['version']}", f"/tmp/build-{package['name']}-{package['version']}"
    needs = build_requirements(what, archive)
    python = name + "/bin/python"
    uv.run(what, CACHE, "venv", "--quiet", "--clear", "--offline", "--python", sys.executable, name, env={})
    if needs:
        uv.run(f"{what}: what its build needs", CACHE, "pip", "install", "--quiet", "--only-binary", ":all:", "--python", python, "--", *needs)
    # A program of the same user can read this one's environment through /proc, unless it is closed. And it could end this one by the only signal that
    # Python handles: against those that nobody handles the kernel protects the first process of a sandbox.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    env = {"PATH": f"{name}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp", "SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0"}
    uv.run(what, CACHE, "build", "--quiet", "--wheel", "--offline", "--no-build-isolation", "--python", python, "--out-dir", name + "-wheel", archive, env=env)
    wheels = glob.glob(name + "-wheel/*.whl")
    if len(wheels) != 1:
        raise Refused("install", "handler", f"{what}: the build made {len(wheels)} wheels")
    return wheels[0]


def requirements_of(package):
    """Returns what a package requires that has to be built to know it."""
    import email.parser

    archive, _, _ = fetch(package)
    try:
        with zipfile.ZipFile(build(package, archive)) as wheel:
            metadata = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            message = email.parser.HeaderParser().parsestr(wheel.open(metadata).read(MAX_MANIFEST).decode("utf-8", "replace"))
    except (zipfile.BadZipFile, zlib.error, StopIteration) as error:
        raise Refused("install", "handler", f"building {package['name']}=={package['version']}: what the build made is no wheel: {error}") from None
    return sorted(str(required) for required in message.get_all("Requires-Dist", []))


def build_requirements(what, archive):
    """Returns what the package says that its build needs (PEP 518), or what all builds needed before packages could say so."""
    text = None
    try:
        if archive.endswith(".zip"):
            with zipfile.ZipFile(archive) as files:
                for name in files.namelist():
                    if re.fullmatch(r"[^/]+/pyproject\.toml", name):
                        text = files.open(name).read(MAX_MANIFEST)
        else:
            with tarfile.open(archive) as files:
                for member in files:
                    if member.isfile() and re.fullmatch(r"(\./)?[^/]+/pyproject\.toml", member.name):
                        text = files.extractfile(member).read(MAX_MANIFEST)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise Refused("install", "handler", f"{what}: its archive cannot be read: {error}") from None
    if text is None:
        return ["setuptools", "wheel"]
    from manifest import toml

    try:
        needs = toml().loads(text.decode()).get("build-system", {}).get("requires", ["setuptools", "wheel"])
    except (ValueError, RecursionError, AttributeError) as error:
        raise Refused("install", "handler", f"{what}: its pyproject.toml cannot be read: {error}") from None
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise Refused("install", "handler", f"{what}: in its pyproject.toml build-system.requires is not a list of strings")
    return needs
