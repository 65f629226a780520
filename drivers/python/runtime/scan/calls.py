"""What functions do, by their names as names.py has them."""

import re

DECODERS = re.compile(r"(base64\.\w*decode\w*|binascii\.(unhexlify|a2b_\w+)|(zlib|gzip|bz2|lzma)\.(decompress|\w*[dD]ecompress\w*\(\)\.decompress)|marshal\.loads|codecs\.(de|en)code|bytes\.fromhex|"
                      r"bytearray\.fromhex|.*\.fromhex|.*Fernet\(?\)?\.decrypt|.*\.b64decode)$")
RUNNERS = {"exec", "eval", "compile", "types.FunctionType", "types.CodeType", "builtins.exec", "builtins.eval", "builtins.compile", "__builtins__.exec",
           "__builtins__.eval", "__builtins__.compile", "execfile", "code.InteractiveInterpreter().runsource", "code.InteractiveInterpreter().runcode", "code.InteractiveConsole().push", "timeit.timeit"}
IMPORTERS = re.compile(r"((__builtins__|builtins|importlib)\.)?__import__$|importlib\.import_module$")
PROCESS = re.compile(r"(os\.(system|popen\w*|exec[lv]\w*|spawn\w+|posix_spawnp?|fork|forkpty)|pty\.(spawn|fork)|"
                     r"(subprocess|commands)\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput)|"
                     r"multiprocessing\.Process|asyncio\.(subprocess\.)?create_subprocess_\w+|posix\.(system|popen|exec\w+|fork|posix_spawnp?)|_posixsubprocess\.fork_exec)$")
LIBRARIES = r"(_?ctypes\.(CDLL|PyDLL|WinDLL|OleDLL|(cdll|pydll|windll|oledll)\.[\w.-]+|LibraryLoader)(\(\))*|ctypes\.pythonapi|.*load_library\(\)|.*FFI\(\)\.dlopen\(\))"
# What functions of libraries are called by when they start others, or are system calls that do something. Of Windows' too.
FOREIGN = re.compile(LIBRARIES + r"\.(system|popen|v?fork|exec[lv]\w*|posix_spawnp?|clone\d?|syscall|memfd_create|ptrace|mprotect|mmap|connect|bind|socket|send\w*|kill|dlopen|dlsym|mount|umount2?|chroot|unshare|"
                     r"setns|set\w{0,3}[ug]id|f?init_module|reboot|unlink|rename|chmod|process_vm_writev|WinExec|ShellExecute\w*|CreateProcess\w*|VirtualAlloc\w*|URLDownloadToFile\w*|PyRun_\w+)$|"
                     r"_ctypes\.(dlopen|dlsym|call_c?function)$")
LOADED = re.compile(LIBRARIES + "$")
# A function at an address, or of a library by its name.
ADDRESSED = re.compile(r"ctypes\.(C|PY|WIN)FUNCTYPE\(\)\(\)$")
LIBRARY = re.compile(r"ctypes\.(CDLL|PyDLL|(cdll|pydll)\.LoadLibrary)$")
NETWORK = re.compile(r"(socket\.(socket|create_connection|create_server|getaddrinfo|gethostbyname\w*)|urllib2?\.(request\.)?(urlopen|urlretrieve)|"
                     r"(http\.client|httplib)\.HTTPS?Connection|(requests|httpx)\.(get|post|put|patch|delete|head|options|request)|aiohttp\.(ClientSession|request)|"
                     r"ftplib\.FTP\w*|smtplib\.SMTP\w*|telnetlib\.Telnet|xmlrpc\.client\.ServerProxy|urllib3\.request|asyncio\.open_connection)$")
# Objects that reach for the network, and their methods that send; of some libraries everything does that is given something.
CONNECTIONS = re.compile(r"(socket\.(socket|create_connection)|(requests|httpx)\.(Session|session|Client|AsyncClient)|aiohttp\.ClientSession|(http\.client|httplib)\.HTTPS?Connection|"
                         r"urllib3\.(PoolManager|HTTPS?ConnectionPool)|ftplib\.FTP\w*|smtplib\.SMTP\w*)\(\)(\.headers)?\.(send\w*|post|put|patch|get|head|delete|request|urlopen|write|stor\w+|putheader|update)$|"
                         r"xmlrpc\.client\.ServerProxy\(\)\.\w+$|(boto3|botocore|paramiko|websockets?|pycurl|dns|httplib2|grpc|redis|pymongo|pika|kafka|slack_sdk|telegram|discord|treq)\..*\.(send\w*|put\w*|post\w*|publish|exec_command|upload\w*|insert\w*|setopt|"
                         r"push|set|resolve\w*|query|write|request|chat_\w+)$")
FETCHERS = re.compile(r"\b(curl|wget|nc|ncat|scp|ftp)\b")
# What makes objects or modules of what a file has.
LOADERS = re.compile(r"(c?pickle|cPickle|_pickle|dill|cloudpickle|joblib|marshal)\.loads?$|(pickle|_pickle|dill)\.Unpickler$|shelve\.open$|runpy\.run_path$|.*\bSource(less)?FileLoader$|.*\bspec_from_file_location$|"
                     r"imp\.load_(source|compiled)$|zipimport\.zipimporter$|.*\.read_pickle$|torch\.load$|numpy\.load$|yaml\.(unsafe_load|load)(_all)?$|jsonpickle\.decode$|sys\.path\.(insert|append)$")
SECRETS = re.compile(r"(environb?\b|(?<![\w.-])\.(ssh|aws|azure|netrc|pypirc|npmrc|gnupg|pgpass|kube|git-credentials|bash_history)\b|\.docker/config|id_rsa|id_ed25519|"
                     r"/etc/(passwd|shadow)|Login Data|wallet\.dat|Local Storage/leveldb|\.config/gcloud)")
WHOLE = {"copy", "items", "values", "keys"}  # of os.environ: all of it
ENVIRONMENTS = ("os.environ", "os.environb", "posix.environ")
# Programs that tell the environment, alone or before a pipe to one that sends it.
TELLS = re.compile(r"\s*(/usr/bin/|/bin/)?(env|printenv|set)\s*($|\|)")
