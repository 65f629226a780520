"""What is suspicious in Python code, found by reading it (ast).

There are three questions to each file: is text decoded and then run, wherever it is; does importing the module start programs or reach the
network; does one function read secrets and reach the network. Code in functions runs at import only when the module calls them by name.
"""

import ast
import io
import re
import tokenize
import unicodedata
import warnings


def words(*patterns):
    """Returns patterns with the words that they begin with: to look for a plain word is quick, and most files have few."""
    return [(re.match(rb"\w+", pattern)[0], re.compile(pattern)) for pattern in patterns]


# Only files with one of the first, or one of the second and one of the third, have anything to find; the others need not be parsed.
CALLS = words(rb"os\.(system|popen|exec|spawn|posix_spawn|fork)", rb"import os as\b", rb"from os import\b", rb"subprocess\b", rb"pty\.spawn", rb"from pty\b", rb"CDLL\b", rb"PyDLL\b",
              rb"LoadLibrary\b", rb"socket\b", rb"urlopen\b", rb"urlretrieve\b", rb"httplib\b", rb"http\.client\b", rb"from http\b", rb"requests\b", rb"httpx\b", rb"aiohttp\b", rb"ftplib\b",
              rb"smtplib\b", rb"telnetlib\b", rb"xmlrpc\b", rb"multiprocessing\b", rb"asyncio\b", rb"__import__\b", rb"import_module\b")
RUNS = words(rb"exec\b(?<![.\w]exec)(?<!def exec)", rb"eval\b(?<![.\w]eval)(?<!def eval)", rb"compile[ \t]*\((?<![.\w]compile\()(?<!def compile\()", rb"builtins\b", rb"FunctionType\b",
             rb"CodeType\b")
HIDES = words(rb"decode", rb"b64", rb"fromhex", rb"unhexlify", rb"a2b_", rb"decompress", rb"marshal\b", rb"decrypt", rb"chr\b", rb"getattr\b") + [(b"::-1", re.compile(rb"::-1")), (b"", re.compile(rb"[^\n]{500}"))]
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
    return has(CALLS) or has(RUNS) and has(HIDES) or b" " * 80 in content and ASIDE.search(content)


DECODERS = re.compile(r"(base64\.\w*decode\w*|binascii\.(unhexlify|a2b_\w+)|(zlib|gzip|bz2|lzma)\.decompress|marshal\.loads|codecs\.decode|bytes\.fromhex|"
                      r"bytearray\.fromhex|.*\.fromhex|.*Fernet\(?\)?\.decrypt|.*\.b64decode)$")
RUNNERS = {"exec", "eval", "compile", "types.FunctionType", "types.CodeType", "builtins.exec", "builtins.eval", "builtins.compile", "__builtins__.exec",
           "__builtins__.eval", "execfile"}
PROCESS = re.compile(r"(os\.(system|popen\w*|exec[lv]\w*|spawn\w+|posix_spawnp?|fork|forkpty)|pty\.spawn|"
                     r"(subprocess|commands)\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput)|"
                     r"multiprocessing\.Process|asyncio\.create_subprocess_\w+)$")
LIBRARY = re.compile(r"ctypes\.(CDLL|PyDLL|(cdll|pydll)\.LoadLibrary)$")
NETWORK = re.compile(r"(socket\.(socket|create_connection|create_server|getaddrinfo|gethostbyname\w*)|urllib2?\.(request\.)?(urlopen|urlretrieve)|"
                     r"(http\.client|httplib)\.HTTPS?Connection|(requests|httpx)\.(get|post|put|patch|delete|head|options|request)|aiohttp\.(ClientSession|request)|"
                     r"ftplib\.FTP\w*|smtplib\.SMTP\w*|telnetlib\.Telnet|xmlrpc\.client\.ServerProxy|urllib3\.request)$")
REACHES = re.compile(rb"\b(socket|urllib|urllib2|http|httplib|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|xmlrpc)\b")
SECRETS = re.compile(r"(environ\b|\.ssh\b|\.aws\b|\.netrc\b|\.pypirc\b|\.npmrc\b|\.docker/config|\.kube/config|\.git-credentials|\.bash_history|id_rsa|/etc/(passwd|shadow)|"
                     r"Login Data|wallet\.dat|Local Storage/leveldb)")
WHOLE = {"copy", "items", "values"}  # of os.environ: all of it
LONG = 500  # characters of a literal that is run as it is


def suspicions(content, setup=False):
    """Returns (rule, line, reason) of what is in a file. The functions of a setup.py count as called."""
    text = plain(content)
    if not setup and not worth(text):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return []  # it cannot be imported either
    except (RecursionError, MemoryError):
        return [("hidden-code", 0, "is nested too deep to be read")]
    try:
        return Reader(text, tree, setup).read()
    except RecursionError:
        return [("hidden-code", 0, "is nested too deep to be read")]


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
    def __init__(self, content, tree, setup):
        self.content, self.tree, self.setup = content, tree, setup
        self.names = {}        # what a name stands for, "os.system"
        self.decoded = {}      # names that hold decoded or fetched text: how it came
        self.decoding = {}     # functions that return such text
        self.functions = {}
        self.found = {}
        self.private = REACHES.search(content) and SECRETS.search(content.decode("latin-1"))  # whether secrets is worth asking
        self.called = set()

    def add(self, rule, node, reason):
        self.found.setdefault((rule, node.lineno), reason)

    def read(self):
        nodes = walk(self.tree)
        self.learn(nodes)
        for node in nodes:
            if isinstance(node, ast.Call):
                self.hidden(node)
            elif self.private and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.secrets(walk(node))
        self.at_import(self.tree.body, "when it is installed" if self.setup else "when it is imported")
        if self.setup:
            self.hooks(nodes)
        self.pushed_aside()
        return [(rule, line, reason) for (rule, line), reason in sorted(self.found.items(), key=lambda item: (item[0][1], item[0][0]))]

    # ---- names

    def learn(self, nodes):
        """Notes what names stand for, wherever they are bound: a module seldom uses one name for two things."""
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                        self.functions.setdefault(node.name, item)
        assignments = [node for node in nodes if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)]
        for node in sorted(assignments, key=lambda node: node.lineno):  # what one name holds, the next may be given
            target = node.targets[0].id
            if isinstance(node.value, ast.Lambda) and (how := self.how(node.value.body)):
                self.decoding[target] = how
            elif how := self.how(node.value):
                self.decoded[target] = how
            elif isinstance(node.value, (ast.Name, ast.Attribute, ast.Call)) and target not in self.names:
                name = self.name(node.value)
                if name and (name in RUNNERS or name.split(".")[0] in ("os", "subprocess", "socket", "requests", "base64", "ctypes")):
                    self.names[target] = name
        for name, function in self.functions.items():
            for node in function.body:
                if isinstance(node, ast.Return) and node.value is not None and (how := self.how(node.value)):
                    self.decoding[name] = how

    def name(self, node):
        """Returns what an expression names, with dots, "" when that is not known."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
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
            return called + "()" if called else ""
        return ""

    # ---- text that is decoded, and run

    def how(self, node, depth=0):
        """Returns how an expression gets its text when that hides it, None when it does not."""
        if depth > 20:
            return None
        if isinstance(node, ast.Name):
            return self.decoded.get(node.id)
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
            inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            for part in inner + (node.args if name in ("str", "bytes", "bytearray", "compile", "exec", "eval") or inner else []):
                if how := self.how(part, depth + 1):
                    return how
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

    def hidden(self, call):
        name = self.name(call.func)
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

    def pushed_aside(self):
        for match in ASIDE.finditer(self.content):
            line = self.content.count(b"\n", 0, match.start()) + 1
            self.found.setdefault(("hidden-code", line), "has code behind so many blanks that an editor does not show it")

    # ---- what runs at import

    def at_import(self, body, when):
        nodes = list(self.running(body))
        for node, caller in nodes:
            if not isinstance(node, ast.Call):
                continue
            name = self.name(node.func)
            how = name if caller is None else f"{name}, in a function that line {caller} calls"
            may = "" if caller is None else "may "
            if PROCESS.match(name):
                self.add("process", node, f"{may}start{'' if may else 's'} a program {when} ({how})")
            elif LIBRARY.match(name):
                library = node.args[0] if node.args else None
                if not (isinstance(library, ast.Constant) and library.value is None):
                    self.add("process", node, f"{may}load{'' if may else 's'} a shared library {when} ({how})")
            elif NETWORK.match(name):
                self.add("network", node, f"{may}reach{'' if may else 'es'} for the network {when} ({how})")
        if self.private:
            self.secrets(node for node, _ in nodes)

    def running(self, body):
        """Yields the nodes of what runs when the statements do, each with the line that calls the function it is in, if it is in one."""
        stack = [(node, None) for node in reversed(body)]
        while stack:
            node, caller = stack.pop()
            following = lambda nodes: stack.extend((n, caller) for n in reversed(list(nodes)))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = node.decorator_list + node.args.defaults + [d for d in node.args.kw_defaults if d]
                if self.setup:
                    inner += node.body
                following(inner)
                continue
            if isinstance(node, ast.Lambda):
                continue
            if isinstance(node, ast.If) and self.elsewhere(node.test):
                following(node.orelse)
                continue
            yield node, caller
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.functions and node.func.id not in self.called:
                self.called.add(node.func.id)
                stack.extend((n, caller or node.lineno) for n in reversed(self.functions[node.func.id].body))
            following(ast.iter_child_nodes(node))

    def elsewhere(self, test):
        """Whether a condition is false in a module that is imported."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return any(map(self.elsewhere, test.values))
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
            return not self.setup
        return self.name(test).rpartition(".")[2] == "TYPE_CHECKING"

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
