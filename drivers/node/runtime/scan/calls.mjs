// What is called by which names, as names.mjs has them.

export const REACHES = /\b(https?|http2|net|tls|dns|dgram|fetch|undici|superagent|needle|axios|request|got|XMLHttpRequest|WebSocket|EventSource|sendBeacon|ws|curl|wget|nodemailer|web-api|web3|discord\.js|telegraf|mongodb|ioredis|ssh2)\b/;
export const PROCESS = /^(child_process\.(exec|execSync|execFile|execFileSync|spawn|spawnSync|fork)|cluster\.fork|process\.dlopen|process\.binding\.(spawn_sync|process_wrap)\..+)$/;
export const NETWORK = /^(https?\.(get|request)|http2\.connect|net\.(connect|createConnection|Socket)|tls\.connect|dns\.(promises\.)?(lookup|resolve\w*|Resolver)|dgram\.createSocket|fetch|node-fetch|undici\.(fetch|request|stream)|superagent(\.\w+)?|needle(\.\w+)?|axios(\.create\(\))?(\.(get|post|put|patch|delete|request))?|request(\.(get|post|put))?|got(\.(get|post|put|patch))?|XMLHttpRequest|WebSocket|EventSource|navigator\.sendBeacon|ws)$/;
// What sends what it is given, on an object that something of the network has made.
export const CONNECTIONS = /^(https?\.(get|request)|http2\.connect|net\.(connect|createConnection|Socket)|tls\.connect|dgram\.createSocket|XMLHttpRequest|WebSocket|ws)\(\)\.(write|end|send)$|^(nodemailer|@slack\/web-api|discord\.js|telegraf|mongodb|ioredis|ssh2)\b.*\.(send\w*|post\w*|insert\w*|set|publish|write|exec)$/;
export const RUNNERS = /^(eval|Function|vm\.(runInThisContext|runInNewContext|runInContext|compileFunction|Script|SourceTextModule)|.*\._compile|worker_threads\.Worker|setTimeout|setInterval|require|module\.require|WebAssembly\.(Module|instantiate|compile))$/;
export const LOADERS = /^(require\.extensions|(.*\.)?_extensions)\.\.\w+$/; // what Node.js loads a file with, by its extension
export const READS = /^(fs|fs-extra|graceful-fs)(\/promises|\.promises)?\.(readFile(Sync)?|createReadStream)$/;
export const INTERNALS = /^process\.binding\.(spawn_sync|process_wrap|tcp_wrap|udp_wrap|pipe_wrap|cares_wrap|js_stream)$/;
export const DATA = /\.(txt|dat|data|bin|log|csv|md|bak|tmp)$/i; // that Node.js takes for JavaScript when they are required
export const DECODERS = /^(atob|zlib\.(inflate|inflateRaw|gunzip|unzip|brotliDecompress)Sync|String\.fromCharCode\.apply)$/;
export const SECRETS = /(\.ssh\b|\.aws\b|\.azure\b|\.gnupg\b|\.pgpass\b|\.config\/gcloud|\/proc\/(self|\d+)\/environ|\.npmrc\b|\.netrc\b|\.docker\/config|\.kube\/config|\.git-credentials|\.bash_history|id_rsa|id_ed25519|\/etc\/(passwd|shadow)|Login Data|wallet\.dat)/;
export const PRIVATE = /\bprocess\b[^]*\benv\b|\benv\b[^]*\bprocess\b|["'`](env|printenv)\b/;
export const TELLS = /^\s*(\/usr\/bin\/|\/bin\/)?(env|printenv|set)\s*($|\|)/; // a program that tells the environment
export const FETCHERS = /\b(curl|wget|nc|ncat|scp)\b/;
export const WHOLE = /^(.*\.stringify|Object\.(keys|entries|values|assign|fromEntries)|.*\.inspect|util\.format|structuredClone|URLSearchParams|Map|v8\.serialize)$/;
export const LATER = /^Promise$|(^|\.)(then|catch|finally|forEach|map|filter|find|some|every|reduce|flatMap|sort|setTimeout|setInterval|setImmediate|nextTick|queueMicrotask|on|once|addListener)$|^fs\.\w+$/; // calls the function that it is given
export const FILLS = /(^|\.)(push|unshift|add|set|append|write|concat|Object\.assign)$/; // gives its object something, or its first argument
export const UNASKED = /^(toString|valueOf|toJSON|Symbol\.\w+)$/; // methods that run by what the language does with an object
