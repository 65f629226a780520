package main

import (
	"cmp"
	"crypto/md5" //nolint:gosec // indexes of gems have it
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// managers are the load paths of each RubyGems with each Bundler that there is: Debian's, and those of
// PIPSQUEAK_TEST_RUBYGEMS, separated by commas.
func managers(t *testing.T) map[string]string {
	t.Helper()
	own, _ := filepath.Glob("/usr/lib/ruby/[0-9]*/bundler.rb")
	coretest.Requires(t, coretest.Found("Debian's Ruby with its Bundler", len(own) > 0))
	found := map[string]string{"own Bundler": "/usr/lib/ruby/vendor_ruby"}
	packaged, _ := filepath.Glob("/usr/share/rubygems-integration/all/gems/bundler-*/lib")
	coretest.Requires(t, coretest.Found("ruby-bundler", len(packaged) > 0))
	for _, dir := range packaged {
		found["ruby-bundler"] = dir + ":/usr/lib/ruby/vendor_ruby"
	}
	for _, paths := range strings.Split(os.Getenv("PIPSQUEAK_TEST_RUBYGEMS"), ",") {
		if paths != "" {
			found[paths] = paths
		}
	}
	return found
}

// serveIndex serves the gems of a directory as rubygems.org does. It returns the address.
func serveIndex(t *testing.T, dir string, locked map[string]core.Locked) string {
	t.Helper()
	info, versions := map[string]string{}, "created_at: 2026-01-01T00:00:00Z\n---\n"
	for _, file := range slices.Sorted(maps.Keys(locked)) {
		p := locked[file]
		needs := map[string]string{"greeting": "shout:~> 1.0"}[p.Name]
		info[p.Name] = cmp.Or(info[p.Name], "---\n") + fmt.Sprintf("%s %s|checksum:%s\n", strings.TrimPrefix(file, p.Name+"-"), needs, strings.TrimPrefix(p.Archives[0], "sha256:"))
	}
	for file, p := range locked {
		versions += fmt.Sprintf("%s %s %x\n", p.Name, strings.TrimPrefix(file, p.Name+"-"), md5.Sum([]byte(info[p.Name]))) //nolint:gosec // indexes of gems have it
	}
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, is := strings.CutPrefix(r.URL.Path, "/info/")
		switch {
		case r.URL.Path == "/versions":
			_, _ = w.Write([]byte(versions))
		case is && info[name] != "":
			_, _ = w.Write([]byte(info[name]))
		default:
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestLockGems has every version of RubyGems and Bundler say the same of the same gems, and refuse the same
// locks. Versions differ in whether they know a platform, a digest, or the section with the checksums.
func TestLockGems(t *testing.T) {
	all := managers(t)
	t.Cleanup(func() { os.Remove("/tmp/Gemfile.lock") }) // the installer's own, which runs in no sandbox here
	served := t.TempDir()
	gems := filepath.Join(served, "gems")
	if err := os.Mkdir(gems, 0o755); err != nil {
		t.Fatal(err)
	}
	built := map[string]core.Locked{}
	for _, g := range []struct{ name, more, platform string }{
		{"prebuilt", `s.platform = "x86_64-linux"`, "-x86_64-linux"}, {"prebuilt", "", ""}, {"darwin", `s.platform = "arm64-darwin"`, "-arm64-darwin"}, {"darwin", "", ""},
		{"greeting", `s.add_dependency "shout", "~> 1.0"`, ""}, {"shout", "", ""}, {"compiled", `s.extensions = ["ext/extconf.rb"]`, ""},
	} {
		locked := buildGem(t, gems, g.name, g.more, map[string]string{"lib/x.rb": "", "ext/extconf.rb": ""})
		built[g.name+"-1.0"+g.platform] = locked
		if err := os.Rename(filepath.Join(gems, g.name+"-1.0.gem"), filepath.Join(gems, g.name+"-1.0"+g.platform+".gem")); err != nil {
			t.Fatal(err)
		}
	}
	index := serveIndex(t, served, built)
	want := map[string]core.Locked{}
	for file, locked := range built {
		switch file {
		case "prebuilt-1.0", "darwin-1.0-arm64-darwin":
			continue
		case "prebuilt-1.0-x86_64-linux":
			locked.URL += "?platform=x86_64-linux"
		case "greeting-1.0":
			locked.Requires = []string{"shout==1.0"}
		}
		locked.Scripts = locked.Name == "compiled"
		want[locked.Name] = locked
	}
	gemfile := fmt.Sprintf("source %q\ngem 'greeting'\ngem 'compiled'\ngem 'prebuilt'\ngem 'darwin'\n", index)
	script, err := filepath.Abs("runtime/install/gems.rb")
	if err != nil {
		t.Fatal(err)
	}
	standard, _ := filepath.Glob("/usr/lib/ruby/[0-9]*/bundler.rb")
	for name, paths := range all {
		lock := func(lock string) (found map[string]core.Locked, made, said string) {
			t.Helper()
			dir := t.TempDir()
			drivertest.Write(t, dir, map[string]string{"Gemfile": gemfile})
			if lock != "" {
				drivertest.Write(t, dir, map[string]string{"Gemfile.lock": lock})
			}
			cmd := exec.Command("/usr/bin/ruby", "--disable=gems", "-I", paths+":"+filepath.Dir(standard[0]), "-e", gemsProgram("lock(ARGV[3])"), t.TempDir(), script, index, filepath.Join(dir, "Gemfile"))
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			text, err := cmd.CombinedOutput()
			var packages []core.Locked
			if err != nil || json.Unmarshal(text, &[]any{&packages, &made}) != nil {
				return nil, "", string(text)
			}
			found = map[string]core.Locked{}
			for _, p := range packages {
				if len(p.Requires) == 0 {
					p.Requires = nil
				}
				found[p.Name] = p
			}
			return found, made, ""
		}
		t.Run(name, func(t *testing.T) {
			found, made, said := lock("")
			if !reflect.DeepEqual(found, want) {
				t.Fatalf("it locks %+v\nand not %+v\n%s", found, want, said)
			}
			good, bad := strings.TrimPrefix(want["shout"].Archives[0], "sha256:"), strings.Repeat("0", 64)
			made = before(made, "\nCHECKSUMS", "\nBUNDLED WITH")
			checksums := func(lines string) string { return made + "\nCHECKSUMS\n" + lines }
			for _, lock1 := range []string{made, checksums("  shout (1.0) sha256=" + good + "\n"), checksums("  greeting (1.0)\n"), strings.ReplaceAll(made, "\n", "\r\n")} {
				if found, _, said := lock(lock1); !reflect.DeepEqual(found, want) {
					t.Errorf("with a lock it locks %+v\nand not %+v\n%s%s", found, want, said, lock1)
				}
			}
			for lock1, says := range map[string]string{
				checksums("  shout (1.0) sha256=" + bad + "\n"):                                            "checksum sha256:000",
				checksums("  shout (1.0) sha512=" + bad + ",sha256=" + bad + "\n"):                         "checksum sha256:000",
				strings.ReplaceAll(checksums("  shout (1.0) sha256="+bad+"\n"), "\n", "\r\n"):              "checksum sha256:000",
				checksums("  shout (1.0) sha512=" + good + "\n"):                                           "SHA-256",
				checksums("  shout (1.0) sha256=abc\n"):                                                    "SHA-256",
				checksums("  shout 1.0 " + good + "\n"):                                                    "cannot be read",
				checksums("  shout (1.0) sha256=" + good + "\n  shout (1.0) sha256=" + bad + "\n"):         "two checksums",
				checksums("  prebuilt (1.0) sha256=" + built["prebuilt-1.0"].Archives[0][7:] + "\n"):       "none for prebuilt-1.0-x86_64-linux",
				checksums("  shout (1.0) sha256="+good+"\n") + "\nSIGNATURES\n  shout (1.0) ed25519=xyz\n": `section "SIGNATURES"`,
				strings.Replace(made, "  specs:", "  trust: none\n  specs:", 1):                            `"trust"`,
				platforms.ReplaceAllString(made, "PLATFORMS\n  x64-mingw32\n\n"):                           "platform",
				strings.Replace(made, "\n  compiled\n", "\n", 1):                                           "bundle install",
			} {
				if found, _, said := lock(lock1); found != nil || !strings.Contains(said, "install caller: Gemfile.lock") || !strings.Contains(said, says) {
					t.Errorf("it should say %s, locks %v and says %s of\n%s", says, found, said, lock1)
				}
			}
		})
	}
}

var platforms = regexp.MustCompile(`PLATFORMS\n( .*\n)+\n`)

// before is the part of a text that comes before any of the words.
func before(text string, words ...string) string {
	for _, word := range words {
		text, _, _ = strings.Cut(text, word)
	}
	return text
}
