"""Makes a lock of what a function says of its packages: requirements.txt, pyproject.toml, or a lock of its own."""

import json
import os
import re
import sys
from urllib.parse import quote

import fields
import uv
from answer import Refused

LOCKS = ("uv.lock", "pylock.toml")
PROJECT = "/tmp/project"
# What of uv's own table is in a uv.lock: which packages a project has, and what it was resolved with.
DECIDING = ("package", "dev-dependencies", "default-groups", "dependency-groups", "constraint-dependencies", "override-dependencies", "exclude-dependencies",
            "build-constraint-dependencies", "dependency-metadata", "environments", "required-environments", "conflicts", "resolution", "prerelease", "prerelease-package",
            "fork-strategy", "index-strategy", "exclude-newer", "exclude-newer-package", "minimum-libc-version")
TOOLS = "/pipsqueak/tools/attestations"

PIN = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*===?\s*([A-Za-z0-9.!+_-]+)\s*(?:;.*)?")
HASH = re.compile(r"\s--hash[=\s]\s*([A-Za-z0-9]+):(\S+)")
BREAK = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # what is after a carriage return would be an option of uv
HARMLESS = re.compile(r"--(require-hashes|prefer-binary|only-binary[=\s]\s*\S+)\s*$")


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def manifest_of(code):
    """Returns the name of the file that says which packages the code has, if there is one. The others of its kind do not count."""
    for name in READERS:
        if os.path.lexists(os.path.join(code, name)):
            return name
    return None


def brings_lock(code):
    """Tells whether what is installed comes from a lock of the user's own."""
    name = manifest_of(code)
    return name in LOCKS or name is not None and any(hashes for _, hashes in parse(name, READERS[name](code)))


def lock(code, allow):
    """Returns the packages that the code's manifest asks for, with all that they need."""
    name = manifest_of(code)
    text = READERS[name](code) if name else ""
    requirements = parse(name, text) if name else []
    if not requirements:
        return []
    own = brings_lock(code)
    pins = hashed(name, requirements) if own else None
    packages = resolve(name, [line for line, _ in requirements], allow)
    return own_lock(name, pins, packages, required_by(text)) if own else packages


def read_text(code, name):
    try:
        with open(os.path.join(code, name), encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused("install", "caller", f"{name} cannot be read: {error}") from None


def toml():
    """Python's own reader, and before Python 3.11 the same one as a package of its maker."""
    try:
        import tomllib
    except ImportError:
        sys.path.append(TOOLS)
        import tomli as tomllib
    return tomllib


def read_toml(code, name):
    try:
        return toml().loads(read_text(code, name))
    except (ValueError, RecursionError) as error:
        raise Refused("install", "caller", f"{name} is not TOML: {error}") from None


def table(above, key):
    """A table of pyproject.toml, empty when it is not there."""
    below = above.get(key, {})
    if not isinstance(below, dict):
        raise Refused("install", "caller", f"pyproject.toml: {key} is not a table")
    return below


def of_requirements(code):
    return read_text(code, "requirements.txt")


def of_project(code):
    dependencies = table(read_project(code), "project").get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(line, str) for line in dependencies):
        raise Refused("install", "caller", "pyproject.toml: project.dependencies is not a list of strings")
    return "\n".join(line.replace("\n", " ") for line in dependencies)


def read_project(code):
    """Returns what pyproject.toml says. Refused are dependencies that only a build would tell, which runs code of the function."""
    manifest = read_toml(code, "pyproject.toml")
    dynamic = table(manifest, "project").get("dynamic", [])
    if not isinstance(dynamic, list) or "dependencies" in dynamic:
        raise Refused("install", "caller", "pyproject.toml: dependencies that are dynamic are known only after a build; list them in the file")
    refuse_sources("pyproject.toml: tool.uv.", table(table(manifest, "tool"), "uv"))
    return manifest


def refuse_sources(where, of_uv):
    """Other places to take packages from are refused: uv has them in its own table."""
    for key in ("index", "index-url", "extra-index-url", "find-links", "sources"):
        if of_uv.get(key):
            raise Refused("install", "caller", f"{where}{key}: a function cannot choose where packages come from; take it out")
    if isinstance(of_uv.get("pip"), dict):
        refuse_sources(f"{where}pip.", of_uv["pip"])


def of_uv_lock(code):
    if not os.path.exists(os.path.join(code, "pyproject.toml")):
        raise Refused("install", "caller", "uv.lock has no pyproject.toml beside it: deploy both")
    fields.check("uv.lock", read_toml(code, "uv.lock"))
    manifest = read_project(code)
    check_python(table(manifest, "project").get("requires-python"))
    write_project(code, manifest)
    check_lock()
    export = start_in_project(os.environ, "export", "--frozen", "--no-default-groups", "--no-emit-project", "--no-header")
    out, said = export.communicate()
    if export.returncode != 0:
        raise Refused("install", "caller", f"uv.lock: {said.decode('utf-8', 'replace').strip()}")
    return out.decode()


def write_project(code, manifest):
    """Writes what decides which packages a project has to where nothing else is of the function. uv would have a project built to learn what it cannot
    read, --no-build or not, with a program that the project names, and would start the interpreter of a virtual environment in it. All that
    is code of the function, and uv has the worker's credentials."""
    of_uv = table(table(manifest, "tool"), "uv")
    if os.path.exists(os.path.join(code, "uv.toml")):
        of_uv = {**of_uv, **read_toml(code, "uv.toml")}
        refuse_sources("uv.toml: ", of_uv)
    of_uv = {"package": "build-system" in manifest, **{key: of_uv[key] for key in DECIDING if key in of_uv}}
    kept = {"project": table(manifest, "project"), "dependency-groups": table(manifest, "dependency-groups"), "tool": {"uv": of_uv}}
    os.makedirs(PROJECT, exist_ok=True)
    with open(f"{PROJECT}/pyproject.toml", "w", encoding="utf-8") as file:
        file.writelines(f"{key} = {to_toml(value)}\n" for key, value in kept.items())
    with open(f"{PROJECT}/uv.lock", "w", encoding="utf-8") as file:
        file.write(read_text(code, "uv.lock"))


def to_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {to_toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def check_python(wanted):
    """Refuses a project that is for another Python than this one, before uv says so of its lock. What cannot be read, uv reports."""
    sys.path.append(TOOLS)
    try:
        from packaging.specifiers import SpecifierSet

        version = ".".join(map(str, sys.version_info[:3]))
        fits = wanted is None or SpecifierSet(wanted).contains(version, prereleases=True)
    except (ImportError, ValueError, TypeError, AttributeError):
        return
    if not fits:
        raise Refused("install", "caller", f"pyproject.toml has requires-python = {wanted!r}, and the function runs in Python {version}: change that and run `uv lock`, or choose another runtime")


def check_lock():
    """Refuses a lock that is not the project's. It names the indexes that it was made with: the worker's, or those that uv takes unasked."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    for env in (without, os.environ):
        check = start_in_project(env, "lock", "--check", "--no-build")
        _, said = check.communicate()
        if check.returncode == 0:
            return
    raise Refused("install", "caller", f"uv.lock does not fit pyproject.toml: run `uv lock`, and deploy both: {said.decode('utf-8', 'replace').strip()}")


def start_in_project(env, *arguments):
    return uv.start(uv.CACHE, *arguments, "--quiet", "--offline", "--project", PROJECT, env=env)


def of_pylock(code):
    """The packages that a pylock.toml has for this interpreter as lines of a requirements.txt: its default groups, and no extras."""
    lock, lines = read_toml(code, "pylock.toml"), []
    fields.check("pylock.toml", lock)
    for package, _ in chosen(lock):
        if package.directory and os.path.normpath(package.directory.path) == ".":
            continue  # the function itself
        if package.vcs or package.directory or package.archive or package.version is None:
            raise Refused("install", "caller", f"pylock.toml: {package.name} is not a package of an index at an exact version; put the code into the function's directory")
        files = [*(package.wheels or []), *([package.sdist] if package.sdist else [])]
        hashes = "".join(f" --hash={kind}:{digest}" for file in files for kind, digest in file.hashes.items() if kind in ("sha256", "sha512"))
        lines.append((package, f"{package.name}=={package.version}{hashes}"))
    requiring = [(package.name, required.get("name")) for package, _ in lines for required in package.dependencies or ()]
    return "\n".join(f"{line}  # via {', '.join(by for by, name in requiring if name == package.name)}" for package, line in lines)


def chosen(lock):
    """What the reference implementation of PEP 751 takes of a lock."""
    sys.path.append(TOOLS)
    try:
        from packaging.errors import ExceptionGroup
        from packaging.pylock import Pylock, PylockSelectError, PylockValidationError
    except ImportError as error:
        raise Refused("unsupported", "worker", f"this worker cannot read a pylock.toml: {error}; run `make deps build` where it was built") from None
    try:
        return list(Pylock.from_dict(lock).select())
    except PylockSelectError as error:
        raise Refused("install", "caller", f"pylock.toml is not for {sys.implementation.name} {sys.version.split()[0]} on this machine: {error}") from None
    except (PylockValidationError, ExceptionGroup, ValueError, TypeError, AttributeError) as error:
        raise Refused("install", "caller", f"pylock.toml is not a lock as PEP 751 has it: {error}") from None


# In the order in which they are looked for: the first that there is counts.
READERS = {"uv.lock": of_uv_lock, "pylock.toml": of_pylock, "requirements.txt": of_requirements, "pyproject.toml": of_project}


def parse(name, text):
    """Returns the requirements, each with its hashes. Whatever is no name of a package, with conditions, is refused."""
    found = []
    lines = re.sub(r"\\[ \t]*\r?\n", lambda m: " \x00", text).split("\n")
    number = 1
    for line in lines:
        at, number = number, number + 1 + line.count("\x00")
        line = re.sub(r"(^|\s)#.*$", "", line.replace("\x00", "")).strip()
        if not line or HARMLESS.match(line):
            continue
        requirement = HASH.sub("", line).strip()
        where = f"{name}, line {at}: {requirement[:200]!r}" if name.endswith(".txt") else f"{name}: {requirement[:200]!r}"
        if BREAK.search(requirement):
            raise Refused("install", "handler", f"{where} has a character that ends a line for the installer; write each requirement on a line of its own")
        if re.match(r"-(r|c|-requirement\b|-constraint\b)", requirement):
            raise Refused("install", "handler", f"{where}: other files are not read: list the packages in {name} itself")
        if requirement.startswith("-"):
            raise Refused("install", "handler", f"{where}: a function cannot choose where packages come from, nor how they are installed; take the option out")
        if not re.match(r"[A-Za-z0-9]", requirement) or re.search(r"://|\s@\s|\]@|\$\{|^[^;]*[/@]", requirement) or requirement.endswith((".whl", ".tar.gz", ".tgz", ".zip")):
            raise Refused("install", "handler", f"{where} is not a package of an index at an exact version; paths, links and repositories are not supported: "
                          "put the code into the function's directory")
        found.append((requirement, HASH.findall(line)))
    return found


def hashed(name, requirements):
    """Returns what a lock of the user's pins: digests by name and version."""
    pins = {}
    for requirement, hashes in requirements:
        pin = PIN.fullmatch(requirement)
        digests = [f"{kind}:{digest.lower()}" for kind, digest in hashes if (kind, len(digest)) in (("sha256", 64), ("sha512", 128))]
        if pin is None or not digests:
            raise Refused("install", "caller", f"{name}: {requirement!r} has no exact version with a digest, sha256 or sha512: where one package has it, all must")
        pins.setdefault((normal(pin[1]), short(pin[2])), []).extend(digests)
    return pins


def short(version):
    """1.0 and 1.0.0 are one version."""
    return re.sub(r"(\.0)+$", "", version.lower())


def required_by(text):
    """Returns who requires each package, as uv and pip-compile write it in comments behind a requirement or below it: of a lock in which every
    package is listed, nothing else tells what is there because of an extra."""
    found, current, listing = {}, None, False
    for line in text.splitlines():
        if requirement := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*[\[=;]", line):
            current, listing = found.setdefault(normal(requirement[1]), set()), False
        comment = re.search(r"(?:^|\s)#\s*(.*)$", line)
        if not comment or current is None:
            continue
        words = comment[1].strip()
        if words == "via" or words.startswith("via "):
            listing, words = True, words[4:]
        if listing:
            current.update(normal(by[1]) for by in map(re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\]\s*)?").fullmatch, words.split(",")) if by)
    return found


def own_lock(name, pins, packages, by):
    """Returns the packages with the digests of the user's lock, which has to have them all, and with whom it says to require them."""
    for package in packages:
        more = {f"{p['name']}=={p['version']}" for p in packages if package["name"] in by.get(p["name"], ())}
        package["requires"] = sorted(more.union(package["requires"]) - {f"{package['name']}=={package['version']}"})
    for package in packages:
        digests = pins.get((package["name"], short(package["version"])))
        if digests is None:
            requiring = [p["name"] for p in packages if f"{package['name']}=={package['version']}" in p["requires"]]
            raise Refused("install", "caller", f"{name} does not have {package['name']}=={package['version']}"
                          + (f", which {requiring[0]} requires" if requiring else "") + ": lock again, and deploy the new lock")
        package["archives"] = sorted(set(digests))
    return packages


def resolve(name, lines, allow):
    """Returns the packages that uv resolves the requirements to. A package that has no wheel is taken as source if it is allowed: it is built
    for what it requires, which uv then is told, for uv itself runs nothing of packages."""
    from source import requirements_of

    with open("/tmp/requirements.in", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    allow, built = {normal(n) for n in allow}, {}
    while True:
        try:
            packages = compile_once(name, built)
        except Refused as refused:
            message = refused.reply["message"]
            more = {n for n in allow - built.keys() if re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", message)}
            if refused.reply["kind"] != "install" or refused.reply["fault"] != "handler" or not more:
                if lacking := re.search(r"Wheels are required for `([^`]+)`", message):
                    refused.reply["message"] += (f"\n\n{lacking[1]} has no wheel for this worker, and would run code of its own when it is installed: "
                                                 f"allow that with 'allow_scripts: [{lacking[1]}]' in pipsqueak.yaml")
                raise
            built.update((n, {}) for n in more)
            continue
        new = [package for package in packages if package["scripts"] and package["version"] not in built[package["name"]]]
        for package in new:
            built[package["name"]][package["version"]] = requirements_of(package)
        if not new:
            return packages


def compile_once(name, built):
    """Has uv resolve /tmp/requirements.in. Of the packages in built it takes the source; built has what each version requires that was built
    until now. Of other versions uv is told that they require nothing: it takes one, which then is built."""
    told = [{"name": n, "version": version, "requires-dist": requires} for n, versions in sorted(built.items()) for version, requires in versions.items()]
    told += [{"name": n, "requires-dist": []} for n in sorted(built)]
    uv.configure(f"dependency-metadata = {to_toml(told)}\n")
    sources = [argument for n in sorted(built) for argument in ("--no-binary", n)]
    out = uv.run(f"resolving {name}", uv.CACHE, "pip", "compile", "--quiet", "--no-header", "--generate-hashes", "--annotation-style", "line",
                 "--only-binary", ":all:", *sources, "--python", sys.executable, "/tmp/requirements.in")
    packages, requires = [], {}
    for line in out.splitlines():
        line = line.strip().rstrip("\\").strip()
        if digest := re.match(r"--hash=(\S+)", line):
            packages[-1]["archives"].append(digest[1])
        elif via := re.match(r"# via (.*)", line):
            requires[f"{packages[-1]['name']}=={packages[-1]['version']}"] = [normal(n.partition("[")[0].strip()) for n in via[1].split(",")]
        elif pin := PIN.fullmatch(line.split(" ;")[0]):
            packages.append({"name": normal(pin[1]), "version": pin[2], "archives": [], "requires": [], "scripts": normal(pin[1]) in built,
                             "purl": f"pkg:pypi/{normal(pin[1])}@{quote(pin[2])}"})
        elif line and not line.startswith(("#", "--")):
            raise Refused("install", "handler", f"{name}: {line!r} is not a package of an index at an exact version")
    for package in packages:
        package["requires"] = sorted(required for required, by in requires.items() if package["name"] in by)
        if not package["archives"]:
            raise Refused("install", "worker", f"the package index gives no digest of {package['name']}=={package['version']}: nothing can be verified")
    return packages
