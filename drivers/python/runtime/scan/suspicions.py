"""What is suspicious in Python code, found by reading it (ast).

There are three questions to each file: is text decoded, or read from a file that is no code, and then run, wherever it is; does importing the module start programs or
reach the network; are secrets read and sent. Code in functions runs at import when something that does calls them: by name, as a decorator, as
what a class is made by, or through another function. Of functions of other modules package.py knows.
"""

import ast
import collections
import functools
import re
import warnings

from text import CLOSER, in_code, invisible
from calls import ADDRESSED, CONNECTIONS, ENVIRONMENTS, FETCHERS, FOREIGN, LIBRARY, LOADED, NETWORK, PROCESS, SECRETS, TELLS, WHOLE
from flow import STORES, Flow
from hidden import Hidden
from names import FUNCTIONS, LITERALS, own, walk
from run import OF_METACLASSES, Running, of_objects
from words import REACHES, plain, worth

# Functions that only look at what they are given.
LOOK = {"isinstance", "issubclass", "hasattr", "getattr", "callable", "type", "id", "print", "repr", "str", "wraps", "update_wrapper", "signature", "getsource", "cast", "setattr"}


def suspicions(content, setup=False):
    """Returns (rule, line, reason) of what is in a file by itself. The functions of a setup.py count as called."""
    found, reader = read(content, setup)
    return found if reader is None else reader.read()


def read(content, setup=False, module="", anyway=False):
    """Reads a file that is worth it, or anyway. Returns what there is to say when it cannot be read, or what its text hides, and its Reader, if it has one."""
    text = plain(content)
    unicode = "" if content.isascii() else content.decode("utf-8", "replace")
    closer = unicode and CLOSER.search(unicode)
    found = [("hidden-code", line, reason) for line, reason in invisible(unicode)]
    if not setup and not anyway and not closer and not worth(text):
        return found, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
        reader = Reader(text, tree, setup, module)
        for rule, line, reason in found:
            reader.found[rule, line] = reason
        for line, reason in in_code(reader.nodes, unicode) if closer else ():
            reader.found.setdefault(("hidden-code", line), reason)
        return found, reader
    except (SyntaxError, ValueError):
        return found, None  # it cannot be imported either
    except (RecursionError, MemoryError):
        return [*found, ("hidden-code", 0, "is nested too deep to be read")], None


TELLS_WORD = re.compile(rb"[\"'](env|printenv)\b")  # of programs that tell secrets


class Reader(Hidden):
    """One module."""

    walk = staticmethod(walk)

    def __init__(self, content, tree, setup, module=""):
        super().__init__(content, tree, module)
        self.setup = setup
        self.found = {}
        self.reaches = REACHES.search(content) is not None
        self.private = self.reaches and SECRETS.search(content.decode("latin-1")) or TELLS_WORD.search(content)  # whether secrets is worth asking

    def add(self, rule, node, reason):
        self.found.setdefault((rule, node.lineno), reason)

    def read(self, effects=(), secrets=()):
        """Returns what is suspicious. Effects has what functions of other modules do, by their names: (rule, phrase) pairs; secrets has those that
        return some."""
        try:
            self.look(effects, secrets)
        except RecursionError:
            return [("hidden-code", 0, "is nested too deep to be read")]
        return [(rule, line, reason) for (rule, line), reason in sorted(self.found.items(), key=lambda item: (item[0][1], item[0][0]))]

    def look(self, effects, secrets):
        calls = [(node, self.callee(node)) for node in self.nodes if isinstance(node, ast.Call)]
        for node, name in calls:
            self.hidden(node, name)
        for node in self.nodes:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                self.decorated(node)
                if self.private and not isinstance(node, ast.ClassDef):
                    self.secrets(walk(node))
        self.at_import(effects)
        if self.reaches and (self.private or any(name in secrets for _, name in calls)):
            told = [line for rule, line in self.found if rule == "secrets"]
            for node, secret, function in Flow(self, secrets).sent():
                if function is None or not any(function.lineno <= line <= function.end_lineno for line in told):
                    self.add("secrets", node, f"sends {secret}, which it reads elsewhere, over the network")
        if self.setup:
            self.hooks(self.nodes)
        self.pushed_aside()

    # ---- what runs at import

    def effect(self, call):
        """Returns the rule and phrase of what a call does to the machine, None for most."""
        name = self.callee(call)
        for base in self.bases(name):
            if PROCESS.match(base):
                return "process", "start", "a program", base
            if FOREIGN.match(base) or ADDRESSED.match(base):
                return "process", "start", "a program or makes a system call", base
            if LIBRARY.match(base) and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value is None):
                return "process", "load", "a shared library", base
            if NETWORK.match(base):
                return "network", "reach", "for the network", base
        return None

    def bases(self, name):
        """A name, and those of other modules that its class inherits from."""
        return [name, *(self.name(base) for one in Running.line_of_bases(self, self.classes[name]) for base in one.bases)] if name in self.classes else [name]

    def mentions(self, node):
        """What a call, or a table, is given that would start a program or reach the network if it were called."""
        if isinstance(node, ast.Call):
            given = [] if self.name(node.func).rpartition(".")[2] in LOOK else [*node.args, *(keyword.value for keyword in node.keywords)]
        else:
            given = (node.values if isinstance(node, ast.Dict) else node.elts) if isinstance(node, LITERALS) else []
        for one in given:
            name = self.name(one) if isinstance(one, (ast.Name, ast.Attribute)) else ""
            if name.rpartition(".")[2].islower() and name != "socket.socket" and (PROCESS.match(name) or NETWORK.match(name)):
                yield one, ("process", "start", "a program", name) if PROCESS.match(name) else ("network", "reach", "for the network", name)

    def at_import(self, effects):
        when = "when it is installed" if self.setup else "when it is imported"
        nodes, told = list(Running(self).of(self.tree.body)), set()
        for node, caller in nodes:
            if isinstance(node, ast.ClassDef):
                self.made_elsewhere(node, effects, when)
            for one, found in self.mentions(node):
                self.tell(one, found, "a function that may be called", when)
            if not isinstance(node, ast.Call):
                continue
            if found := self.effect(node):
                self.tell(node, found, caller and f"in a function that line {caller} calls", when)
            for name in {*self.bases(self.callee(node)), *filter(None, map(self.name, node.args)), *self.of_type(node)}:
                for rule, phrase in effects[name] if name in effects and name not in told else ():
                    self.add(rule, node, f"{phrase} {when} (in {name})")
                told.add(name)
        if self.private:
            self.secrets(node for node, _ in nodes)

    def tell(self, node, effect, where, when):
        rule, verb, what, how = effect
        said = f"may {verb}" if where else verb + ("es" if verb == "reach" else "s")
        self.add(rule, node, f"{said} {what} {when} ({', '.join(filter(None, (how, where)))})")

    def of_type(self, call):
        """What the bases do of a class that is made by a call."""
        bases = call.args[1] if len(call.args) == 3 and self.name(call.func) == "type" else None
        return [self.name(base) + ".__init_subclass__" for base in bases.elts] if isinstance(bases, (ast.Tuple, ast.List)) else []

    def made_elsewhere(self, node, effects, when):
        """What classes of other modules do when this class is made of them."""
        makers = [f"{self.name(base)}.__init_subclass__" for base in node.bases]
        makers += [f"{self.name(k.value)}{method}" for k in node.keywords if k.arg == "metaclass" for method in ("", *("." + m for m in OF_METACLASSES))]
        for maker in makers:
            for rule, phrase in effects[maker] if maker in effects else ():
                self.add(rule, node, f"{phrase} {when} (in {maker})")

    @functools.cached_property
    def does(self):
        """What each function of the module does itself when it runs, by its name: effects as of read, and names of functions that it calls. What a
        function returns has "()" behind the name, as objects of classes have."""
        bodies = collections.defaultdict(list)
        for name, function in self.functions.items():
            bodies[name].append((function, ""))
            bodies[name + "()"] += [(inner, "") for inner in walk(function) if isinstance(inner, (*FUNCTIONS, ast.Lambda)) and inner is not function]
        for name, node in self.classes.items():
            for item in node.body:
                if isinstance(item, FUNCTIONS):
                    for called in [f"{name}.{item.name}", f"{name}().{item.name}", *([name] if of_objects(item.name) else []), *([name + "()"] if item.name == "__call__" else [])]:
                        bodies[called].append((item, name))
        done = {function: self.of_function(function, owner) for pairs in bodies.values() for function, owner in pairs}
        return {name: (set().union(*(done[f][0] for f, _ in pairs)), set().union(*(done[f][1] for f, _ in pairs))) for name, pairs in bodies.items()}

    def of_function(self, function, owner):
        did, called = set(), set()
        for node in own(function):
            if isinstance(node, ast.Call):
                name = self.callee(node)
                if found := self.effect(node):
                    did.add((found[0], f"may {found[1]} {found[2]}"))
                first, _, rest = name.partition(".")
                if first in ("self", "cls") and rest:
                    name = f"{owner}.{rest}"
                called.add(f"{self.module}.{name}" if first.removesuffix("()") in self.functions or first.removesuffix("()") in self.classes or first in ("self", "cls") else name)
        return did, called

    # ---- secrets

    def sends(self, call):
        """Whether a call takes what it is given to the network."""
        name = self.callee(call)
        if NETWORK.match(name) or CONNECTIONS.match(name) and name.partition(".")[0] != self.top:
            return True
        if name.endswith((".communicate", ".stdin.write")):
            name = name.removesuffix(".communicate").removesuffix(".stdin.write").removesuffix("()")
            return bool(PROCESS.match(name)) and FETCHERS.search(self.content.decode("latin-1")) is not None
        return bool(PROCESS.match(name)) and any(FETCHERS.search(text) for text in self.texts(call.args))

    @staticmethod
    def texts(nodes):
        return [node.value for part in nodes for node in walk(part) if isinstance(node, ast.Constant) and isinstance(node.value, str)]

    def secrets(self, nodes):
        """Secrets that are read beside a call of the network, or told and sent by one program."""
        read, network = None, False
        for node in nodes:
            if isinstance(node, ast.Call) and NETWORK.match(name := self.callee(node)):
                network = True
            elif isinstance(node, ast.Call) and PROCESS.match(name) and any(FETCHERS.search(t) and (SECRETS.search(t) or TELLS.match(t)) for t in self.texts(node.args)):
                self.add("secrets", node, "has a program send secrets")
            else:
                read = read or self.secret(node)
        if read and network:
            self.add("secrets", read[0], f"reads {read[1]} and reaches for the network in one go")

    def secret(self, node):
        """Returns where an expression reads a secret, and which."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200 and "environ" not in node.value.replace("/environ", "") and (
                SECRETS.search(node.value) or re.fullmatch(r"/proc/\w+/environ", node.value)):
            return node, repr(node.value)
        taken = []  # whole
        if isinstance(node, ast.Call):
            name = self.callee(node)
            if name.startswith(tuple(e + "." for e in ENVIRONMENTS)) and name.rpartition(".")[2] in WHOLE:
                return node, "the whole environment"
            if PROCESS.match(name) and any(map(TELLS.fullmatch, self.texts(node.args[:1])[:1])):
                return node, "the whole environment"
            if name in ("dict", "str", "repr", "json.dumps", "list", "sorted", "pickle.dumps", "urllib.parse.urlencode", "pprint.pformat") or name.rpartition(".")[2] in STORES:
                taken = [*node.args, *(k.value for k in node.keywords if k.arg is None)]
        elif isinstance(node, (ast.For, ast.comprehension)):
            taken = [node.iter]
        elif isinstance(node, ast.Dict):
            taken = [value for key, value in zip(node.keys, node.values) if key is None]
        elif isinstance(node, ast.keyword) and (node.arg is None or node.arg in ("json", "data", "body")):
            taken = [node.value]
        elif isinstance(node, ast.FormattedValue):
            taken = [node.value]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.Mod)):
            taken = [node.left, node.right]
        return next(((one, "the whole environment") for one in taken if self.name(one) in ENVIRONMENTS), None)

    # ---- setup.py

    def hooks(self, nodes):
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg == "cmdclass":
                self.add("install-hook", node.value, "takes the place of commands of the installation (cmdclass)")


def does(name):
    """Whether what a name stands for does something to the machine when it is called, or is a library that can."""
    return any(pattern.match(name) for pattern in (PROCESS, NETWORK, FOREIGN, LOADED))
