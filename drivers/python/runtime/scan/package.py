"""What is suspicious in the modules of a package together: a module that calls, when it is imported, what is in another one, and secrets that one
reads and another sends."""

import re

from suspicions import does, read
from flow import Flow
from words import READING

# Bytes of sources of which all is remembered until the last file is read: that takes fifty times as much.
MOST = 8 << 20
WORD = re.compile(rb"\w+")
HOPS = 3  # from a function to what it does through others: behind more of them nearly everything reaches the network at last
ROUNDS = 4  # of reading modules because of what others have


class Modules:
    def __init__(self, add):
        self.add = add  # a function: rule, file, line, reason
        self.size = 0
        self.readers = {}  # by module: path and Reader
        self.linked = {}  # the same readers, by the name that others import
        self.rest = {}  # modules in which there is nothing to find by themselves: path and content

    def file(self, path, module, content, setup):
        found, reader = read(content, setup, module)
        self.size += len(content)
        if self.size > MOST:
            found, reader = reader.read() if reader else found, None
        elif reader is None:
            self.rest[module] = path, content
        if reader:
            self.readers[module] = path, reader
        else:
            self.tell(path, found)

    def tell(self, path, found):
        for rule, line, reason in found:
            self.add(rule, path, line, reason)

    def finish(self):
        for _ in range(ROUNDS):
            self.link()
            effects, secrets, known = self.effects(), self.secrets(), len(self.readers)
            self.read_more([*effects, *secrets, *self.other_names(effects)])
            if len(self.readers) == known:
                break
        for path, reader in self.readers.values():
            self.tell(path, reader.read(effects, secrets))

    def link(self):
        """Has each module know what the names stand for that it has from others."""
        self.linked = {exported(module + "."): reader for module, (_, reader) in self.readers.items()}
        for reader in self.linked.values():
            for module in reader.stars:
                if module in self.linked:
                    for name in self.linked[module].defined():
                        reader.names.setdefault(name, f"{module}.{name}")
        for _ in range(HOPS):
            for reader in self.linked.values():
                reader.link(self.resolve)

    def resolve(self, name):
        """What a name of a module of the package stands for there, as another module names that."""
        module, rest = name.rpartition(".")[::2]
        while module and module not in self.linked:
            module, _, more = module.rpartition(".")
            rest = f"{more}.{rest}"
        if not module:
            return name
        first, dot, rest = rest.partition(".")
        reader, calls = self.linked[module], first.removesuffix("()") != first
        stands_for = reader.names.get(first.removesuffix("()"))
        if stands_for is None:
            return name
        local = stands_for.partition(".")[0].removesuffix("()")
        if local in reader.classes or local in reader.functions:
            stands_for = f"{module}.{stands_for}"
        return stands_for + "()" * calls + dot + rest

    def other_names(self, effects):
        """Names by which modules have what does something."""
        owners = {name.rpartition(".")[0] for name in effects}
        for module, reader in self.linked.items():
            for name, stands_for in reader.names.items():
                if does(stands_for) or any(one in effects or one in owners for one in (stands_for, f"{module}.{stands_for}")):
                    yield f"{module}.{name}"

    def secrets(self):
        """The functions that return secrets which their module reads."""
        return {exported(f"{module}.{name}") for module, (_, reader) in self.readers.items() if READING.search(reader.content) for name in Flow(reader).returning()}

    def effects(self):
        """What running each function of the package does, with what it calls."""
        did, callers = {}, {}
        for module, (_, reader) in self.readers.items():
            for name, (own, called) in reader.does.items():
                name = exported(f"{module}.{name}")
                if own:
                    did[name] = set(own)
                for other in called:
                    callers.setdefault(exported(other), set()).add(name)
        latest = dict(did)
        for _ in range(HOPS):
            above = {}
            for name, own in latest.items():
                for caller in callers.get(name, ()):
                    if more := own - did.get(caller, set()):
                        above.setdefault(caller, set()).update(more)
            for caller, more in above.items():
                did.setdefault(caller, set()).update(more)
            latest = above
        return {name: sorted(own) for name, own in did.items()}

    def read_more(self, names):
        """Reads modules that may use what others have: they have words of its module and of itself."""
        wanted = {tuple(part.removesuffix("()").encode() for part in name.split(".")[-3:]) for name in names}
        more = {}
        for module, (path, content) in self.rest.items():
            if b"import" in content:
                words = set(WORD.findall(content))
                if any(words.issuperset(parts[-2:]) or words.issuperset(parts[:2]) for parts in wanted):
                    _, reader = read(content, False, module, anyway=True)
                    if reader:
                        more[module] = path, reader
        self.readers.update(more)
        for module in more:
            del self.rest[module]


def exported(name):
    """The name by which other modules have something: that of a package is not the one of its file."""
    return name.replace(".__init__.", ".").rstrip(".")


def module_of(installed):
    """The name of the module that a file is, where packages usually have it."""
    return re.sub(r"^(src|lib|python)/(?=.)", "", installed).removesuffix("w").removesuffix(".py").replace("/", ".")
