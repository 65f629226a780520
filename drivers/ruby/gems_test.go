package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// gemsProgram prints what a method of gems.rb returns, with the arguments OUT, the file gems.rb, the index
// and any more. It has of installer.rb what gems.rb needs, and sees to it that threads load nothing: two that
// load the same library at once may find it half made.
func gemsProgram(call string) string {
	return `
require "json"
require "open3"
module Pipsqueak
  OUT = ARGV[0]
  class Refused < StandardError
    def self.new(kind, fault, message) = super("#{kind} #{fault}: #{message}")
  end
  class Installer
    def self.failed(what, said) = Refused.new("install", "handler", "#{what}: #{said}")
    def self.unreachable(what, said) = Refused.new("install", "worker", "#{what}: unreachable: #{said}")
  end
  require ARGV[1]
  Gems.prepend(Module.new do
    def at_once(all)
      known = $LOADED_FEATURES.dup
      done = super
      late = ($LOADED_FEATURES - known).grep_v(%r{/enc/}) # encodings the interpreter loads itself, one at a time
      raise "threads load #{late}" if late.any?
      done
    end
  end)
  $stdout.write JSON.generate(Gems.new(ARGV[2]).` + call + `)
rescue Refused => e
  abort e.message
end
`
}

// buildGem makes a gem in a directory and returns it as it is locked. More is more of its specification.
func buildGem(t *testing.T, into, name, more string, contents map[string]string) core.Locked {
	t.Helper()
	dir := t.TempDir()
	names, _ := json.Marshal(slices.Sorted(maps.Keys(contents)))
	contents["x.gemspec"] = fmt.Sprintf("require 'openssl'\nGem::Specification.new do |s|\n  s.name = %q; s.version = '1.0'; s.summary = 'x'; s.authors = ['x']; s.license = 'MIT'; s.files = %s\n  %s\nend\n", name, names, more)
	drivertest.Write(t, dir, contents)
	cmd := exec.Command("/usr/bin/gem", "build", "--force", "--output", filepath.Join(into, name+"-1.0.gem"), "x.gemspec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return lockedGem(t, into, name)
}

func lockedGem(t *testing.T, dir, name string) core.Locked {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name+"-1.0.gem"))
	if err != nil {
		t.Fatal(err)
	}
	return core.Locked{Name: name, Version: "1.0", Archives: []string{fmt.Sprintf("sha256:%x", sha256.Sum256(text))}, URL: "pkg:gem/" + name + "@1.0"}
}

// tree has the content of each file below a directory, and where each link leads.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if entry.Type() == fs.ModeSymlink {
			found[name], err = os.Readlink(path)
			return err
		}
		text, err := os.ReadFile(path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const sign = `key = OpenSSL::PKey::RSA.new(2048)
  cert = OpenSSL::X509::Certificate.new
  cert.subject = cert.issuer = OpenSSL::X509::Name.parse("/CN=author")
  cert.not_before, cert.not_after, cert.serial, cert.version, cert.public_key = Time.now - 60, Time.now + 3600, 1, 2, key.public_key
  factory = OpenSSL::X509::ExtensionFactory.new(cert, cert)
  cert.add_extension(factory.create_extension("subjectKeyIdentifier", "hash"))
  cert.add_extension(factory.create_extension("keyUsage", "digitalSignature"))
  cert.sign(key, "sha256")
  s.signing_key, s.cert_chain = key, [cert]`

// TestInstallGems installs gems from an index without a sandbox.
func TestInstallGems(t *testing.T) {
	headers, _ := filepath.Glob("/usr/include/ruby-*/ruby.h")
	coretest.Requires(t, coretest.Found("ruby-dev", len(headers) > 0))
	served := t.TempDir()
	if err := os.Mkdir(filepath.Join(served, "gems"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(served))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "bad-404") {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	gems := filepath.Join(served, "gems")
	script, err := filepath.Abs("runtime/install/gems.rb")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	install := func(packages ...core.Locked) (receipts []core.Receipt, said string) {
		t.Helper()
		asked, _ := json.Marshal(packages)
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/usr/bin/ruby", "--disable=gems", "-I", "/usr/lib/ruby/vendor_ruby", "-e", gemsProgram(`install(JSON.parse(ARGV[3]), ["compiled"]) { |*| }`), out, script, server.URL, string(asked))
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		text, err := cmd.CombinedOutput()
		if err != nil || json.Unmarshal(text, &receipts) != nil {
			return nil, string(text)
		}
		return receipts, ""
	}
	extension := map[string]string{"lib/compiled/code.rb": "require 'compiled/ext'", "ext/extconf.rb": "require 'mkmf'; have_header('stdio.h'); create_makefile('compiled/ext')",
		"ext/ext.c": "#include <ruby.h>\nvoid Init_ext(void) { rb_define_module(\"Ext\"); }\n"}
	packages := []core.Locked{
		buildGem(t, gems, "compiled", `s.extensions = ["ext/extconf.rb"]; s.licenses = ["MIT", "Ruby"]`, extension),
		buildGem(t, gems, "plain-name", "", map[string]string{"lib/plain/name.rb": "", "lib/plain/name/deep/part.rb": "", "lib/other.rb": ""}),
		buildGem(t, gems, "activething", "", map[string]string{"lib/active_thing.rb": "", "lib/active_thing/more.rb": ""}),
		buildGem(t, gems, "signed", sign, map[string]string{"lib/signed.rb": ""}),
		buildGem(t, gems, "odd", `s.licenses = ["MIT"]; s.require_paths = ["lib", "../.."]`, map[string]string{"lib/odd.rb": "", "data/grüße.txt": "hello"}),
	}
	var before map[string]string
	for range 2 {
		receipts, said := install(packages...)
		if said != "" {
			t.Fatal(said)
		}
		offers := [][]string{{"compiled/code", "compiled/ext"}, {"other", "plain/name"}, {"active_thing"}, {"signed"}, {"odd"}}
		for i, want := range [][]string{nil, {"plain/name"}, {"active_thing"}, {"signed"}, {"odd"}} {
			r := receipts[i]
			if r.Archive != packages[i].Archives[0] || r.Bytes < 1000 || !slices.Equal(r.Modules, want) || !slices.Equal(r.Offers, offers[i]) || len(r.Signatures) != 1 || r.Signatures[0].Verified {
				t.Errorf("the receipt is %+v, want modules %q", r, want)
			}
		}
		if !slices.Equal(receipts[0].Licenses, []string{"MIT", "Ruby"}) || !strings.Contains(receipts[3].Signatures[0].Signer, "author") || receipts[2].Signatures[0].Signer != "" {
			t.Errorf("%+v", receipts)
		}
		installed := tree(t, out)
		if installed["/compiled-1.0/gem/lib/compiled/ext.so"] == "" && installed["/compiled-1.0/extension/compiled/ext.so"] == "" {
			t.Errorf("there is no extension in %q", slices.Sorted(maps.Keys(installed)))
		}
		if installed["/odd-1.0/gem/data/grüße.txt"] != "hello" || strings.Contains(installed["/odd-1.0/pipsqueak.json"], "..") {
			t.Errorf("of a gem with odd names there is %q", slices.Sorted(maps.Keys(installed)))
		}
		for file := range installed {
			if before != nil && installed[file] != before[file] || strings.HasPrefix(file, "/.") {
				t.Errorf("%s differs between two installations, or should not be there", file)
			}
		}
		if before = installed; os.RemoveAll(out) != nil {
			t.Fatal("the output cannot be removed")
		}
	}

	// The signature of one gem on another.
	buildGem(t, gems, "forged", sign, map[string]string{"lib/forged.rb": "1"})
	swap := exec.Command("sh", "-ec", "mkdir a && cd a && tar xf ../forged-1.0.gem && cd .. && mkdir b && cd b && tar xf ../signed-1.0.gem && cp data.tar.gz* checksums.yaml.gz ../a/ && cd ../a && tar cf ../forged-1.0.gem *")
	swap.Dir = gems
	if text, err := swap.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	damaged := buildGem(t, gems, "damaged", "", map[string]string{"lib/damaged.rb": ""})
	if err := os.WriteFile(filepath.Join(gems, "damaged-1.0.gem"), []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := packages[1]
	other.Archives = []string{"sha256:00"}
	unpacked := damaged
	unpacked.Archives = lockedGem(t, gems, "damaged").Archives
	for name, c := range map[string]struct {
		gem  core.Locked
		says string
	}{
		"another digest": {other, "install worker: the index of gems has another plain-name-1.0 than the lock"},
		"not allowed":    {buildGem(t, gems, "unasked", `s.extensions = ["x"]`, map[string]string{"x": ""}), "install caller: unasked-1.0 runs code"},
		"forged":         {lockedGem(t, gems, "forged"), "install worker: forged-1.0 is damaged"},
		"damaged":        {damaged, "has another damaged-1.0"},
		"no gem":         {unpacked, "install worker: damaged-1.0 is damaged"},
		"path":           {core.Locked{Name: "../x", Version: "1.0", Archives: []string{"sha256:00"}}, "install caller: \"../x-1.0\" is no gem"},
		"certificate":    {buildGem(t, gems, "uncertain", `s.cert_chain = ["no certificate"]`, map[string]string{"x": ""}), "install worker: uncertain-1.0 is damaged"},
		"require paths":  {buildGem(t, gems, "pathless", `s.require_paths = [1]`, map[string]string{"x": ""}), "install worker: pathless-1.0 is damaged"},
		"compiler":       {buildGem(t, gems, "compiled", `s.extensions = ["extconf.rb"]`, map[string]string{"extconf.rb": "abort 'checking for getaddrinfo()... timed out'"}), "install handler: installing gems"},
		"bad index":      {core.Locked{Name: "bad", Version: "404", Archives: []string{"sha256:00"}}, "install worker: fetching bad-404: unreachable"},
		"gone":           {core.Locked{Name: "gone", Version: "1.0", Archives: []string{"sha256:00"}}, "--anew"},
	} {
		if _, said := install(packages[2], c.gem); !strings.Contains(said, c.says) {
			t.Errorf("%s: %s", name, said)
		}
		if left, _ := os.ReadDir(out); len(left) > 0 || os.RemoveAll(out) != nil {
			t.Errorf("%s: %v is left", name, left)
		}
	}
}

// TestFetchersEnd has one of several fetches fail: no other begins, and those that have begun end by
// themselves.
func TestFetchersEnd(t *testing.T) {
	coretest.Requires(t, coretest.Found("Ruby", exec.Command("/usr/bin/ruby", "--version").Run() == nil))
	script, err := filepath.Abs("runtime/install/gems.rb")
	if err != nil {
		t.Fatal(err)
	}
	const program = `
module Pipsqueak
  OUT = "/nonexistent"
  Refused = Class.new(StandardError)
  require ARGV[0]
  begun = ended = 0
  begin
    Gems.allocate.send(:at_once, (1..80).to_a) do |n|
      begun += 1
      sleep 0.2
      raise "gone" if n == 1
      sleep 0.2
      ended += 1
    end
  rescue RuntimeError => e
    puts "#{e.message}: #{begun} began, #{ended} ended"
  end
end`
	out, err := exec.Command("/usr/bin/ruby", "--disable=gems", "-I", "/usr/lib/ruby/vendor_ruby", "-e", program, script).CombinedOutput()
	if err != nil || string(out) != "gone: 8 began, 7 ended\n" {
		t.Errorf("%s %v", out, err)
	}
}
