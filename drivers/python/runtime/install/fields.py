"""What a lock of a user's may say: the fields of uv.lock and of pylock.toml (PEP 751) that this driver knows. Readers of both skip what they do not know,
and a field of a newer version may say which files are installed, or what else must be true of them. So a lock with such a field is refused."""

from answer import Refused

REQUIREMENT = "name version extra extras marker specifier index conflict source url git rev tag branch subdirectory path directory editable virtual".split()
SOURCE = "registry git url subdirectory path directory editable virtual".split()
FILE = "url path filename hash size upload-time upload_time zstd.hash zstd.size".split()


def under(prefix, names):
    return [f"{prefix}.{name}" for name in names]


# Paths. * is any name: of an extra, a group, a package, an algorithm. ** is whatever there is: the specification has it decide nothing (`tool`), or others decide
# (the digests, whoever has attested an archive).
UV = {
    *"version revision requires-python resolution-markers supported-markers required-markers".split(),
    *under("conflicts", ["package", "extra", "group"]),
    *under("options", ["resolution-mode", "prerelease-mode", "prerelease-package.*", "fork-strategy", "exclude-newer", "exclude-newer-span", "exclude-newer-package.*",
                       "exclude-newer-package.*.timestamp", "exclude-newer-package.*.span", "minimum-libc-version.*"]),
    *under("manifest", ["members", "excludes"]),
    *(path for kind in ("requirements", "constraints", "overrides", "build-constraints", "dependency-groups.*") for path in under(f"manifest.{kind}", REQUIREMENT)),
    *under("manifest.dependency-metadata", ["name", "version", "requires-dist", "requires-python", "provides-extras"]),
    *under("package", ["name", "version", "resolution-markers", "default-groups", "group-requires-python.*"]),
    *under("package.source", SOURCE),
    *under("package.sdist", FILE),
    *under("package.wheels", FILE),
    *(path for kind in ("dependencies", "optional-dependencies.*", "dev-dependencies.*", "metadata.requires-dist", "metadata.requires-dev.*")
      for path in (*under(f"package.{kind}", REQUIREMENT), *under(f"package.{kind}.source", SOURCE))),
    "package.metadata.provides-extras",
}
PYLOCK_FILE = "name upload-time url path size hashes.*".split()
PYLOCK = {
    *"lock-version environments requires-python extras dependency-groups default-groups created-by tool.**".split(),
    *under("packages", ["name", "version", "marker", "requires-python", "index", "dependencies.**", "attestation-identities.**", "tool.**"]),
    *under("packages.vcs", ["type", "url", "path", "requested-revision", "commit-id", "subdirectory"]),
    *under("packages.directory", ["path", "editable", "subdirectory"]),
    *under("packages.archive", [*PYLOCK_FILE, "subdirectory"]),
    *under("packages.sdist", PYLOCK_FILE),
    *under("packages.wheels", PYLOCK_FILE),
}


def check(name, lock):
    """Refuses a lock with a field that is not known. name: "uv.lock" or "pylock.toml"; lock: what TOML reads of it."""
    known = {}
    for path in {"uv.lock": UV, "pylock.toml": PYLOCK}[name]:
        below = known
        for key in path.split("."):
            below = below.setdefault(key, {})
    walk(name, lock, known, "")


def walk(name, value, known, path):
    if isinstance(value, list):
        for item in value:
            walk(name, item, known, path)
    elif isinstance(value, dict) and "**" not in known:
        for key, below in value.items():
            at = f"{path}.{key}" if path else key
            if key not in known and "*" not in known:
                raise Refused("install", "caller", f"{name} has the field {at[:200]!r}, which this driver does not know, and which may say what is safe to install: "
                              "lock with a version of the tool that `pipsqueak doctor` calls tested")
            walk(name, below, known.get(key) or known.get("*") or {}, at)
