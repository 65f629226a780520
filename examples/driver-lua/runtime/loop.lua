-- What every process of the Lua driver runs: `luajit loop.lua LIBRARY`, LIBRARY being libpipsqueak-enter.so. A zygote forks and
-- imports as the driver asks over descriptor 3 (PROTOCOL.md, Zygote loop); an instance imports its handler and answers events
-- over descriptor 4 (PROTOCOL.md, Endpoint).
local ffi, json = require "ffi", require "cjson"
ffi.cdef [[
  int ps_zygote(int control, const void *hooks, char *buffer, size_t size);
  long recv(int socket, void *buffer, size_t size, int flags), send(int socket, const void *buffer, size_t size, int flags);
  int pause(void), clearenv(void), setenv(const char *name, const char *value, int overwrite);
  void *signal(int number, intptr_t handler);
  struct timespec { long s, ns; }; int clock_gettime(int clock, struct timespec *now);
]]
local C, enter, exit, own, now, calls = ffi.C, ffi.load(arg[1]), os.exit, debug.getinfo(1, "S").source, ffi.new "struct timespec", 0
local CONTROL, ENDPOINT, MSG_NOSIGNAL, SIGCHLD, SIG_DFL, SIG_IGN, REALTIME, MONOTONIC = 3, 4, 0x4000, 17, 0, 1, 0, 1
local LOST, INSTANCE = 0, -2 -- what ps_zygote returns besides ZYGOTE, -1, and the length of a request
local MAX_PACKET, MAX_RESULT, MAX_TEXT, MAX_FRAMES = 128 * 1024, 6 * 1024 * 1024, 50 * 1024, 50
local PATH, CPATH = package.path:gsub("^%./[^;]*;", ""), package.cpath:gsub("^%./[^;]*;", "") -- without the working directory

local function u32(n) return ffi.string(ffi.new("int32_t[1]", bit.bswap(n)), 4) end
local function number(text) return bit.bswap(ffi.cast("const int32_t *", text)[0]) end
local function seconds(clock) C.clock_gettime(clock, now) return tonumber(now.s) + tonumber(now.ns) / 1e9 end

-- Makes a core.Exception of what was raised, without this file's frames: the handler of every xpcall.
local function describe(raised)
  local stack, told = {}, type(raised) == "table" and raised or { type = "error", message = tostring(raised) }
  for level = MAX_FRAMES, 2, -1 do
    local frame = debug.getinfo(level, "Sln")
    if frame and frame.what ~= "C" and frame.source ~= own then
      stack[#stack + 1] = ("%s:%d in %s"):format(frame.short_src, frame.currentline, frame.name or "?")
    end
  end
  return { type = tostring(told.type or "table"), message = tostring(told.message or told):sub(1, MAX_TEXT), stack = stack[1] and stack }
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
  local found = io.open("/function/" .. file .. ".lua") and import(file)
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
  local threads = tonumber(io.open("/proc/self/status"):read("*a"):match("Threads:%s*(%d+)"))
  return { took = seconds(MONOTONIC) - began, modules = modules, threads = threads }, handler
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
      say(json.encode(ok and answer or { error = answer }))
    else
      C.signal(SIGCHLD, SIG_DFL)
      math.randomseed(ffi.cast("uint32_t *", io.open("/dev/urandom"):read(4))[0]) -- no two siblings draw the same
    end
    if length == INSTANCE then return end
  end
end

-- Has recv or send move all of size bytes.
local function move(call, buffer, size)
  local done = 0
  while done < size do
    local part = tonumber(call(ENDPOINT, buffer + done, size - done, MSG_NOSIGNAL))
    if part <= 0 then exit(0) end -- core needs this instance no more
    done = done + part
  end
  return buffer
end

-- Returns the next frame's kind, and its body, or its meta and what follows when it has one.
local function receive()
  local head = ffi.string(move(C.recv, ffi.new "char[5]", 5), 5)
  local kind, size = head:sub(5), number(head) - 1
  local body = ffi.string(move(C.recv, ffi.new("char[?]", size), size), size)
  if kind == "H" then return kind, json.decode(body) end
  return kind, json.decode(body:sub(5, 4 + number(body))), body:sub(5 + number(body))
end

local function send(kind, body)
  local frame = u32(#body + 1) .. kind .. body
  move(C.send, ffi.cast("const char *", frame), #frame)
end

-- Calls the handler with an event. Returns the kind and the body of the answer.
local function answer(handler, event, context)
  local ok, result = xpcall(function() return handler(json.decode(event), context) end, describe)
  io.stdout:flush()
  if not ok then return "X", json.encode(result) end
  local fine, text = pcall(json.encode, result)
  if fine and #text <= MAX_RESULT then return "R", text end
  local why = fine and ("takes %d bytes as JSON; the limit is %d"):format(#text, MAX_RESULT) or "cannot be written as JSON: " .. text
  return "L", json.encode { kind = fine and "too_large" or "invalid", message = "the handler's result " .. why }
end

-- Calls another function by name, and returns its result. A call that fails raises a table with kind, fault and message.
local function invoke(context, name, event)
  calls = calls + 1
  local meta = json.encode { call = calls, ["function"] = name }
  send("I", u32(#meta) .. meta .. json.encode(event))
  local _, told, result
  repeat _, told, result = receive() until told.call == calls
  if not told.error then return json.decode(result) end
  told.error.type = "InvokeError"
  error(told.error)
end

be_zygote()
io.stdout:setvbuf "line"
local _, request = receive()
C.clearenv()
for name, value in pairs(request.env or {}) do C.setenv(name, value, 1) end
local ok, report, handler = pcall(load, request)
send(ok and "P" or "F", json.encode(report))
while ok do
  local kind, meta, event = receive() -- an A that comes now is to a call which nobody waits for
  local context = { request_id = meta.id, function_name = request["function"], memory = request.memory, invoke = invoke,
    remaining_ms = function() return math.max(0, meta.deadline_ms - seconds(REALTIME) * 1000) end }
  if kind == "E" then send(answer(handler, event, context)) end
end
