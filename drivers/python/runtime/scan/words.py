"""Which files have to be parsed: those with words of what is looked for."""

import io
import re
import tokenize
import unicodedata


def words(*patterns):
    """Returns patterns with the words that they begin with: to look for a plain word is quick, and most files have few."""
    return [(re.match(rb"\w+", pattern)[0], re.compile(pattern)) for pattern in patterns]


# Only files with one of the first, or one of the second and one of the third, have anything to find; the others need not be parsed.
CALLS = words(rb"os\.(system|popen|exec|spawn|posix_spawn|fork|__)", rb"os as\b", rb"os(?<=[(\[{=][ ]os)[ \t]*[),\]}\n]", rb"os(?<=[(\[{=]os)[ \t]*[),\]}\n]", rb"from os import\b",
              rb"subprocess\b", rb"pty\.spawn", rb"from pty\b", rb"CDLL\b", rb"PyDLL\b",
              rb"LoadLibrary\b", rb"socket\b", rb"urlopen\b", rb"urlretrieve\b", rb"httplib\b", rb"http\.client\b", rb"from http\b", rb"requests\b", rb"httpx\b", rb"aiohttp\b", rb"ftplib\b",
              rb"smtplib\b", rb"telnetlib\b", rb"xmlrpc\b", rb"multiprocessing\b", rb"asyncio\b", rb"__import__\b", rb"import_module\b", rb"ctypes\b", rb"cffi\b", rb"sys\.modules\[", rb"_posixsubprocess\b",
              rb"posix\b", rb"vars[ \t]*\(", rb"__dict__[ \t]*\[", rb"globals[ \t]*\(\)[ \t]*\[", rb"runsource\b", rb"timeit\b", rb"exec[ \t]*\([ \t]*[rbf]{0,2}[\"'](?<![.\w]exec)",
              rb"eval[ \t]*\([ \t]*[rbf]{0,2}[\"'](?<![.\w]eval)")
RUNS = words(rb"exec\b(?<![.\w]exec)(?<!def exec)", rb"eval\b(?<![.\w]eval)(?<!def eval)", rb"compile[ \t]*\((?<![.\w]compile\()(?<!def compile\()", rb"builtins(__)?\b", rb"FunctionType\b",
             rb"CodeType\b", rb"runsource\b", rb"runcode\b")
LOADS = words(rb"pickle\.loads?\b", rb"cPickle\b", rb"dill\b", rb"from (_|c)?pickle\b", rb"_pickle\b", rb"cloudpickle\b", rb"import pickle as\b", rb"marshal\b", rb"shelve\b", rb"run_path\b",
              rb"SourceFileLoader\b", rb"SourcelessFileLoader\b", rb"spec_from_file_location\b", rb"load_source\b", rb"zipimporter\b", rb"joblib\.load\b", rb"read_pickle\b", rb"allow_pickle\b", rb"torch\.load\b",
              rb"unsafe_load\b", rb"yaml\.load(_all)?\b", rb"UnsafeLoader\b", rb"jsonpickle\b", rb"Unpickler\b", rb"sys\.path\.(insert|append)\([^\n]*[\"']")
READS = words(rb"open\b", rb"read_text\b", rb"read_bytes\b", rb"get_data\b", rb"read_binary\b", rb"readlines\b", rb"readline\b", rb"translate\b", rb"replace\b", rb"bytes\(", rb"__doc__\b", rb"getdoc\b", rb"resource_string\b",
              rb"input\b", rb"getline\b", rb"getlines\b", rb"read\b", rb"connect\b", rb"load\b")
DECORATES = re.compile(rb"^[ \t]*@[ \t]*(exec|eval|compile)\b", re.MULTILINE)
HIDES = words(rb"decode", rb"codecs\b", rb"b64", rb"fromhex", rb"unhexlify", rb"a2b_", rb"decompress", rb"marshal\b", rb"decrypt", rb"chr\b", rb"getattr\b") + [(b"::-1", re.compile(rb"::-1")), (b"", re.compile(rb"[^\n]{500}"))]
CODING = re.compile(rb"coding[:=](?![ \t]*utf-?8)", re.IGNORECASE)
ASIDE = re.compile(rb";[ \t]{80,}[^\s#]")
# Of what reads secrets, and of what reaches for the network: both are needed for secrets to be sent.
READING = re.compile(rb"environb?\b(?![ \t]*(\[|\.get\b|\.setdefault\b|\.pop\b))|\.ssh\b|\.aws\b|\.azure\b|\.netrc\b|\.pypirc\b|\.npmrc\b|\.kube\b|\.gnupg\b|\.pgpass\b|\.docker\b|id_rsa\b|id_ed25519\b|"
                     rb"\.git-credentials\b|/etc/(passwd|shadow)|/environ\b|[\"'](env|printenv)\b|\.bash_history|Login Data|wallet\.dat|\.config/gcloud")
REACHES = re.compile(rb"\b(socket|urllib|urllib2|urllib3|http|httplib|httplib2|requests|httpx|aiohttp|ftplib|smtplib|telnetlib|xmlrpc|boto3|botocore|paramiko|websockets?|pycurl|dns|grpc|redis|pymongo|pika|"
                     rb"kafka|slack_sdk|telegram|discord|treq|curl|wget|ncat|nc)\b")


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
