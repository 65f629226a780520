"""Text that is decoded, or read from a file that is no code, and then run, in one module."""

import ast
import re

from calls import DECODERS, IMPORTERS, LOADERS, NETWORK, RUNNERS
from names import Names, backwards, results, walk
from words import ASIDE

CODE_FILES = (".py", ".pyw", ".pyi", ".so", ".pyd", ".pyx")
DATA_FILES = re.compile(r"\.(txt|dat|data|bin|json|ya?ml|csv|ini|cfg|conf|db|sqlite3?|png|jpe?g|gif|ico|bmp|wav|mp3|zip|t?gz|bz2|xz|tar|log|md|rst|pkl|pickle|npy|npz|html?|xml|svg|pdf|toml|tmp|bak)$", re.IGNORECASE)
OPENERS = ("get_data", "read_text", "read_bytes", "read_binary", "open_binary", "open_text", "open", "fdopen", "resource_string", "resource_stream", "get_resource_as_string")
OF_FILE = "read from a file that is no code"
OF_DOCUMENTATION = "taken from documentation"
LONG = 500  # characters of a literal that is run as it is
DEEP = 20


def numbers(node):
    """How text is hidden in the numbers of its characters."""
    if isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) >= 8 and all(isinstance(e, ast.Constant) and isinstance(e.value, int) for e in node.elts):
        return "put together from character codes"
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)) and any(isinstance(n, (ast.BitXor, ast.Sub, ast.Add)) for n in walk(node.elt)):
        return "deciphered byte by byte"
    return None


class Hidden(Names):
    """What a module hides."""

    def __init__(self, content, tree, module):
        super().__init__(tree, module)
        self.content = content
        self.decoded = {}   # names that hold decoded or fetched text: how it came
        self.decoding = {}  # functions that return such text
        for _ in range(2):
            self.follow_text()

    def follow_text(self):
        for target, value in self.bound:
            if target not in self.decoded and (how := self.how(value)) and (how != OF_FILE or isinstance(value, ast.Call) or target.startswith(".") or all(v is value or isinstance(v, ast.Constant) for v in self.values[target])):
                self.decoded[target] = how
        for name, function in self.functions.items():
            if how := next(filter(None, map(self.how, results(function))), None):
                self.decoding[name] = how

    def how(self, node, depth=0):
        """Returns how an expression gets its text when that hides it, None when it does not."""
        if depth > DEEP:
            return None
        depth += 1
        if isinstance(node, ast.Name):
            return OF_DOCUMENTATION if node.id == "__doc__" else self.decoded.get(node.id)
        if isinstance(node, ast.Call):
            return self.how_called(node, depth)
        if isinstance(node, ast.JoinedStr):
            return self.how_any((part.value for part in node.values if isinstance(part, ast.FormattedValue)), depth)
        if isinstance(node, ast.Attribute):
            return OF_DOCUMENTATION if node.attr == "__doc__" else self.decoded.get("." + node.attr) or self.how(node.value, depth)
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Starred, ast.FormattedValue)):
            return self.how(node.value, depth)
        if isinstance(node, ast.Subscript):
            if backwards(node.slice) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes)):
                return "written backwards"
            return self.how(node.value, depth)
        if isinstance(node, ast.BinOp):
            return self.how_any((node.left, node.right), depth)
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return self.how_any((node.body, node.orelse) if isinstance(node, ast.IfExp) else node.values, depth)
        if isinstance(node, (ast.GeneratorExp, ast.ListComp, ast.SetComp)):
            return self.how_any((node.elt, *(generator.iter for generator in node.generators)), depth)
        return None

    def how_any(self, nodes, depth):
        return next(filter(None, (self.how(node, depth) for node in nodes)), None)

    def how_called(self, node, depth):
        name, first = self.callee(node), node.args[0] if node.args else None
        if name in self.decoding:
            return self.decoding[name]
        if DECODERS.match(name):
            return "decoded by " + name.rpartition("?.")[2]
        if NETWORK.match(name):
            return "fetched by " + name
        if name.endswith(".decode") and isinstance(first, ast.Constant) and re.sub(r"[-_]", "", str(first.value)).lower() in ("rot13", "hex", "base64", "zlib", "zip"):
            return "decoded from " + str(first.value)
        if name.endswith(".join") and any(isinstance(n, (ast.Name, ast.Call)) and self.name(n if isinstance(n, ast.Name) else n.func) == "chr" for a in node.args for n in walk(a)):
            return "put together from character codes"
        if name in ("bytes", "bytearray") and node.args and (how := numbers(first)):
            return how
        inner = [node.func.value] if isinstance(node.func, ast.Attribute) else [node.func] if isinstance(node.func, ast.Call) else []
        if inner and isinstance(inner[0], ast.Constant) and isinstance(inner[0].value, (str, bytes)) and node.func.attr in ("replace", "translate") and node.args:
            return f"put together by {node.func.attr}"
        if name == "inspect.getdoc":
            return OF_DOCUMENTATION
        if self.data_file(node, name):
            return OF_FILE
        # What a function of another module makes of hidden text is hidden as well.
        return self.how_any(inner if name in self.functions or name.endswith((".dumps", ".dump")) else [*inner, *node.args, *(keyword.value for keyword in node.keywords)], depth)

    def data_file(self, call, name):
        """Whether a call reads a file of the package's own that has no name of a file of code."""
        last = name.rpartition(".")[2]
        if any(DATA_FILES.search(text) and not text.startswith(".") for text in map(self.text, call.args) if text):
            return True
        if last not in OPENERS:
            return False
        if last.startswith(("read_", "open")) and isinstance(call.func, ast.Attribute) and not name.startswith(("io.", "os.", "codecs.", "gzip.", "bz2.", "lzma.", "tokenize.")):
            return self.own_data([call.func.value, *call.args])
        return self.own_data(call.args[:1] if last == "open" or last == "fdopen" else call.args)

    def own_data(self, parts):
        """Whether a path is of a file beside the module, or is a constant, and the file is none of code."""
        nodes = [node for part in parts for node in walk(part)]
        nodes += [node for name in nodes if isinstance(name, ast.Name) and len(self.values.get(name.id, ())) == 1 for node in walk(self.values[name.id][0])]
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\w", node.value)]
        texts = [text for text in texts if text not in ("r", "rb", "rt", "utf-8", "utf8", "ascii", "latin-1", "latin1")]
        if any(text.endswith(CODE_FILES) for text in texts) and not any(map(DATA_FILES.search, texts)):
            return False
        return any("." in text.rpartition("/")[2] for text in texts) or bool(texts) and any(isinstance(node, ast.Name) and node.id in ("__file__", "__path__", "__package__", "__name__") for node in nodes)

    # ---- what runs it

    def decorated(self, node):
        for decorator in node.decorator_list:
            if self.name(decorator) in RUNNERS:
                self.add("hidden-code", node, f"runs what a decorator makes of it: @{self.name(decorator)}")

    def hidden(self, call, name):
        if name.rpartition(".")[2] in ("map", "filter", "partial", "Thread", "Timer", "reduce", "starmap", "call"):
            self.hidden_given(call)
        if LOADERS.match(name):
            self.loads(call, name)
        if name in RUNNERS and call.args:
            if how := self.how(call.args[0]):
                self.add("hidden-code", call, f"{name} runs text that is {how}")
            elif name.endswith(("exec", "eval")) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, (str, bytes)) \
                    and len(call.args[0].value) > LONG and call.args[0].lineno == call.args[0].end_lineno:
                self.add("hidden-code", call, f"{name} runs a literal of {len(call.args[0].value)} characters in one line")
        elif IMPORTERS.match(name) and call.args and (how := self.how(call.args[0])):
            self.add("hidden-code", call, f"imports a module whose name is {how}")
        if isinstance(call.func, ast.Call) and self.name(call.func.func) == "getattr" and len(call.func.args) > 1 and not isinstance(call.func.args[1], (ast.Constant, ast.Name)) \
                and self.name(call.func.args[0]) in ("__builtins__", "builtins", "__import__()", "builtins()"):
            self.add("hidden-code", call, "calls a function of the language by a name that is computed")

    def hidden_given(self, call):
        """Text that a call gives to exec, which it is given as well."""
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        runs = [argument for argument in arguments if self.name(argument) in RUNNERS]
        if runs and (how := next(filter(None, (self.how(part) for a in arguments if a not in runs for part in walk(a))), None)):
            self.add("hidden-code", call, f"{self.name(runs[0])} runs text that is {how}")

    def loads(self, call, name):
        """Objects or modules that are made of a file of the package's that is no code, of a literal, or of what was fetched."""
        last, keywords = name.rpartition(".")[2], {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "numpy.load" and not getattr(keywords.get("allow_pickle"), "value", False) or name == "torch.load" and getattr(keywords.get("weights_only"), "value", False) \
                or re.match(r"yaml\.load", name) and not re.search(r"(^|\.)(Unsafe|Full)?Loader$", self.name(keywords.get("Loader") or (call.args[1] if len(call.args) > 1 else None))):
            return
        if name.startswith("sys.path."):
            if any(re.search(r"\.(zip|whl|egg|dat|bin|png|data)$", text) for text in map(self.text, call.args) if text):
                self.add("hidden-code", call, "imports modules from an archive")
        elif last in ("run_path", "zipimporter", "load_source", "load_compiled", "SourceFileLoader", "SourcelessFileLoader", "spec_from_file_location", "open", "read_pickle") or name in ("numpy.load", "torch.load", "joblib.load"):
            at = 1 if last.startswith(("load_s", "load_c", "Source", "spec_")) else 0
            paths = call.args[at : at + 1] or [value for arg, value in keywords.items() if arg in ("path", "location", "pathname", "filename", "path_name")]
            if self.own_data(paths):
                self.add("hidden-code", call, f"{name} loads code from a file that is none")
        elif call.args:
            self.loads_text(call, name)

    def loads_text(self, call, name):
        text = self.text(call.args[0])
        if text is not None and name != "jsonpickle.decode" and not name.startswith("yaml."):
            self.add("hidden-code", call, f"{name} makes objects of a literal, and runs what that says")
        elif (how := self.how(call.args[0])) and (how == OF_FILE or how.startswith("fetched") or any(len(self.text(node) or "") > 40 for node in walk(call.args[0]))):
            self.add("hidden-code", call, f"{name} makes objects of what is {how}, and runs what that says")

    def pushed_aside(self):
        for match in ASIDE.finditer(self.content):
            line = self.content.count(b"\n", 0, match.start()) + 1
            self.found.setdefault(("hidden-code", line), "has code behind so many blanks that an editor does not show it")
