// Command pipsqueak-driver-lua makes processes of LuaJIT. It is an example of a small driver: all that it
// knows of the language is here and in runtime/loop.lua, which its processes run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/zygote"
)

const interpreter = "/usr/bin/luajit"

func main() {
	driver.Serve(zygote.New(zygote.Language{
		Describe: describe,
		Command: func(core.RuntimeID) ([]string, error) {
			return []string{interpreter, "/pipsqueak/lua/loop.lua", zygote.LibraryPath}, nil
		},
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"},
		Log: driver.Logger(os.Stderr),
	}))
}

func describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "lua", Version: "0.1.0", Capabilities: []string{core.CapabilityFork, core.CapabilityInvoke}}
	files, err := zygote.Files("lua")
	if err != nil {
		return d, err
	}
	version, err := exec.CommandContext(ctx, interpreter, "-e", `require "dkjson" io.write((jit.version:gsub("^LuaJIT ", "")))`).Output()
	if err != nil {
		d.Problems = []string{fmt.Sprintf("%s with dkjson does not run (%v); apt install luajit lua-dkjson", interpreter, err)}
		return d, nil
	}
	d.Runtimes = []core.Runtime{{
		ID: "luajit2.1", Version: string(version), Path: interpreter, Mounts: files, Extensions: []string{".lua"},
		Handlers: []core.HandlerFile{{File: "handler.lua", Handler: "handler.handler"}},
	}}
	return d, nil
}
