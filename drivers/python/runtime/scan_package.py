"""What is suspicious in the modules of a package together: a module that calls, when it is imported, what is in another one, and secrets that one
reads and another sends."""

import re

import scan_code
from scan_flow import Flow

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
        self.rest = {}  # modules in which there is nothing to find by themselves: path and content

    def file(self, path, module, content, setup):
        found, reader = scan_code.read(content, setup, module)
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
            effects, secrets, known = self.effects(), self.secrets(), len(self.readers)
            self.by_other_names(effects)
            self.by_other_names(secrets)
            self.read_more([*effects, *secrets])
            if len(self.readers) == known:
                break
        for path, reader in self.readers.values():
            self.tell(path, reader.read(effects, secrets))

    def secrets(self):
        """The functions that return secrets which their module reads."""
        return {exported(f"{module}.{name}") for module, (_, reader) in self.readers.items() if scan_code.READING.search(reader.content) for name in Flow(reader).returning()}

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
                    _, reader = scan_code.read(content, False, module, anyway=True)
                    if reader:
                        more[module] = path, reader
        self.readers.update(more)
        for module in more:
            del self.rest[module]

    def by_other_names(self, known):
        """Adds the names by which modules have what they have imported: others import it from there."""
        for _ in range(3):
            for module, (_, reader) in self.readers.items():
                for name, stands_for in reader.names.items():
                    if stands_for in known:
                        other = exported(f"{module}.{name}")
                        if isinstance(known, dict):
                            known.setdefault(other, known[stands_for])
                        else:
                            known.add(other)


def exported(name):
    """The name by which other modules have something: that of a package is not the one of its file."""
    return name.replace(".__init__.", ".")


def module_of(installed):
    """The name of the module that a file is, where packages usually have it."""
    return re.sub(r"^(src|lib|python)/(?=.)", "", installed).removesuffix("w").removesuffix(".py").replace("/", ".")
