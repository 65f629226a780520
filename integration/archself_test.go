package integration

import (
	"go/token"
	"strings"
	"testing"
)

// Does each rule of the house find code that breaks it?

// TestRules feeds each rule what it must refuse and what it must accept, so that no rule can rot.
func TestRules(t *testing.T) {
	const doc = "// Package p is here for a test.\n"
	cases := []struct {
		rule, name, file, text string
		want                   string // in the violation; empty: no violation
	}{
		{"imports", "core is alone", "core/a.go", `package core; import "golang.org/x/sys/unix"`, "depends on nobody"},
		{"imports", "standard library", "core/a.go", `package core; import "encoding/json"`, ""},
		{"imports", "own module", "gateway/a.go", `package gateway; import "` + modulePath + `/core/tree"`, "core.Service only"},
		{"imports", "allowed", "gateway/a.go", `package gateway; import "` + modulePath + `/core"`, ""},
		{"imports", "front to API", "gateway/a.go", `package gateway; import "` + modulePath + `/gateway/v1"`, "the front knows no API"},
		{"imports", "API to worker", "gateway/v1/a.go", `package v1; import "` + modulePath + `/core/worker"`, "knows core.Service only"},
		{"imports", "API to third party", "gateway/v1/a.go", `package v1; import "github.com/gorilla/mux"`, "the front's"},
		{"imports", "client to front", "gateway/client/a.go", `package client; import "` + modulePath + `/gateway"`, "nothing of a server"},
		{"imports", "API to front", "gateway/v1/a.go", `package v1; import "` + modulePath + `/gateway"`, ""},
		{"imports", "third party", "core/tree/a.go", `package tree; import "github.com/spf13/cobra"`, "without processes"},
		{"imports", "third party below", "core/bundle/a.go", `package bundle; import "go.yaml.in/yaml/v4"`, ""},
		{"imports", "only by whole element", "core/bundle/a.go", `package bundle; import "go.yaml.in/yamlish"`, "worker's disk"},
		{"imports", "bundle to store", "core/bundle/a.go", `package bundle; import "` + modulePath + `/core/store"`, "worker's disk"},
		{"imports", "store to bundle", "core/store/a.go", `package store; import "` + modulePath + `/core/bundle"`, "what a user hands in"},
		{"imports", "files to store", "core/files/a.go", `package files; import "` + modulePath + `/core/store"`, "same to whoever"},
		{"imports", "tests' trees to files", "core/files/filestest/a.go", `package filestest; import "` + modulePath + `/core/files"`, "knows none of them"},
		{"imports", "supply to the tree", "core/supply/a.go", `package supply; import "` + modulePath + `/core/tree"`, "Live alone"},
		{"imports", "supply to the scheduler", "core/supply/a.go", `package supply; import "` + modulePath + `/core/sched"`, "Live alone"},
		{"imports", "supply to the wire", "core/supply/a.go", `package supply; import "` + modulePath + `/core/driver"`, "Live alone"},
		{"imports", "supply to sandboxes", "core/supply/a.go", `package supply; import "` + modulePath + `/core/sandbox"`, "Live alone"},
		{"imports", "supply to the worker", "core/supply/a.go", `package supply; import "` + modulePath + `/core/worker"`, "Live alone"},
		{"imports", "supply to the store", "core/supply/a.go", `package supply; import "` + modulePath + `/core/store"`, ""},
		{"imports", "core/* is deep", "core/worker/a.go", `package worker; import "` + modulePath + `/core/driver/driverpb"`, ""},
		{"imports", "core/* is not all", "core/worker/a.go", `package worker; import "` + modulePath + `/gateway"`, "assembly"},
		{"imports", "command to driver", "cmd/x/a.go", `package main; import "` + modulePath + `/drivers/python"`, "linked into anything"},
		{"imports", "command to its room", "cmd/pipsqueak/a.go", `package main; import "` + modulePath + `/cmd/pipsqueak/osv"`, ""},
		{"imports", "command to another's room", "cmd/x/a.go", `package main; import "` + modulePath + `/cmd/pipsqueak/osv"`, "its rooms are its own"},
		{"imports", "room to room", "cmd/pipbench/packages/a.go", `package packages; import "` + modulePath + `/cmd/pipbench/profile"`, ""},
		{"imports", "room to a room that it does not know", "cmd/pipbench/profile/a.go", `package profile; import "` + modulePath + `/cmd/pipbench/packages"`, "known without anything"},
		{"imports", "room to another's room", "cmd/pipbench/profile/a.go", `package profile; import "` + modulePath + `/cmd/pipsqueak/osv"`, "its rooms are its own"},
		{"imports", "core to a command's room", "core/worker/a.go", `package worker; import "` + modulePath + `/cmd/pipsqueak/osv"`, "its rooms are its own"},
		{"imports", "driver to its folder", "drivers/x/a.go", `package main; import "` + modulePath + `/drivers/x/y"`, "another repository"},
		{"imports", "test to command", "gateway/a_test.go", `package gateway; import "` + modulePath + `/cmd/x"`, "not a library"},
		{"imports", "to integration", "examples/a.go", `package main; import "` + modulePath + `/integration"`, "nothing may look at it"},
		{"imports", "demo to client", "examples/a.go", `package main; import "` + modulePath + `/gateway/client"`, ""},
		{"imports", "demo to front", "examples/a.go", `package main; import "` + modulePath + `/gateway"`, "the demo is a user"},
		{"imports", "tests are freer", "gateway/a_test.go", `package gateway; import "` + modulePath + `/core/tree"`, ""},
		{"imports", "the kit to the worker's sandboxes", "core/driver/kit/zygote/a.go", `package zygote; import "` + modulePath + `/core/sandbox"`, "must not contain the worker"},
		{"imports", "installers to zygotes", "core/driver/kit/installer/a.go", `package installer; import "` + modulePath + `/core/driver/kit/zygote"`, "nothing of zygotes"},
		{"imports", "interpreters to launches", "core/driver/kit/interpreter/a.go", `package interpreter; import "` + modulePath + `/core/driver/kit/launch"`, "neither sandboxes nor loops"},
		{"imports", "every room's tests to a room", "core/coretest/a.go", `package coretest; import "` + modulePath + `/core/files"`, "the vocabulary alone"},
		{"imports", "examiner to the frames of core", "core/driver/conform/a.go", `package conform; import "` + modulePath + `/core/endpoint"`, "frames it makes itself"},
		{"imports", "tests of drivers to the wire", "core/driver/drivertest/a.go", `package drivertest; import "` + modulePath + `/core/driver"`, "no wire"},
		{"imports", "driver to the kit", "drivers/x/a.go", `package main; import "` + modulePath + `/core/driver/kit/debian"`, ""},
		{"imports", "driver's row", "drivers/x/a.go", `package main; import "` + modulePath + `/core/sandbox"`, "another repository"},

		{"imports", "the policy is alone", "core/plan/a.go", `package plan; import "` + modulePath + `/core/tree"`, "without anything that lives"},
		{"imports", "the tree has a policy", "core/tree/a.go", `package tree; import "` + modulePath + `/core/plan"`, ""},

		{"rows", "no row", "elsewhere/a.go", "package elsewhere", "no row"},
		{"rows", "no row two deep", "drivers/x/y/a.go", "package y", "no row"},
		{"rows", "stale row", "core/a.go", "package core", "examples: a row"},
		{"rows", "stale row of core", "examples/a.go", "package main", "core/store: a row"},

		{"package comment", "none", "core/a.go", "package core", "no package comment"},
		{"package comment", "one", "core/a.go", doc + "package core", ""},

		{"cgo", "import C", "core/a.go", `package core; import "C"`, "without cgo"},
		{"cgo", "import of something else", "core/a.go", `package core; import "crypto"`, ""},

		{"init", "func init", "core/a.go", "package core; func init() {}", "written down in main"},
		{"init", "method", "core/a.go", "package core; type T int; func (T) init() {}", ""},
		{"init", "generated", "core/a.go", "// Code generated by x. DO NOT EDIT.\n\npackage core; func init() {}", ""},

		{"testing", "a program's", "core/driver/conform/a.go", `package conform; import "testing"`, "no program has it"},
		{"testing", "a part of it", "core/a.go", `package core; import "testing/synctest"`, "no program has it"},
		{"testing", "tests' helpers in a program", "cmd/x/a.go", `package main; import "` + modulePath + `/core/driver/drivertest"`, "no program has it"},
		{"testing", "tests' helpers", "core/driver/drivertest/a.go", `package drivertest; import "testing"`, ""},
		{"testing", "helpers with helpers", "core/driver/drivertest/a.go", `package drivertest; import "` + modulePath + `/core/files/filestest"`, ""},
		{"testing", "test", "core/a_test.go", `package core; import "testing"`, ""},
		{"testing", "another's", "core/a.go", `package core; import "example.org/test"`, ""},

		{"language", "identifier", "core/tree/a.go", "package tree; var pythonPath int", "names a language"},
		{"language", "string", "core/a.go", "package core; var x = \"node.js 20\"", "names a language"},
		{"language", "whole word in a string", "core/a.go", "package core; var x = \"run pip install\"", "(pip)"},
		{"language", "hump", "core/a.go", "package core; type GemDir int", "(gem)"},
		{"language", "struct tag", "core/a.go", "package core; type T struct{ X int `json:\"python\"` }", "names a language"},
		{"language", "part of a word", "core/a.go", "package core; var x = \"pipsqueak evaluates gems_of\"; var properly int", ""},
		{"language", "comment", "core/a.go", "package core // such as python", ""},
		{"language", "test", "core/a_test.go", "package core; var python int", ""},
		{"language", "driver", "drivers/python/a.go", "package main; var python int", ""},

		{"pure", "lock", "core/plan/a.go", `package plan; import "sync"`, "without effects"},
		{"pure", "clock", "core/plan/a.go", "package plan; var x = time.Now()", "reads no clock"},
		{"pure", "timer", "core/plan/a.go", "package plan; func f() { time.AfterFunc(0, f) }", "reads no clock"},
		{"pure", "goroutine", "core/plan/a.go", "package plan; func f() { go f() }", "starts and shares nothing"},
		{"pure", "channel", "core/plan/a.go", "package plan; var x chan int", "starts and shares nothing"},
		{"pure", "arithmetic of times", "core/plan/a.go", `package plan; import "time"; func f(t time.Time) time.Time { return t.Add(time.Second) }`, ""},
		{"pure", "chance", "core/plan/a.go", "package plan; var x = rand.IntN(6)", "come from a seed"},
		{"pure", "seed", "core/plan/a.go", "package plan; var x = rand.New(rand.NewPCG(1, 2)).IntN(6)", ""},
		{"pure", "test", "core/plan/a_test.go", `package plan; import "os"`, ""},
		{"pure", "elsewhere", "core/tree/a.go", `package tree; import "sync"; var x = time.Now()`, ""},

		{"numbers", "constant", "core/tree/a.go", "package tree; const most = 64", "the number 64"},
		{"numbers", "variable", "core/tree/a.go", "package tree; var share = 0.5", "the number 0.5"},
		{"numbers", "duration", "core/tree/a.go", "package tree; func f() { time.Sleep(2 * time.Second) }", "time.Second"},
		{"numbers", "scheduler", "core/sched/a.go", "package sched; const most = 64", "in core/sched"},
		{"numbers", "scheduler's wait", "core/sched/a.go", "package sched; func f() { time.Sleep(time.Second) }", "time.Second"},
		{"numbers", "states", "core/tree/a.go", "package tree; const a, b = iota, \"b\"", ""},
		{"numbers", "arithmetic", "core/tree/a.go", "package tree; func f(n int) int { return n + 1 }", ""},
		{"numbers", "test", "core/tree/a_test.go", "package tree; const most = 64", ""},
		{"numbers", "elsewhere", "core/plan/a.go", "package plan; const most = 64 * time.Second", ""},

		{"assembly", "a method too many", "core/worker/a.go", "package worker\n" + strings.Repeat("func (w *Worker) m() {}\n", mostMethods+1), "make it a part's"},
		{"assembly", "a method too many by value", "core/worker/a.go", "package worker\n" + strings.Repeat("func (Worker) m() {}\n", mostMethods+1), "make it a part's"},
		{"assembly", "methods enough", "core/worker/a.go", "package worker\n" + strings.Repeat("func (w *Worker) m() {}\n", mostMethods) + "func (parts) m() {}\nfunc f() {}", ""},
		{"assembly", "another's", "core/tree/a.go", "package tree\n" + strings.Repeat("func (w *Worker) m() {}\n", mostMethods+1), ""},

		{"tested", "code alone", "core/supply/a.go", "package supply\n", "it needs 60 for 100"},
		{"tested", "a test", "core/supply/a_test.go", "package supply\n", ""},
		{"tested", "elsewhere", "core/a.go", "package core\n", ""},

		{"folders", "util", "core/util/a.go", "package util", "never util"},
		{"folders", "helpers", "helpers/a.go", "package helpers", "never helpers"},
		{"folders", "fine", "core/typeset/a.go", "package typeset", ""},

		{"homonyms", "list of a tree", "core/store/a.go", "package store; func manifestOf() {}", "a tree has a list"},
		{"homonyms", "settings", "core/bundle/a.go", "package bundle; type Manifest struct{}", "has settings"},
		{"homonyms", "walk of a tree", "core/bundle/a.go", "package bundle; type scanner struct{}", "a tree is walked"},
		{"homonyms", "scan of packages", "core/scan/a.go", "package scan; type scanner struct{}", ""},
		{"homonyms", "house", "core/worker/a.go", "package worker; type house struct{}", "a worker has sandboxes"},
		{"homonyms", "a driver's house", "core/driver/drivertest/a.go", "package drivertest; type House struct{}", ""},
		{"homonyms", "examine", "core/supply/a.go", "package supply; type T int; func (T) examine() {}", "is identified"},
		{"homonyms", "examine a machine", "core/worker/a.go", "package worker; func Examine() {}", ""},
		{"homonyms", "last words", "core/sandbox/a.go", "package sandbox; const lastWords = 1", "says what it bounds"},
		{"homonyms", "a driver's sandbox", "core/a.go", "package core; type Sandbox struct{}", "declared in core/sandbox"},
		{"homonyms", "another door", "core/tree/a.go", "package tree; type Door interface{}", "declared in core"},
		{"homonyms", "door", "core/a.go", "package core; type Door struct{}", ""},
		{"homonyms", "part of a word", "core/a.go", "package core; type SandboxConfig struct{ Sandbox int }", ""},
		{"homonyms", "mutex", "core/tree/a.go", "package tree\n\n// f is one. The caller has the\n// lock.\nfunc f() {}", "of a mutex"},
		{"homonyms", "order", "core/tree/a.go", "// Package tree has one.\n//\n// Lock order: a, b.\npackage tree", "of a mutex"},
		{"homonyms", "lock of packages", "core/tree/a.go", "package tree\n\n// f takes the lock's word, and returns the lock that it made.\nfunc f() {}", ""},

		{"vocabulary", "type", "core/a.go", "package core; type LambdaName string", "the word is function"},
		{"vocabulary", "two words", "core/a.go", "package core; func NewWorkerPool() {}", "tree (processes)"},
		{"vocabulary", "method", "core/a.go", "package core; type T int; func (T) Spawn() {}", "the word is fork"},
		{"vocabulary", "field", "core/a.go", "package core; type T struct{ ContainerID int }", "the word is sandbox"},
		{"vocabulary", "interface method", "core/a.go", "package core; type T interface{ WarmUp() }", "the word is preload"},
		{"vocabulary", "constant", "core/a.go", "package core; const MaxPayload = 1", "event or result"},
		{"vocabulary", "unexported", "core/a.go", "package core; type container int", ""},
		{"vocabulary", "part of a word", "core/a.go", "package core; type Lambdas int; func Respawns() {}", ""},

		{"mutexes", "no order", "core/a.go", "package core; type A struct{ a sync.Mutex; b sync.RWMutex }", "say which is taken before which"},
		{"mutexes", "two in a field", "core/a.go", "package core; type A struct{ a, b sync.Mutex }", "say which is taken before which"},
		{"mutexes", "in a function", "core/a.go", "package core; type A struct{ a sync.Mutex }; func f() { var b sync.Mutex }", "say which is taken before which"},
		{"mutexes", "order", "core/a.go", "// Package core has two.\n//\n// Mutex order: a before b.\npackage core; type A struct{ a, b sync.Mutex }", ""},
		{"mutexes", "one", "core/a.go", "package core; type A struct{ a sync.Mutex; b int }", ""},
		{"mutexes", "of a test", "core/a_test.go", "package core; type A struct{ a, b sync.Mutex }", ""},

		{"contract", "bare", "core/driver.go", "package core\n\n// D is one.\ntype D struct {\n\tA int // says\n\tB int\n\tC int\n}\n", "2 lines have a comment and 5 have none"},
		{"contract", "half", "core/driver.go", "package core\n\n// D is one.\n// It is there.\ntype D struct {\n\tA int // says\n}\n", ""},
		{"contract", "no contract", "core/lock.go", "package core\n\ntype D struct {\n\tA int\n}\n", ""},

		{"kinds", "not listed", "core/a.go", `package core; const KindX Kind = "x"; func Kinds() []Kind { return nil }`, "Kinds() does not return KindX"},
		{"kinds", "no test", "core/a.go", `package core; const KindX Kind = "x"; func Kinds() []Kind { return []Kind{KindX} }`, "no test names KindX"},
		{"kinds", "none", "core/a.go", `package core; const KindNone Kind = "ok"; func Kinds() []Kind { return nil }`, ""},
	}
	tested := map[string]bool{}
	for _, c := range cases {
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			s, err := parse(token.NewFileSet(), c.file, []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(rules[c.rule]([]source{s}), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("violations %q, want %q", got, c.want)
			}
		})
		tested[c.rule] = tested[c.rule] || c.want != ""
	}
	for name := range rules {
		if !tested[name] {
			t.Errorf("rule %q has no source here that it refuses", name)
		}
	}
}

func TestTwoPackageComments(t *testing.T) {
	set := token.NewFileSet()
	var both []source
	for _, name := range []string{"core/a.go", "core/b.go"} {
		s, err := parse(set, name, []byte("// Package core is here for a test.\npackage core"))
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, s)
	}
	if got := rulePackageComment(both); len(got) != 1 || !strings.Contains(got[0], "core/a.go, core/b.go") {
		t.Errorf("violations %q", got)
	}
}

func TestShareOfTests(t *testing.T) {
	for lines, want := range map[int]int{leastTest - 1: 1, leastTest: 0} {
		var both []source
		for name, n := range map[string]int{"core/supply/a.go": 100, "core/supply/a_test.go": lines} {
			s, err := parse(token.NewFileSet(), name, []byte("package supply"+strings.Repeat("\n", n)))
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, s)
		}
		if got := ruleTested(both); len(got) != want {
			t.Errorf("%d lines of test for 100: violations %q", lines, got)
		}
	}
}
