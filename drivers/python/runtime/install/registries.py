"""Says where the operator of this machine has packages come from: what pip and uv have in their environment and in their files for the whole
system. Runs on the host, without a sandbox; runs nothing of packages.

Started as `python3 -I -S registries.py`. Says one JSON object: env, the environment that uv is to have, which may have secrets in it;
registries, the addresses, without them; certificates, a file, if it is not the system's; problems.
"""

import configparser
import json
import os
import sys
from urllib.parse import quote, urlsplit, urlunsplit

PYPI, FILES = "https://pypi.org/simple", "https://files.pythonhosted.org"
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf")
UV_FILE = "/etc/uv/uv.toml"


def main(environment):
    problems = []
    default, extra, links, insecure = None, [], [], []
    for source in (of_uv_environment(environment), of_uv_file(environment, problems), of_pip(environment, problems)):
        default = default or source.get("default")
        extra += [address for address in source.get("extra", []) if address not in extra]
        links += [address for address in source.get("links", []) if address not in links]
        insecure += source.get("insecure", [])
    default = default or PYPI
    # Directories of the host are none of a sandbox's.
    links = [address for address in links if is_address(address)]
    for address in [default, *extra]:
        if not is_address(address):
            problems.append(f"the package index {public(address)!r} is not an address that begins with http: packages cannot come from it")
    env = {"UV_DEFAULT_INDEX": default}
    for name, values, separator in (("UV_INDEX", extra, " "), ("UV_FIND_LINKS", links, ","), ("UV_INSECURE_HOST", insecure, " ")):
        if values:
            env[name] = separator.join(values)
    if environment.get("UV_INDEX_STRATEGY"):
        env["UV_INDEX_STRATEGY"] = environment["UV_INDEX_STRATEGY"]
    registries = [public(address) for address in [default, *extra, *links] if is_address(address)]
    if any(urlsplit(address).hostname == "pypi.org" for address in [default, *extra] if is_address(address)):
        registries.append(FILES)
    certificates = environment.get("SSL_CERT_FILE") or environment.get("PIP_CERT") or pip_option("cert", problems, environment)
    return {"env": env, "registries": sorted(set(registries)), "certificates": certificates or "", "problems": problems}


def is_address(address):
    try:
        return urlsplit(address).scheme in ("http", "https")
    except ValueError:
        return False


def public(address):
    """An address without credentials, for descriptions are shown to people."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def with_credentials(name, address, environment):
    """uv has the credentials of an index that has a name in variables that are called after it."""
    if not is_address(address):
        return address
    known = "UV_INDEX_" + "".join(c if c.isalnum() else "_" for c in name).upper()
    user, password = environment.get(known + "_USERNAME"), environment.get(known + "_PASSWORD")
    parts = urlsplit(address)
    if user is None and password is None or parts.username is not None:
        return address
    return urlunsplit(parts._replace(netloc=f"{quote(user or '', safe='')}:{quote(password or '', safe='')}@{parts.netloc}"))


def named(index, environment):
    """An index of the environment may have a name before its address."""
    name, _, address = index.partition("=")
    return with_credentials(name, address, environment) if is_address(address) and "/" not in name else index


def of_uv_environment(environment):
    default = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL")
    return {
        "default": default and named(default, environment),
        "extra": [named(index, environment) for index in (environment.get("UV_INDEX", "") + " " + environment.get("UV_EXTRA_INDEX_URL", "")).split()],
        "links": [link for link in environment.get("UV_FIND_LINKS", "").replace(",", " ").split()],
        "insecure": environment.get("UV_INSECURE_HOST", "").split(),
    }


def of_uv_file(environment, problems):
    path = environment.get("UV_CONFIG_FILE", UV_FILE)
    if not os.path.exists(path):
        return {}
    try:
        import tomllib
    except ImportError:
        problems.append(f"{path} cannot be read with a Python before 3.11: name the package index in UV_DEFAULT_INDEX")
        return {}
    try:
        with open(path, "rb") as file:
            settings = tomllib.load(file)
        settings = {**settings.get("pip", {}), **settings}
        found = {"default": settings.get("index-url"), "extra": list(settings.get("extra-index-url", [])), "links": list(settings.get("find-links", [])),
                 "insecure": list(settings.get("allow-insecure-host", []))}
        for index in settings.get("index", []):
            if index.get("explicit"):
                continue  # only for what names it, and a function cannot
            address = with_credentials(index.get("name", ""), index["url"], environment)
            if index.get("default"):
                found["default"] = address
            else:
                found["extra"].append(address)
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problems.append(f"{path} cannot be read: {error!r}")
        return {}


def of_pip(environment, problems):
    def values(option):
        return (pip_option(option, problems, environment) or "").split()

    return {"default": next(iter(values("index-url")), None), "extra": values("extra-index-url"), "links": values("find-links"), "insecure": values("trusted-host")}


def pip_option(option, problems, environment):
    """An option of pip: of its environment, or else of its files, of which the last counts."""
    value = environment.get("PIP_" + option.upper().replace("-", "_"))
    if value:
        return value
    reader = configparser.RawConfigParser()
    for path in [environment["PIP_CONFIG_FILE"]] if environment.get("PIP_CONFIG_FILE") else PIP_FILES:
        try:
            reader.read(path)
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            problem = f"{path} cannot be read: {error}"
            if problem not in problems:
                problems.append(problem)
    return reader.get("install", option, fallback=None) or reader.get("global", option, fallback=None)


if __name__ == "__main__":
    json.dump(main(os.environ), sys.stdout)
