"""Runs uv, the tool that resolves and fetches packages."""

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

from answer import Refused, full

UV = "/pipsqueak/tools/uv"
# Beside what is installed, so that a package that is unpacked there is moved and not copied. It is there when packages are resolved, too, if what is fetched
# then is handed over.
CACHE = "/out/.cache" if os.path.isdir("/out") else "/tmp/cache"
# What is in it takes the place of every configuration that uv would find: that of the function, and of directories above it.
CONFIGURATION = "/tmp/uv.toml"


def start(cache, *arguments, env=None, cwd="/"):
    """Starts uv with a cache in the given directory. What it says goes to its stdout and stderr."""
    if not os.path.exists(UV):
        raise Refused("unsupported", "worker", "this worker has no package installer: run `make deps build` where it was built")
    if not os.path.exists(CONFIGURATION):
        configure("")
    env = dict(os.environ if env is None else env, UV_CACHE_DIR=cache, UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never", UV_PYTHON=sys.executable, NO_COLOR="1")
    return subprocess.Popen([UV, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)


def configure(text):
    with open(CONFIGURATION, "w") as file:
        file.write(text)


def run(what, cache, *arguments, env=None):
    """Returns what uv said on its stdout. What it could not do is Refused."""
    process = start(cache, "--config-file", CONFIGURATION, *arguments, env=env)  # before the arguments, of which the last may stand behind "--"
    out, said = process.communicate()
    if process.returncode != 0:
        raise refused(what, process, said)
    return out.decode()


def hosts():
    """Where packages come from, without credentials."""
    from index import indexes

    return ", ".join(urlsplit(index).netloc.rpartition("@")[2] or index for index in indexes())


# What to do about an index that cannot be reached.
REMEDY = "see that the worker's machine reaches it, or name another one with UV_DEFAULT_INDEX or PIP_INDEX_URL in the worker's environment"


def refused(what, process, said, whose="worker"):
    """What the user is told of what uv said. Whose the fault is when the index has other files than the lock depends on whose the lock is."""
    said = said.decode("utf-8", "replace").strip()
    if process.returncode < 0:
        said += f"\nuv was ended by signal {-process.returncode}"
    if "No space left" in said or "quota exceeded" in said:
        return full(f"{what}: {said}")
    if "Hash mismatch" in said:
        return Refused("install", whose, f"{what}: the package index has other files than the lock: {said}")
    if re.search(r"dns error|error sending request|[Cc]onnection|timed? out|network|HTTP status (server error|client error \((401|403|407|429))", said):
        return Refused("install", "worker", f"{what}: the package index ({hosts()}) cannot be reached: {said}; {REMEDY}")
    if re.search(r"Failed to (extract|unzip|download)|I/O operation failed", said):
        return Refused("install", "worker", f"{what}: what the package index sends is damaged: {said}")
    return Refused("install", "handler", f"{what}: {said}")
