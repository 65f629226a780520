-- What every process of the Lua driver runs: `luajit loop.lua LIBRARY`, LIBRARY being libpipsqueak-enter.so. A zygote forks and
-- imports as the driver asks over descriptor 3 (PROTOCOL.md, Zygote loop); an instance imports its handler and answers events
-- over descriptor 4 (PROTOCOL.md, Endpoint).
local ffi, json = require "ffi", require "dkjson"
ffi.cdef [[
  int ps_zygote(int control, const void *hooks, char *buffer, size_t size);
  struct ps_frame { const char *meta, *body; size_t meta_size, body_size; };
  int ps_receive(int endpoint, struct ps_frame *frame), ps_send(int endpoint, int kind, const struct ps_frame *frame);
  int ps_reply(int endpoint, int kind, const char *token, const struct ps_frame *frame);
  long send(int socket, const void *buffer, size_t size, int flags), getrandom(void *buffer, size_t size, unsigned flags);
  int pause(void), clearenv(void), setenv(const char *name, const char *value, int overwrite);
  void *signal(int number, intptr_t handler);
  struct timespec { long s, ns; }; int clock_gettime(int clock, struct timespec *now);
]]
local C, enter, now, frame, calls = ffi.C, ffi.load(arg[1]), ffi.new "struct timespec", ffi.new "struct ps_frame", 0
local own, exit, seed = debug.getinfo(1, "S").source, os.exit, ffi.new "uint32_t[1]"
local CONTROL, ENDPOINT, MSG_NOSIGNAL, SIGCHLD, SIG_DFL, SIG_IGN, REALTIME, MONOTONIC = 3, 4, 0x4000, 17, 0, 1, 0, 1
local LOST, INSTANCE = 0, -2 -- what ps_zygote returns besides ZYGOTE, -1, and the length of a request
local MAX_PACKET, MAX_RESULT, MAX_TEXT, MAX_FRAMES = 128 * 1024, 6 * 1024 * 1024, 50 * 1024, 50
local PATH, CPATH = package.path:gsub("^%./[^;]*;", ""), package.cpath:gsub("^%./[^;]*;", "") -- without the working directory

local function seconds(clock) C.clock_gettime(clock, now) return tonumber(now.s) + tonumber(now.ns) / 1e9 end

-- Sequences of bytes that are one character of UTF-8.
local CHARACTERS = { "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "[\225-\236\238\239][\128-\191][\128-\191]", "\237[\128-\159][\128-\191]",
  "\240[\144-\191][\128-\191][\128-\191]", "[\241-\243][\128-\191][\128-\191][\128-\191]", "\244[\128-\143][\128-\191][\128-\191]" }

local function quote(text)
  local rest = text
  for i = 1, rest:find "[\128-\255]" and #CHARACTERS or 0 do rest = rest:gsub(CHARACTERS[i], "x") end
  return json.quotestring(assert(not rest:find "[\128-\255]" and text, "a string is not in UTF-8"))
end

-- Writes a number with as many digits as it takes to read the same one again.
local function digits(number)
  assert(number - number == 0, "a number is not finite")
  local short = ("%.15g"):format(number)
  return tonumber(short) == number and short or ("%.17g"):format(number)
end

-- Writes a value as JSON: a table as an array when it has elements or was one when it was read.
local function encode(value)
  if type(value) == "number" then return digits(value) end
  if type(value) == "string" then return quote(value) end
  if type(value) ~= "table" or value == json.null then return assert(json.encode(value)) end
  local parts, list = {}, #value > 0 or (getmetatable(value) or {}).__jsontype == "array"
  for i = 1, #value do parts[i] = encode(value[i]) end
  if list then return "[" .. table.concat(parts, ",") .. "]" end
  for key, field in pairs(value) do parts[#parts + 1] = quote(tostring(key)) .. ":" .. encode(field) end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Returns the type and the text of what was raised, which may raise when it is asked.
local function look(raised)
  local told = type(raised) == "table" and raised or { type = "error", message = tostring(raised) }
  return tostring(told.type or "table"), tostring(told.message or told):sub(1, MAX_TEXT)
end

-- Makes a core.Exception of what was raised, without this file's frames: the handler of every xpcall.
local function describe(raised)
  local stack, readable, kind, text = {}, pcall(look, raised)
  for level = MAX_FRAMES, 2, -1 do
    local frame = debug.getinfo(level, "Sln")
    if frame and frame.what ~= "C" and frame.source ~= own then
      stack[#stack + 1] = ("%s:%d in %s"):format(frame.short_src, frame.currentline, frame.name or "?")
    end
  end
  return { type = readable and kind or "table", message = readable and text or "(its text cannot be had)", stack = stack[1] and stack }
end

-- Imports a module. What it raises, os.exit too, is raised again as a core.Error.
local function import(name)
  os.exit = function(code) error { type = "exit", message = ("os.exit(%s)"):format(code or "") } end
  local ok, result = xpcall(function() return require(name) end, describe)
  os.exit = exit
  if ok then return result end
  local text = ("importing %s failed: %s"):format(name, result.message:sub(1, 2000))
  error { kind = "exception", fault = "handler", message = text, exception = result }
end

-- Returns the function behind "directory/file.symbol": a field of what the file returns, or a global.
local function import_handler(name)
  local file, symbol = name:match "^(.-[^/.]*)%.([^/]*)$" -- at the first dot: a file that has one in its name cannot be required
  local found = package.searchpath(file, "/function/?.lua") and import(file)
  if found and type(found) ~= "table" then found = _G end
  for part in symbol:gmatch "[^.]+" do found = type(found) == "table" and found[part] end
  if type(found) == "function" then return found end
  error { kind = "invalid", fault = "handler", message = ("the handler %s: there is no function %s in %s.lua"):format(name, symbol, file) }
end

-- Imports the modules of a request, and the handler that an instance's has. Returns the report and the handler.
local function load(request)
  local began, modules, dirs, lua, c = seconds(MONOTONIC), {}, request.packages or {}, "", ""
  if request.handler then table.insert(dirs, 1, "/function") end
  for _, dir in ipairs(dirs) do lua, c = lua .. dir .. "/?.lua;" .. dir .. "/?/init.lua;", c .. dir .. "/?.so;" end
  package.path, package.cpath = lua .. PATH, c .. CPATH
  for _, module in ipairs(request.modules or {}) do
    local start = seconds(MONOTONIC)
    import(module)
    modules[module] = seconds(MONOTONIC) - start
  end
  local handler = request.handler and import_handler(request.handler)
  local threads
  for line in io.lines "/proc/self/status" do threads = threads or tonumber(line:match "^Threads:%s*(%d+)") end
  local asks = request.watch and { "*" } or nil -- it may be any module; which files and variables those look for, the library sees
  return { took = seconds(MONOTONIC) - began, modules = modules, threads = threads, asks = asks }, handler
end

-- Forks and imports as the driver asks. Returns only in a child that is an instance.
local function be_zygote()
  local buffer, say = ffi.new("char[?]", MAX_PACKET), function(packet) C.send(CONTROL, packet, #packet, MSG_NOSIGNAL) end
  say '{"parked": true}'
  while true do
    collectgarbage()
    C.signal(SIGCHLD, SIG_IGN) -- the kernel reaps the children
    local length = enter.ps_zygote(CONTROL, nil, buffer, MAX_PACKET)
    while length == LOST do C.pause() end -- what was forked from here would die with this process
    if length > 0 then
      local ok, answer = pcall(load, json.decode(ffi.string(buffer, length)))
      say(encode(ok and answer or { error = answer }))
    else
      C.signal(SIGCHLD, SIG_DFL)
      C.getrandom(seed, 4, 0)
      math.randomseed(seed[0]) -- no two siblings draw the same
    end
    if length == INSTANCE then return end
  end
end

-- Returns the next frame's kind, body and meta.
local function receive(kinds)
  local kind = enter.ps_receive(ENDPOINT, frame)
  if kind <= 0 or not kinds:find(string.char(kind)) then exit(kind == 0 and 0 or 1) end -- core needs this instance no more, or is broken
  return string.char(kind), ffi.string(frame.body, frame.body_size), json.decode(ffi.string(frame.meta, frame.meta_size))
end

-- Sends a frame, which in an event begins with its token.
local function send(kind, body, token, meta)
  frame.meta, frame.body, frame.meta_size, frame.body_size = meta, body, #(meta or ""), #body
  local failed = token and enter.ps_reply(ENDPOINT, kind:byte(), token, frame) or not token and enter.ps_send(ENDPOINT, kind:byte(), frame)
  if failed ~= 0 then exit(0) end -- nobody reads it, or it is not for this process to answer
end

-- Calls the handler with an event. Returns the kind and the body of the answer.
local function answer(handler, event, context, token)
  local ok, result = xpcall(function() return handler(json.decode(event, 1, json.null), context) end, describe)
  io.stdout:flush()
  if not ok then return "X", encode(result), token end
  local fine, text = pcall(encode, result)
  if fine and #text <= MAX_RESULT then return "R", text, token end
  local why = fine and ("takes %d bytes as JSON; the limit is %d"):format(#text, MAX_RESULT) or "cannot be written as JSON: " .. text
  return "L", encode { kind = fine and "too_large" or "invalid", message = "the handler's result " .. why }, token
end

-- Calls another function by name, and returns its result. A call that fails raises a table with kind, fault and message.
local function invoke(context, name, event)
  calls = calls + 1
  send("I", encode(event), context.token, encode { call = calls, ["function"] = name })
  local _, result, meta
  repeat _, result, meta = receive "A" until meta.call == calls
  if not meta.error then return json.decode(result, 1, json.null) end
  meta.error.type = "InvokeError"
  error(meta.error)
end

io.stdout:setvbuf "line"
be_zygote()
local request = json.decode((select(2, receive "H")))
C.clearenv()
for name, value in pairs(request.env or {}) do C.setenv(name, value, 1) end
local ok, report, handler = pcall(load, request)
send(ok and "P" or "F", encode(report))
while ok do
  local kind, event, meta = receive "EA" -- an A that comes now is to a call which nobody waits for
  local context = { request_id = meta.id, token = meta.token, function_name = request["function"], memory = request.memory, invoke = invoke,
    remaining_ms = function() return math.max(0, meta.deadline_ms - seconds(REALTIME) * 1000) end }
  if kind == "E" then send(answer(handler, event, context, meta.token)) end
end
