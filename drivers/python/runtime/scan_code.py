"""What is suspicious in Python code, found by reading it (ast).

There are three questions to each file: is text decoded, or read from a file that is no code, and then run, wherever it is; does importing the module start programs or
reach the network; are secrets read and sent. Code in functions runs at import when something that does calls them: by name, as a decorator, as
what a class is made by, or through another function. Of functions of other modules scan_package.py knows.
"""

import ast
import collections
import functools
import io
import re
import tokenize
import unicodedata
import warnings

import scan_text
from scan_flow import Flow
from scan_run import OF_METACLASSES, Running


def words(*patterns):
    """Returns patterns with the words that they begin with: to look for a plain word is quick, and most files have few."""
    return [(re.match(rb"\w+", pattern)[0], re.compile(pattern)) for pattern in patterns]


# Only files with one of the first, or one of the second and one of the third, have anything to find; the others need not be parsed.
CALLS = words(rb"os\.(system|popen|exec|spawn|posix_spawn|fork)", rb"import os as\b", rb"from os import\b", rb"subprocess\b", rb"pty\.spawn", rb"from pty\b", rb"CDLL\b", rb"PyDLL\b",
              rb"LoadLibrary\b", rb"socket\b", rb"urlopen\b", rb"urlretrieve\b", rb"httplib\b", rb"http\.client\b", rb"from http\b", rb"requests\b", rb"httpx\b", rb"aiohttp\b", rb"ftplib\b",
              rb"smtplib\b", rb"telnetlib\b", rb"xmlrpc\b", rb"multiprocessing\b", rb"asyncio\b", rb"__import__\b", rb"import_module\b", rb"ctypes\b", rb"cffi\b", rb"sys\.modules\[", rb"_posixsubprocess\b",
              rb"posix\b", rb"vars[ \t]*\(", rb"__dict__[ \t]*\[")
RUNS = words(rb"exec\b(?<![.\w]exec)(?<!def exec)", rb"eval\b(?<![.\w]eval)(?<!def eval)", rb"compile[ \t]*\((?<![.\w]compile\()(?<!def compile\()", rb"builtins\b", rb"FunctionType\b",
             rb"CodeType\b")
LOADS = words(rb"pickle\.loads?\b", rb"cPickle\b", rb"dill\b", rb"from pickle\b", rb"import pickle as\b", rb"marshal\b", rb"shelve\b", rb"run_path\b", rb"SourceFileLoader\b", rb"SourcelessFileLoader\b", rb"spec_from_file_location\b",
              rb"load_source\b", rb"zipimporter\b", rb"joblib\.load\b")
READS = words(rb"open\b", rb"read_text\b", rb"read_bytes\b", rb"get_data\b", rb"read_binary\b", rb"readlines?\b", rb"translate\b", rb"replace\b", rb"bytes\(")
DECORATES = re.compile(rb"^[ \t]*@[ \t]*(exec|eval|compile)\b", re.MULTILINE)
HIDES = words(rb"decode", rb"codecs\b", rb"b64", rb"fromhex", rb"unhexlify", rb"a2b_", rb"decompress", rb"marshal\b", rb"decrypt", rb"chr\b", rb"getattr\b") + [(b"::-1", re.compile(rb"::-1")), (b"", re.compile(rb"[^\n]{500}"))]
CODING = re.compile(rb"coding[:=](?![ \t]*utf-?8)", re.IGNORECASE)
ASIDE = re.compile(rb";[ \t]{80,}[^\s#]")


def plain(content):
    """Returns the text of a file as Python reads it: out of its own encoding, and with other forms of letters, which names may have, as the plain ones."""
    if content.isascii() and not any(map(CODING.search, content.split(b"\n", 2)[:2])):
        return content
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return unicodedata.normalize("NFKC", content.decode(encoding)).encode("utf-8", "replace")
    except (SyntaxError, ValueError, LookupError):
        return content  # it cannot be imported either


def worth(content):
    """Whether a file has to be parsed."""
    has = lambda some: any(word in content and pattern.search(content) for word, pattern in some)
    return has(CALLS) or has(LOADS) or has(RUNS) and (has(HIDES) or has(READS) or DECORATES.search(content)) or b" " * 80 in content and ASIDE.search(content) or READING.search(content)


DECODERS = re.compile(r"(base64\.\w*decode\w*|binascii\.(unhexlify|a2b_\w+)|(zlib|gzip|bz2|lzma)\.(decompress|\w*[dD]ecompress\w*\(\)\.decompress)|marshal\.loads|codecs\.(de|en)code|bytes\.fromhex|"
                      r"bytearray\.fromhex|.*\.fromhex|.*Fernet\(?\)?\.decrypt|.*\.b64decode)$")
RUNNERS = {"exec", "eval", "compile", "types.FunctionType", "types.CodeType", "builtins.exec", "builtins.eval", "builtins.compile", "__builtins__.exec",
           "__builtins__.eval", "execfile"}
PROCESS = re.compile(r"(os\.(system|popen\w*|exec[lv]\w*|spawn\w+|posix_spawnp?|fork|forkpty)|pty\.spawn|"
                     r"(subprocess|commands)\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput)|"
                     r"multiprocessing\.Process|asyncio\.create_subprocess_\w+|posix\.(system|exec\w+|fork|posix_spawnp?)|_posixsubprocess\.fork_exec)$")
# What a program of a library is called by when it starts others, or is a system call. Of Windows' too.
FOREIGN = re.compile(r"(ctypes\.(CDLL|PyDLL|WinDLL|OleDLL|(cdll|pydll|windll|oledll)\.[\w.-]+|LibraryLoader)(\(\))*|ctypes\.pythonapi|.*FFI\(\)\.dlopen\(\))\."
                     r"(system|popen|v?fork|exec[lv]\w*|posix_spawnp?|clone|syscall|memfd_create|ptrace|mprotect|connect|WinExec|ShellExecute\w*|CreateProcess\w*|URLDownloadToFile\w*|PyRun_\w+)$")
LIBRARY = re.compile(r"ctypes\.(CDLL|PyDLL|(cdll|pydll)\.LoadLibrary)$")
NETWORK = re.compile(r"(socket\.(socket|create_connection|create_server|getaddrinfo|gethostbyname\w*)|urllib2?\.(request\.)?(urlopen|urlretrieve)|"
                     r"(http\.client|httplib)\.HTTPS?Connection|(requests|httpx)\.(get|post|put|patch|delete|head|options|request)|aiohttp\.(ClientSession|request)|"
                     r"ftplib\.FTP\w*|smtplib\.SMTP\w*|telnetlib\.Telnet|xmlrpc\.client\.ServerProxy|urllib3\.request)$")
# Objects that reach for the network, and their methods that send.
CONNECTIONS = re.compile(r"(socket\.(socket|create_connection)|(requests|httpx)\.(Session|session|Client|AsyncClient)|aiohttp\.ClientSession|(http\.client|httplib)\.HTTPS?Connection|"
                         r"urllib3\.(PoolManager|HTTPS?ConnectionPool)|ftplib\.FTP\w*|smtplib\.SMTP\w*|xmlrpc\.client\.ServerProxy)\(\)\.(send\w*|post|put|patch|get|head|delete|request|urlopen|write|stor\w+|putheader)$")
FETCHERS = re.compile(r"\b(curl|wget|nc|ncat|scp|ftp)\b")
# Of programs that are given a secret.
READING = re.compile(rb"environ\b(?![ \t]*(\[|\.get\b|\.setdefault\b|\.pop\b))|\.ssh\b|\.aws\b|\.netrc\b|\.pypirc\b|id_rsa\b|\.git-credentials\b|/etc/(passwd|shadow)")
# What makes objects or modules of what a file has.
LOADERS = re.compile(r"(c?pickle|cPickle|_pickle|dill|cloudpickle|joblib|marshal)\.loads?$|(pickle|_pickle|dill)\.Unpickler$|shelve\.open$|runpy\.run_path$|.*\bSource(less)?FileLoader$|.*\bspec_from_file_location$|"
                     r"imp\.load_(source|compiled)$|zipimport\.zipimporter$")
CODE_FILES = (".py", ".pyw", ".pyi", ".so", ".pyd", ".pyx")
REACHES = re.compile(rb"\b(socket|urllib|urllib2|http|httplib|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|xmlrpc)\b")
SECRETS = re.compile(r"(environ\b|\.ssh\b|\.aws\b|\.netrc\b|\.pypirc\b|\.npmrc\b|\.docker/config|\.kube/config|\.git-credentials|\.bash_history|id_rsa|/etc/(passwd|shadow)|"
                     r"Login Data|wallet\.dat|Local Storage/leveldb)")
WHOLE = {"copy", "items", "values"}  # of os.environ: all of it
OF_FILE = "read from a file that is no code"
LONG = 500  # characters of a literal that is run as it is
KNOWN = ("os", "posix", "subprocess", "socket", "requests", "httpx", "aiohttp", "urllib", "urllib3", "http", "base64", "ctypes", "pickle", "marshal", "builtins", "smtplib", "ftplib")


def bindings(node):
    """Returns (name, value) of what a statement binds: also names in tuples, of files that are opened, and attributes of self."""
    if isinstance(node, ast.Assign):
        pairs = []
        for target in node.targets:
            if isinstance(target, (ast.Tuple, ast.List)) and isinstance(node.value, (ast.Tuple, ast.List)) and len(target.elts) == len(node.value.elts):
                pairs += zip(target.elts, node.value.elts)
            else:
                pairs.append((target, node.value))
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
        pairs = [(node.target, node.value)]
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        pairs = [(item.optional_vars, item.context_expr) for item in node.items if item.optional_vars is not None]
    else:
        return []
    return [(target.id, value) for target, value in pairs if isinstance(target, ast.Name)]


def numbers(node):
    """How text is hidden in the numbers of its characters."""
    if isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) >= 8 and all(isinstance(e, ast.Constant) and isinstance(e.value, int) for e in node.elts):
        return "put together from character codes"
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)) and any(isinstance(n, (ast.BitXor, ast.Sub, ast.Add)) for n in walk(node.elt)):
        return "deciphered byte by byte"
    return None


def suspicions(content, setup=False):
    """Returns (rule, line, reason) of what is in a file by itself. The functions of a setup.py count as called."""
    found, reader = read(content, setup)
    return found if reader is None else reader.read()


def read(content, setup=False, module="", anyway=False):
    """Reads a file that is worth it, or anyway. Returns what there is to say when it cannot be read, or what its text hides, and its Reader, if it has one."""
    text = plain(content)
    unicode = "" if content.isascii() else content.decode("utf-8", "replace")
    alike = unicode and scan_text.ALIKES.search(unicode)
    found = [("hidden-code", line, reason) for line, reason in scan_text.invisible(unicode)]
    if not setup and not anyway and not alike and not worth(text):
        return found, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
        reader = Reader(text, tree, setup, module)
        for rule, line, reason in found:
            reader.found[rule, line] = reason
        for line, reason in scan_text.lookalikes(reader.nodes) if alike else ():
            reader.found.setdefault(("hidden-code", line), reason)
        return found, reader
    except (SyntaxError, ValueError):
        return found, None  # it cannot be imported either
    except (RecursionError, MemoryError):
        return [*found, ("hidden-code", 0, "is nested too deep to be read")], None


def walk(root):
    """Returns all nodes below a node, in no order: ast.walk takes twice the time."""
    nodes, stack = [], [root]
    while stack:
        node = stack.pop()
        nodes.append(node)
        for value in node.__dict__.values():
            if isinstance(value, ast.AST):
                stack.append(value)
            elif isinstance(value, list):
                stack.extend(item for item in value if isinstance(item, ast.AST))
    return nodes


class Reader:
    """One module. Its name, with dots, tells what its imports from beside it are of; names of its own functions are plain."""

    walk = staticmethod(walk)

    def __init__(self, content, tree, setup, module=""):
        self.content, self.tree, self.setup, self.module = content, tree, setup, module
        self.nodes = walk(tree)
        self.names = {}        # what a name stands for, "os.system"
        self.stars = []        # modules of which all names were imported
        self.decoded = {}      # names that hold decoded or fetched text: how it came
        self.decoding = {}     # functions that return such text
        self.functions, self.classes = {}, {}
        self.found = {}
        self.reaches = REACHES.search(content) is not None
        self.private = REACHES.search(content) and SECRETS.search(content.decode("latin-1"))  # whether secrets is worth asking
        self.learn()
        self.calls = [(node, self.name(node.func)) for node in self.nodes if isinstance(node, ast.Call)]
        self.called = {name for _, name in self.calls}

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
        for node, name in self.calls:
            self.hidden(node, name)
        for node in self.nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.decorated(node)
                if self.private and not isinstance(node, ast.ClassDef):
                    self.secrets(walk(node))
        self.at_import(effects)
        if self.reaches and (self.private or not self.called.isdisjoint(secrets)):
            told = [line for rule, line in self.found if rule == "secrets"]
            for node, secret, function in Flow(self, secrets).sent():
                if function is None or not any(function.lineno <= line <= function.end_lineno for line in told):
                    self.add("secrets", node, f"sends {secret}, which it reads elsewhere, over the network")
        if self.setup:
            self.hooks(self.nodes)
        self.pushed_aside()

    # ---- names

    def learn(self):
        """Notes what names stand for, wherever they are bound: a module seldom uses one name for two things."""
        methods = set()
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                methods.update(item for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)))
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom):
                self.learn_from(node)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node not in methods:
                self.functions[node.name] = node
        bound = [pair for node in self.nodes for pair in bindings(node)]
        self.bound = collections.Counter(target for target, _ in bound)
        for target, value in sorted(bound, key=lambda pair: pair[1].lineno):  # what one name holds, the next may be given
            if isinstance(value, ast.Lambda) and (how := self.how(value.body)):
                self.decoding[target] = how
            elif (how := self.how(value)) and (how != OF_FILE or self.bound[target] == 1):
                self.decoded[target] = how
            if isinstance(value, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) and target not in self.names:
                name = self.name(value)
                first = name.partition(".")[0].rstrip("()")
                if name and (name in RUNNERS or first in KNOWN or first in self.classes or first in self.functions and not name.endswith("()")):
                    self.names[target] = name
        for name, function in self.functions.items():
            for node in walk(function):
                if isinstance(node, ast.Return) and node.value is not None and (how := self.how(node.value)):
                    self.decoding[name] = how

    def learn_from(self, node):
        module = node.module or ""
        if node.level:
            above = self.module.split(".")[: -node.level] if self.module else []
            module = ".".join(above + ([module] if module else [])) or "." + module
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.names[alias.asname or alias.name] = f"{module}.{alias.name}"

    def name(self, node):
        """Returns what an expression names, with dots, "" when that is not known."""
        if isinstance(node, ast.Name):
            if node.id not in self.names and node.id not in self.functions:
                for module in self.stars:
                    if PROCESS.match(f"{module}.{node.id}") or NETWORK.match(f"{module}.{node.id}"):
                        return f"{module}.{node.id}"
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Subscript):
            return self.item(node)
        if isinstance(node, ast.Attribute):
            below = self.name(node.value)
            return f"{below}.{node.attr}" if below else f"?.{node.attr}"
        if isinstance(node, ast.Call):
            called = self.name(node.func)
            first = node.args[0] if node.args else None
            if called in ("__import__", "importlib.import_module") and isinstance(first, ast.Constant) and isinstance(first.value, str):
                return first.value
            if called == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                return f"{self.name(first)}.{node.args[1].value}"
            if called == "vars" and first is not None:
                return self.name(first) + ".__dict__"
            if called in ("globals", "locals"):
                return "__dict__"
            return called + "()" if called else ""
        return ""

    def item(self, node):
        """What a constant index of a table of modules or names stands for."""
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        below = self.name(node.value)
        if not isinstance(key, str) or not below:
            return ""
        if below == "sys.modules":
            return key
        if below == "__dict__":
            return self.names.get(key, key)
        return f"{below.removesuffix('.__dict__')}.{key}"

    # ---- text that is decoded, and run

    def how(self, node, depth=0):
        """Returns how an expression gets its text when that hides it, None when it does not."""
        if depth > 20:
            return None
        if isinstance(node, ast.Name):
            return self.decoded.get(node.id)
        if isinstance(node, ast.NamedExpr):
            return self.how(node.value, depth + 1)
        if isinstance(node, ast.Call):
            name = self.name(node.func)
            if name in self.decoding:
                return self.decoding[name]
            if DECODERS.match(name):
                return "decoded by " + name.rpartition("?.")[2]
            if NETWORK.match(name):
                return "fetched by " + name
            if name.endswith(".decode") and node.args and isinstance(node.args[0], ast.Constant) and \
                    re.sub(r"[-_]", "", str(node.args[0].value)).lower() in ("rot13", "hex", "base64", "zlib", "zip"):
                return "decoded from " + str(node.args[0].value)
            if name.endswith(".join") and any(isinstance(n, (ast.Name, ast.Call)) and self.name(n if isinstance(n, ast.Name) else n.func) == "chr" for a in node.args for n in walk(a)):
                return "put together from character codes"
            if name in ("bytes", "bytearray") and node.args and (how := numbers(node.args[0])):
                return how
            inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            if inner and isinstance(inner[0], ast.Constant) and isinstance(inner[0].value, (str, bytes)) and node.func.attr in ("replace", "translate") and node.args:
                return f"put together by {node.func.attr}"
            if self.data_file(node, name):
                return OF_FILE
            for part in inner + (node.args if name in ("str", "bytes", "bytearray", "compile", "exec", "eval", "memoryview", "map", "reversed") or inner else []):
                if how := self.how(part, depth + 1):
                    return how
        if isinstance(node, ast.JoinedStr):
            return next((how for part in node.values if isinstance(part, ast.FormattedValue) and (how := self.how(part.value, depth + 1))), None)
        if isinstance(node, (ast.Attribute, ast.Await, ast.Starred)):
            return self.how(node.value, depth + 1)
        if isinstance(node, ast.Subscript):
            s = node.slice
            if isinstance(s, ast.Slice) and s.lower is None and s.upper is None and isinstance(s.step, ast.UnaryOp) and isinstance(s.step.op, ast.USub):
                if isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes)):
                    return "written backwards"
            return self.how(node.value, depth + 1)
        if isinstance(node, ast.BinOp):
            return self.how(node.left, depth + 1) or self.how(node.right, depth + 1)
        return None

    def data_file(self, call, name):
        """Whether a call reads a file of the package's own that has no name of a file of code."""
        last = name.rpartition(".")[2]
        if last in ("get_data", "read_text", "read_bytes", "read_binary", "open_binary", "open_text", "open", "fdopen"):
            if last.startswith(("read_", "open")) and isinstance(call.func, ast.Attribute) and not name.startswith(("io.", "os.", "codecs.", "gzip.", "bz2.", "lzma.", "tokenize.")):
                return self.own_data([call.func.value, *call.args])
            return self.own_data(call.args[:1] if last == "open" or last == "fdopen" else call.args) or last == "get_data" and self.own_data(call.args)
        return False

    def own_data(self, parts):
        """Whether a path is of a file beside the module, or is a constant, and the file is none of code."""
        nodes = [node for part in parts for node in walk(part)]
        nodes += [node for name in nodes if isinstance(name, ast.Name) for value in self.paths.get(name.id, ()) if self.bound[name.id] == 1 for node in walk(value)]
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\w", node.value)]
        texts = [text for text in texts if text not in ("r", "rb", "rt", "utf-8", "utf8", "ascii", "latin-1", "latin1")]
        if any(text.endswith(CODE_FILES) for text in texts):
            return False
        return any("." in text.rpartition("/")[2] for text in texts) or bool(texts) and any(isinstance(node, ast.Name) and node.id in ("__file__", "__path__", "__package__", "__name__") for node in nodes)

    @functools.cached_property
    def paths(self):
        """What names are given, to find out which file is read."""
        found = {}
        for node in self.nodes:
            for target, value in bindings(node):
                found.setdefault(target, []).append(value)
        return found

    def decorated(self, node):
        for decorator in node.decorator_list:
            if self.name(decorator) in RUNNERS:
                self.add("hidden-code", node, f"runs what a decorator makes of it: @{self.name(decorator)}")

    def hidden(self, call, name):
        if name.rpartition(".")[2] in ("map", "filter", "partial", "Thread", "Timer", "reduce", "starmap") and (given := [a for a in [*call.args, *(k.value for k in call.keywords)] if self.name(a) in RUNNERS]):
            for part in [part for argument in [*call.args, *(k.value for k in call.keywords)] if argument not in given for part in walk(argument)]:
                if how := self.how(part):
                    self.add("hidden-code", call, f"{self.name(given[0])} runs text that is {how}")
                    break
        if LOADERS.match(name):
            self.loads(call, name)
        if name in RUNNERS and call.args:
            if how := self.how(call.args[0]):
                self.add("hidden-code", call, f"{name} runs text that is {how}")
            elif name.endswith(("exec", "eval")) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, (str, bytes)) \
                    and len(call.args[0].value) > LONG and call.args[0].lineno == call.args[0].end_lineno:
                self.add("hidden-code", call, f"{name} runs a literal of {len(call.args[0].value)} characters in one line")
        elif name in ("__import__", "importlib.import_module") and call.args and (how := self.how(call.args[0])):
            self.add("hidden-code", call, f"imports a module whose name is {how}")
        if isinstance(call.func, ast.Call) and self.name(call.func.func) == "getattr" and len(call.func.args) > 1 and not isinstance(call.func.args[1], (ast.Constant, ast.Name)) \
                and self.name(call.func.args[0]) in ("__builtins__", "builtins", "__import__()", "builtins()"):
            self.add("hidden-code", call, "calls a function of the language by a name that is computed")

    def loads(self, call, name):
        """Objects or modules that are made of a file of the package's that is no code, of a literal, or of what was fetched."""
        last = name.rpartition(".")[2]
        if last in ("run_path", "zipimporter", "load_source", "load_compiled", "SourceFileLoader", "SourcelessFileLoader", "spec_from_file_location", "open"):
            at = 0 if last in ("run_path", "zipimporter", "open") else 1
            paths = call.args[at : at + 1] or [k.value for k in call.keywords if k.arg in ("path", "location", "pathname", "filename", "path_name")]
            if self.own_data(paths):
                self.add("hidden-code", call, f"{name} loads code from a file that is none")
        elif call.args:
            if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, bytes):
                self.add("hidden-code", call, f"{name} makes objects of a literal, and runs what that says")
            elif (how := self.how(call.args[0])) and (how == OF_FILE or how.startswith("fetched") or any(isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and len(node.value) > 40 for node in walk(call.args[0]))):
                self.add("hidden-code", call, f"{name} makes objects of what is {how}, and runs what that says")

    def pushed_aside(self):
        for match in ASIDE.finditer(self.content):
            line = self.content.count(b"\n", 0, match.start()) + 1
            self.found.setdefault(("hidden-code", line), "has code behind so many blanks that an editor does not show it")

    # ---- what runs at import

    def effect(self, call):
        """Returns the rule and phrase of what a call does to the machine, None for most."""
        name = self.name(call.func)
        if PROCESS.match(name):
            return "process", "start", "a program", name
        if FOREIGN.match(name):
            return "process", "start", "a program or makes a system call", name
        if LIBRARY.match(name):
            library = call.args[0] if call.args else None
            if not (isinstance(library, ast.Constant) and library.value is None):
                return "process", "load", "a shared library", name
        if NETWORK.match(name):
            return "network", "reach", "for the network", name
        return None

    def at_import(self, effects):
        when = "when it is installed" if self.setup else "when it is imported"
        nodes, told = list(Running(self).of(self.tree.body)), set()
        for node, caller in nodes:
            if isinstance(node, ast.ClassDef):
                self.made_elsewhere(node, effects, when)
            if not isinstance(node, ast.Call):
                continue
            name, found = self.name(node.func), self.effect(node)
            if found:
                rule, verb, what, how = found
                how = how if caller is None else f"{how}, in a function that line {caller} calls"
                said = f"may {verb}" if caller else verb + ("es" if verb == "reach" else "s")
                self.add(rule, node, f"{said} {what} {when} ({how})")
            for rule, phrase in effects[name] if name in effects and name not in told else ():
                self.add(rule, node, f"{phrase} {when} (in {name})")
            told.add(name)
        if self.private:
            self.secrets(node for node, _ in nodes)

    def made_elsewhere(self, node, effects, when):
        """What classes of other modules do when this class is made of them."""
        makers = [f"{self.name(base)}.__init_subclass__" for base in node.bases]
        makers += [f"{self.name(k.value)}{method}" for k in node.keywords if k.arg == "metaclass" for method in ("", *("." + m for m in OF_METACLASSES))]
        for maker in makers:
            for rule, phrase in effects[maker] if maker in effects else ():
                self.add(rule, node, f"{phrase} {when} (in {maker})")

    @functools.cached_property
    def does(self):
        """What each function of the module does itself when it runs, by its name: effects as of read, and names of functions that it calls."""
        bodies = dict(self.functions)
        for name, node in self.classes.items():
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    bodies[f"{name}.{item.name}"] = bodies[f"{name}().{item.name}"] = item
                    if item.name in ("__init__", "__new__"):
                        bodies[name] = item
        by_function = {function: name for name, function in bodies.items()}
        done = {function: self.of_function(function, name.partition(".")[0].removesuffix("()")) for function, name in by_function.items()}
        return {name: done[function] for name, function in bodies.items()}

    def of_function(self, function, owner):
        did, called = set(), set()
        for node in Flow.own(function):
            if isinstance(node, ast.Call):
                name = self.name(node.func)
                if found := self.effect(node):
                    did.add((found[0], f"may {found[1]} {found[2]}"))
                first, _, rest = name.partition(".")
                if first in ("self", "cls") and rest:
                    name = f"{owner}.{rest}"
                called.add(f"{self.module}.{name}" if first.removesuffix("()") in self.functions or first.removesuffix("()") in self.classes or first in ("self", "cls") else name)
        return did, called

    def sends(self, call):
        """Whether a call takes what it is given to the network."""
        name = self.name(call.func)
        if NETWORK.match(name) or CONNECTIONS.match(name):
            return True
        return bool(PROCESS.match(name)) and any(isinstance(node, ast.Constant) and isinstance(node.value, str) and FETCHERS.search(node.value) for part in call.args for node in walk(part))

    def secrets(self, nodes):
        """Secrets that are read beside a call of the network."""
        read, network = None, False
        for node in nodes:
            if isinstance(node, ast.Call) and NETWORK.match(self.name(node.func)):
                network = True
            else:
                read = read or self.secret(node)
        if read and network:
            self.add("secrets", read[0], f"reads {read[1]} and reaches for the network in one go")

    def secret(self, node):
        """Returns where an expression reads a secret, and which."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200 and "environ" not in node.value and SECRETS.search(node.value):
            return node, repr(node.value)
        taken = []  # whole
        if isinstance(node, ast.Call):
            name = self.name(node.func)
            if name.startswith("os.environ.") and name.rpartition(".")[2] in WHOLE:
                return node, "the whole environment"
            if name in ("dict", "str", "repr", "json.dumps", "list"):
                taken = node.args[:1]
        elif isinstance(node, (ast.For, ast.comprehension)):
            taken = [node.iter]
        elif isinstance(node, ast.Dict):
            taken = [value for key, value in zip(node.keys, node.values) if key is None]
        elif isinstance(node, ast.keyword) and node.arg is None:
            taken = [node.value]
        return next(((one, "the whole environment") for one in taken if self.name(one) == "os.environ"), None)

    # ---- setup.py

    def hooks(self, nodes):
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg == "cmdclass":
                self.add("install-hook", node.value, "takes the place of commands of the installation (cmdclass)")
