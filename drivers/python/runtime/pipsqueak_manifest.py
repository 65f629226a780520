"""Makes a lock of what a function says of its packages: requirements.txt, pyproject.toml, or a lock of its own."""

import os
import re
import sys
from urllib.parse import quote

import pipsqueak_uv as uv
from pipsqueak_answer import Refused

LOCKS = ("uv.lock", "pylock.toml")
# What is handed over to the installation, when it is.
HANDOVER = "/out"
CACHE = HANDOVER + "/.cache" if os.path.isdir(HANDOVER) else "/tmp/cache"
TOOLS = "/pipsqueak/tools/attestations"

PIN = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*===?\s*([A-Za-z0-9.!+_-]+)\s*(?:;.*)?")
HASH = re.compile(r"\s--hash[=\s]\s*([A-Za-z0-9]+):(\S+)")
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
    requirements = parse(name, READERS[name](code)) if name else []
    if not requirements:
        return []
    own = brings_lock(code)
    pins = hashed(name, requirements) if own else None
    packages = resolve(name, [line for line, _ in requirements], allow)
    return own_lock(name, pins, packages) if own else packages


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
    except ValueError as error:
        raise Refused("install", "caller", f"{name} is not TOML: {error}") from None


def of_requirements(code):
    return read_text(code, "requirements.txt")


def of_project(code):
    """The dependencies of the project, and nothing that would need a build of it to be known."""
    manifest = read_toml(code, "pyproject.toml")
    refuse_sources(manifest)
    project = manifest.get("project", {})
    dependencies = project.get("dependencies", [])
    if "dependencies" in project.get("dynamic", []):
        raise Refused("install", "caller", "pyproject.toml: dependencies that are dynamic are known only after a build; list them in the file")
    if not isinstance(dependencies, list) or not all(isinstance(line, str) for line in dependencies):
        raise Refused("install", "caller", "pyproject.toml: project.dependencies is not a list of strings")
    return "\n".join(line.replace("\n", " ") for line in dependencies)


def refuse_sources(manifest):
    """Other places to take packages from are refused: uv has them in its own table."""
    table = manifest.get("tool", {}).get("uv", {})
    for key in ("index", "index-url", "extra-index-url", "find-links", "sources", "pip"):
        if table.get(key):
            raise Refused("install", "caller", f"pyproject.toml: tool.uv.{key}: a function cannot choose where packages come from; take it out")


def of_uv_lock(code):
    if not os.path.exists(os.path.join(code, "pyproject.toml")):
        raise Refused("install", "caller", "uv.lock has no pyproject.toml beside it: deploy both")
    refuse_sources(read_toml(code, "pyproject.toml"))
    check_lock(code)
    export = uv.start(CACHE, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--project", code)
    out, said = export.communicate()
    if export.returncode != 0:
        raise Refused("install", "caller", f"uv.lock: {said.decode('utf-8', 'replace').strip()}")
    return out.decode()


def check_lock(code):
    """Refuses a lock that is not the project's. It names the indexes that it was made with: the worker's, or those that uv takes unasked."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    for env in (without, os.environ):
        check = uv.start(CACHE, "lock", "--quiet", "--check", "--offline", "--project", code, env=env)
        check.communicate()
        if check.returncode == 0:
            return
    raise Refused("install", "caller", "uv.lock does not fit pyproject.toml, which has been changed since: run `uv lock`, and deploy both")


def of_pylock(code):
    """The packages of a pylock.toml as lines of a requirements.txt."""
    lines = []
    packages = read_toml(code, "pylock.toml").get("packages", [])
    try:
        for package in packages:
            other = [key for key in ("vcs", "directory", "archive") if key in package]
            files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
            if other or "version" not in package or not files:
                raise Refused("install", "caller", f"pylock.toml: {package['name']} is not a package of an index at an exact version; put the code into the function's directory")
            marker = f" ; {package['marker']}" if package.get("marker") else ""
            hashes = "".join(f" --hash={kind}:{digest}" for file in files for kind, digest in file["hashes"].items() if kind in ("sha256", "sha512"))
            lines.append(f"{package['name']}=={package['version']}{marker}{hashes}".replace("\n", " "))
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused("install", "caller", f"pylock.toml is not a lock as PEP 751 has it: {error!r}") from None
    return "\n".join(lines)


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
        if re.match(r"-(r|c|-requirement|-constraint)\b", requirement):
            raise Refused("install", "handler", f"{where}: other files are not read: list the packages in {name} itself")
        if requirement.startswith("-"):
            raise Refused("install", "handler", f"{where}: a function cannot choose where packages come from, nor how they are installed; take the option out")
        if not re.match(r"[A-Za-z0-9]", requirement) or re.search(r"://|\s@\s|\]@|\$\{|^[^;]*[/@]", requirement) or requirement.endswith((".whl", ".tar.gz", ".zip")):
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


def own_lock(name, pins, packages):
    """Returns the packages with the digests of the user's lock, which has to have them all."""
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
    from pipsqueak_source import requirements_of

    with open("/tmp/requirements.in", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    allow, built, seen = {normal(n) for n in allow}, {}, {}
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
            built.update(dict.fromkeys(more, ()))
            continue
        known = dict(built)
        for package in packages:
            if package["scripts"]:
                key = (package["name"], package["version"])
                if key not in seen:
                    seen[key] = requirements_of(package)
                built[package["name"]] = seen[key]
        if built == known:
            return packages


def compile_once(name, built):
    """Has uv resolve /tmp/requirements.in. Of the packages in built it takes the source."""
    tables = [f'[[dependency-metadata]]\nname = "{n}"\nrequires-dist = {list(requires)!r}\n' for n, requires in sorted(built.items())]
    uv.configure("".join(tables))
    sources = [argument for n in sorted(built) for argument in ("--no-binary", n)]
    out = uv.run(f"resolving {name}", CACHE, "pip", "compile", "--quiet", "--no-header", "--generate-hashes", "--annotation-style", "line",
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
