package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// readLocks reads a Gemfile.lock as the installer does before Bundler does, and answers with the copy that
// Bundler gets, or with what the user is told.
const readLocks = `
require "json"
require ARGV[0] + "/answer"
require ARGV[0] + "/gemlock"
module Bundler; VERSION = "2.3"; end
copy = nil
File.define_singleton_method(:write) { |_, text| copy = text }
$stdin.each_line do |line|
  text = JSON.parse(line).unpack1("m").force_encoding("UTF-8").scrub("?").gsub("\r\n", "\n")
  answer = begin
    lock = Pipsqueak::Gemlock.new(text)
    begin
      lock.check_gem("a", "1.0", "ruby", "sha256:" + "0" * 64)
    rescue Pipsqueak::Refused
      nil
    end
    { "copy" => copy }
  rescue Pipsqueak::Refused => refused
    refused.reply
  rescue Exception => e
    { "kind" => "internal", "message" => e.full_message(highlight: false) }
  end
  $stdout.puts(JSON.generate(answer))
  $stdout.flush
end
`

// FuzzLocks: whatever is in a Gemfile.lock, it is refused as the user's fault, or Bundler gets the sections
// that are known and no checksums, which it might understand in another way.
func FuzzLocks(f *testing.F) {
	coretest.Requires(f, coretest.File("/usr/bin/ruby"))
	const gem = "GEM\n  remote: https://rubygems.org/\n  specs:\n    a (1.0)\n      b (~> 2)\n    b (2.0-x86_64-linux)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  a\n\n"
	for _, text := range []string{
		gem + "BUNDLED WITH\n   2.3.15\n",
		gem + "CHECKSUMS\n  a (1.0) sha256=" + strings.Repeat("0", 64) + "\n  b (2.0-x86_64-linux)\n",
		gem + "CHECKSUMS\n  a (1.0) sha512=00,sha256=zz\n", gem + "CHECKSUMS\n  a (1.0) 00\n",
		"GIT\n  remote: https://x\n  revision: 1\n  specs:\n    a (1.0)\n",
		strings.ReplaceAll(gem, "\n", "\r\n"),
		"FUTURE\n  a\n", "\xff\n", "<<<<<<< HEAD\n", "GEM\n  mirror: x\n", "CHECKSUMS\n  a (1.0) sha256=" + strings.Repeat("0", 64) + "\n  a (1.0) sha256=" + strings.Repeat("1", 64) + "\n",
	} {
		f.Add([]byte(text))
	}
	installer := drivertest.StartLines(f, "/usr/bin/ruby", "--disable=gems", "-e", readLocks, filepath.Join(drivertest.Libexec(f), "ruby", "install"))
	known := map[string]bool{}
	for _, section := range []string{"GIT", "GEM", "PATH", "PLUGIN SOURCE", "PLATFORMS", "DEPENDENCIES", "RUBY VERSION", "BUNDLED WITH"} {
		known[section] = true
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got struct{ Kind, Fault, Message, Copy string }
		installer.Ask(t, text, &got)
		if got.Kind != "" && (got.Kind != "install" || got.Fault != "caller") {
			t.Errorf("%q: %s of %s: %s", text, got.Kind, got.Fault, got.Message)
		}
		for line := range strings.Lines(got.Copy) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.ContainsAny(line[:1], " \t\r\f\v") && !known[line] {
				t.Errorf("%q: Bundler gets the section %q", text, line)
			}
		}
	})
}
