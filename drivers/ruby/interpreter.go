package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// interpretersVariable lists Ruby interpreters to serve besides those that are found, separated by colons,
// the preferred one first.
const interpretersVariable = "PIPSQUEAK_RUBY"

// places are where Rubies are installed, by the system and by hand, and homePlaces where the version managers
// of the worker's user have them.
var (
	places = []string{"/usr/bin/ruby*", "/usr/local/bin/ruby*", "/opt/rubies/*/bin/ruby", "/usr/local/rbenv/versions/*/bin/ruby", "/usr/local/rvm/rubies/*/bin/ruby",
		"/opt/asdf*/installs/ruby/*/bin/ruby"}
	homePlaces = []string{".rbenv/versions/*/bin/ruby", ".rvm/rubies/*/bin/ruby", ".asdf/installs/ruby/*/bin/ruby"}
)

// interpreterPaths returns the programs that may be Rubies, each once.
func interpreterPaths() []string {
	paths := filepath.SplitList(os.Getenv(interpretersVariable))
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, "ruby"))
		}
	}
	paths = append(paths, interpreter.Glob(places, homePlaces)...)
	named := len(filepath.SplitList(os.Getenv(interpretersVariable)))
	var out, reals []string
	for n, path := range paths {
		real, err := filepath.EvalSymlinks(path)
		switch {
		case err != nil && n < named:
			out = append(out, path) // a path that the operator has named is looked for, and missed
		case err == nil && isRuby(path) && !slices.Contains(reals, real):
			out, reals = append(out, path), append(reals, real)
		}
	}
	return out
}

// isRuby tells ruby and ruby3.1 from ruby-lint and rubyfmt.
func isRuby(path string) bool {
	suffix, is := strings.CutPrefix(filepath.Base(path), "ruby")
	return is && strings.Trim(suffix, "0123456789.-") == ""
}

// cruby is a CRuby's description of itself.
type cruby struct {
	Executable string   `json:"executable"`
	Version    string   `json:"version"`
	Short      string   `json:"short"`    // "3.1"
	Prefix     string   `json:"prefix"`   // where it and its standard library are installed
	Standard   []string `json:"standard"` // the directories of the standard library, as a load path
	Bundled    []string `json:"bundled"`  // those of the gems that come with the language
	Sites      []string `json:"sites"`    // where gems of the host are
	Manager    string   `json:"manager"`  // the directory with rubygems.rb
	Headers    string   `json:"headers"`  // its ruby.h, or nothing
	RubyGems   string   `json:"rubygems"` // versions
	Bundler    string   `json:"bundler"`

	mounts []core.Mount // that a sandbox needs for it
}

// question makes an interpreter describe itself. It is asked with its package manager loaded.
const question = `
require "json"
require "rbconfig"
abort "is #{RUBY_ENGINE} #{RUBY_ENGINE_VERSION}; CRuby 3.1 or later is needed" if RUBY_ENGINE != "ruby" || (RUBY_VERSION.split(".").map(&:to_i) <=> [3, 1]) < 0
c = RbConfig::CONFIG
bundled = Dir["#{c["rubylibprefix"]}/gems/#{c["ruby_version"]}/specifications/*.gemspec"].sort.filter_map do |file|
  spec = Gem::Specification.load(file)
  spec.full_require_paths if spec && File.directory?(spec.full_gem_path)
end.flatten
kept = c.values_at("rubylibdir", "rubyarchdir") + bundled
sites = c.values_at("sitedir", "vendordir", "sitearchdir", "vendorarchdir") + Gem.path + ["/usr/share/rubygems-integration"]
sites = sites.uniq.select { |dir| File.directory?(dir) && kept.none? { |below| below.start_with?("#{dir}/") } }
manager = File.dirname($LOADED_FEATURES.find { |feature| feature.end_with?("/rubygems.rb") })
puts JSON.generate(
  executable: File.realpath(RbConfig.ruby), version: RUBY_VERSION, short: RUBY_VERSION[/\d+\.\d+/], prefix: c["prefix"],
  standard: c.values_at("rubylibdir", "rubyarchdir").uniq, bundled: bundled, manager: manager,
  headers: Dir["#{c["rubyhdrdir"]}/ruby.h"].first.to_s, rubygems: Gem::VERSION,
  bundler: (File.read("#{c["rubylibdir"]}/bundler/version.rb")[/VERSION = "([^"]+)"/, 1] rescue ""),
  sites: sites.reject { |dir| sites.any? { |above| dir.start_with?("#{above}/") } })
`

func inspect(ctx context.Context, path string) (cruby, error) {
	var i cruby
	if err := interpreter.Ask(ctx, &i, path, "--disable=did_you_mean", "-e", question); err != nil {
		return i, err
	}
	var err error
	i.mounts, err = interpreter.Mounts(i.Prefix)
	return i, err
}

// command starts the interpreter apart from everything of the host, and without the package manager, whose
// start takes longer than all the rest: where packages are is known.
func (i cruby) command() []string {
	return []string{i.Executable, "--disable=gems", "-Eutf-8"}
}

// managerCommand starts one of the driver's programs that need the package manager.
func (i cruby) managerCommand(path string) []string {
	return append(i.command(), "-I", strings.Join(append([]string{i.managerDir()}, i.Standard...), ":"), path)
}

// system reports whether it is Debian's own.
func (i cruby) system() bool { return i.Prefix == "/usr" }

// programs are those whose versions TestLockGems and the tests of functions have been run with. Bundler is
// the one that comes with the interpreter.
func (i cruby) programs() []core.Program {
	return []core.Program{
		{Name: "Ruby", Version: i.Version, Tested: []string{"3.1.2"}},
		{Name: "RubyGems", Version: i.RubyGems, Tested: []string{"3.3.3", "3.3.15", "3.3.27", "3.4.19", "3.5.23", "3.6.9", "3.7.2"}},
		{Name: "Bundler", Version: i.Bundler, Tested: []string{"2.3.3", "2.3.7", "2.3.15", "2.3.27", "2.4.19", "2.5.23", "2.6.9", "2.7.2"}},
	}
}

// managerDir is where its package manager is inside a sandbox. Debian has it among the gems, which are
// hidden.
func (i cruby) managerDir() string {
	if slices.Contains(i.Standard, i.Manager) {
		return i.Manager
	}
	return packageDir
}

// managerPath is managerDir where it is not in the standard library.
func (i cruby) managerPath() []string {
	if i.managerDir() == i.Manager {
		return nil
	}
	return []string{packageDir}
}

// managerMounts show the package manager in managerDir.
func (i cruby) managerMounts() (mounts []core.Mount) {
	if i.managerDir() == i.Manager {
		return nil
	}
	for _, name := range []string{"rubygems.rb", "rubygems"} {
		mounts = append(mounts, core.Mount{Source: filepath.Join(i.Manager, name), Target: packageDir + "/" + name})
	}
	return mounts
}
