package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestLooks has gems look at the function's files in every way, there or not, and read the process's id and arguments.
func TestLooks(t *testing.T) {
	h := newHouse(t, nil)
	h.Packages = t.TempDir()
	files := map[string]string{"lib/reads_kernel.yml": ""}
	looks := map[string][2]string{
		"reads":    {`IO.read("/function/config/x.yml") rescue 0`, "./config"},
		"open":     {`open("/function/a/../b.yml") { } rescue 0`, "./b.yml"},
		"there":    {`File.exist?("/function/.env") || File.file?("/function/.env.local")`, "./.env ./.env.local"},
		"relative": {`File.exist?("config/x.yml"); Dir.glob("*.yml"); Dir.exist?("."); open("../function/.x") { } rescue 0`, "./ ./.x ./config"},
		"stats":    {`File.stat("/function/one") rescue File.lstat("/function/two") rescue File.readable?("/function/three")`, "./one ./three ./two"},
		"lists":    {`Dir.children("/function") + Dir["/function/plugins/*.rb"]`, "./ ./plugins"},
		"globs":    {`Dir["/function/*.yml"]`, "./"},
		"each":     {`Dir.each_child("/function/part") { } rescue 0`, "./part"},
		"loads":    {`begin; load "/function/local.rb"; rescue LoadError; end`, "./local.rb"},
		"path":     {`begin; require "/function/own"; rescue LoadError; end`, "./own.rb ./own.so"},
		"same":     {`File.exist?("/function/same") && 1; File.exist?("/function/same.yml")`, "./same ./same.yml"},
		"paths":    {`$LOAD_PATH.each { |dir| File.exist?("#{dir}/extension.rb") }`, "./extension.rb"},
		"nothing":  {`Dir.exist?("/function"); File.realpath("/function"); File.expand_path("x", "/function"); Dir.chdir("/function") { }`, ""},
		"requires": {`begin; require "missing/one"; rescue LoadError; end; require "set"; require "securerandom"; require "tmpdir"`, ""},
		"id":       {`ID = Process.pid`, "@pid"},
		"variable": {`NAME = "x-#{$$}"; def id = 1`, "@pid"},
		"detects":  {"@pid = Process.pid\ndef self.forked? = @pid != Process.pid", ""},
		"notices":  {"class Notices\n  def initialize = @pid = $$\n  def check\n    reopen if @pid != $$\n  end\nend\nNotices.new", ""}, //nolint:misspell // a method of that name
		"keeps":    {"class Keeps\n  def initialize\n    @pid = $$\n  end\nend\nKeeps.new", "@pid"},                                     //nolint:misspell // a method of that name
		"argv":     {`VERBOSE = ARGV.include?("-v")`, "@argv"},
	}
	var packages []drivertest.Probed
	for name, one := range looks {
		files[name+".rb"] = one[0] + "\n"
		packages = append(packages, drivertest.Probed{Name: name})
	}
	drivertest.Write(t, h.Packages, files)
	found := h.Probe(t, packages)
	for name, one := range looks {
		var got []string
		for _, ask := range found[name].Asks {
			if strings.HasPrefix(ask, "./") || strings.HasPrefix(ask, "@") {
				got = append(got, ask)
			}
		}
		if strings.Join(got, " ") != one[1] {
			t.Errorf("%s looks at %q, want %q", one[0], got, one[1])
		}
	}
}

// TestMovedSets has handlers that change the working directory and the arguments before they require something.
func TestMovedSets(t *testing.T) {
	h := newHouse(t, map[string]string{"moves.rb": "Dir.chdir('/tmp')\n"})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"moving.rb": "Dir.chdir('/tmp') { }\nmodule Moving\n  def self.go = Dir.chdir('/tmp')\nend\n"})
	root := h.Root(t)
	for code, want := range map[string]string{
		"Dir.chdir('/tmp')": "./",
		"require 'moves'":   "./",
		"require 'fileutils'\nFileUtils.cd('/tmp') {}": "./",
		"Dir.chdir(Dir.pwd)":                           "",
		"require 'moving'":                             "",
		"require 'moving'\nMoving.go":                  "./",
		"ARGV << '-v'":                                 "@argv",
		"ARGV.clear":                                   "",
	} {
		drivertest.Write(t, h.Code, map[string]string{"handler.rb": code + "\ndef handler(event:, context:) = 1\n"})
		for start, parent := range map[string]*sandbox.Sandbox{"root": root} {
			if got := strings.Join(h.Sets(t, parent, filesSet), " "); got != want {
				t.Errorf("%s: %q sets %q, want %q", start, code, got, want)
			}
		}
	}
}
