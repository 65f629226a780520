"""Reads what an installed package says of itself: its files, modules and licences."""

import csv
import email.parser
import os
import re
from importlib.machinery import EXTENSION_SUFFIXES

from answer import Refused

# What packages put beside their modules without meaning it.
ASIDE = {"test", "tests", "testing", "conftest", "setup", "docs", "doc", "examples", "example", "benchmarks", "bin", "share", "include", "scripts"}
DEEPEST = 100  # directories in one another that are looked into
# The initialization of a package that is there only to hold others.
HOLDER = re.compile(rb"extend_path|declare_namespace")


def record(directory, dist_info):
    """Returns the paths of the package's files, without where it was installed from, which says nothing of the package."""
    try:
        with open(os.path.join(directory, dist_info, "RECORD"), encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (FileNotFoundError, UnicodeDecodeError, csv.Error) as error:
        raise Refused("install", "handler", f"the package's {dist_info}/RECORD, its list of files, cannot be read: {error}; take another version of it") from None
    kept = [row for row in rows if row[0] not in (f"{dist_info}/direct_url.json", f"{dist_info}/uv_cache.json")]
    if len(kept) < len(rows):
        with open(os.path.join(directory, dist_info, "RECORD"), "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)
    return [row[0] for row in kept]


def modules(directory, paths):
    """Returns the names by which the files can be imported: of packages, not of what is in them, but of what is in namespaces."""
    tree = {}
    for path in paths:
        below = tree
        for part in path.split("/", DEEPEST)[:DEEPEST]:
            below = below.setdefault(part, {})
    found = sorted(names(directory, tree, ""))
    public = [name for name in found if not any(part.startswith("_") or part in ASIDE for part in name.split("."))]
    return public or found


def names(directory, tree, prefix):
    for name, below in tree.items():
        if not below:
            module = module_of(name)
            if module and module != "__init__":
                yield prefix + module
        elif name.isidentifier() and name != "__pycache__":
            initializations = [file for file in below if not below[file] and module_of(file) == "__init__"]
            path = os.path.join(directory, name)
            if initializations and not holds_others(os.path.join(path, initializations[0])):
                yield prefix + name
            else:
                yield from names(path, below, f"{prefix}{name}.")


def module_of(file):
    """Returns the name of the module that a file is, if it is one."""
    for suffix in [".py", *EXTENSION_SUFFIXES]:
        if file.endswith(suffix) and file[: -len(suffix)].isidentifier():
            return file[: -len(suffix)]
    return None


def holds_others(file):
    try:
        with open(file, "rb") as source:
            text = source.read(4096)
    except OSError:
        return False
    return HOLDER.search(text) is not None


def licenses(metadata):
    """Returns the licences that the package states: an SPDX expression, or else classifiers, or else the name of one."""
    message = parse(metadata)
    if expression := one_line(message["License-Expression"]):
        return expression
    if classified := [c.rpartition(" :: ")[2] for c in message.get_all("Classifier", []) if c.startswith("License :: ")]:
        return classified
    return one_line(message["License"])


def one_line(text):
    """Some packages have the whole text of a licence where its name should be."""
    text = (text or "").strip()
    return [text] if text and "\n" not in text and len(text) <= 200 else []


def parse(metadata):
    with open(metadata, encoding="utf-8", errors="replace") as file:
        return email.parser.HeaderParser().parse(file)
