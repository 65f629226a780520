package integration

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The packages of compiled code are Debian's, and where those come from the machine says. This worker sees another /etc/apt/sources.list.d.

var nativeHostile = hostile{
	language: "native", program: "apt-get", source: "mischief.c", flags: []string{"-DAT_LOAD", "-Wl,-soname,libmischief.so.1"}, place: "/packages/debian+libmischief1-1.0",
	serve: func(t *testing.T, library string) string {
		t.Helper()
		bystander := filepath.Join(t.TempDir(), "library")
		compile := exec.Command("cc", "-shared", "-fPIC", "-Wl,-soname,libbystander.so.1", "-o", bystander, "-xc", "-")
		compile.Stdin = strings.NewReader("int bystander(void) { return 1; }\n")
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(bystander)
		if err != nil {
			t.Fatal(err)
		}
		return debianArchive(t, map[string]string{"mischief": library, "bystander": string(text)})
	},
	worker: func(t *testing.T, sources string) *worker {
		t.Helper()
		data := t.TempDir()
		w, err := launch(exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", `mount --bind "$1" /etc/apt/sources.list.d; shift; exec "$@"`, "sh", sources,
			filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
		if err != nil {
			t.Fatal(err)
		}
		stopWith(t, w)
		return w
	},
	carrier: files{"pipsqueak.yaml": "debian: [libmischief1]\n" + fresh, "handler.cc": `
#include <pipsqueak.hpp>
extern "C" int mischief_where;
extern "C" const char *mischief_attempts(void);
static std::string tell(std::string_view, pipsqueak::context &)
{
    return "{\"where\": " + std::to_string(mischief_where) + ", \"attempts\": " + mischief_attempts() + "}";
}
PIPSQUEAK_HANDLER(handler, tell)
`},
	victim: files{"pipsqueak.yaml": "debian: [libbystander1]\n" + fresh, "handler.cc": `
#include <pipsqueak.hpp>
#include <cstring>
#include <dirent.h>
#include <fstream>
#include <sys/resource.h>
#include <sys/shm.h>
#include <unistd.h>
extern "C" int bystander(void);
static std::string look(std::string_view, pipsqueak::context &)
{
    std::string found, line;
    auto find = [&](const std::string &what) { found += (found.empty() ? "\"" : ", \"") + what + "\""; };
    if (bystander() != 1 || getenv("MISCHIEF")) find("a variable");
    for (std::ifstream maps("/proc/self/maps"); std::getline(maps, line);)
        if (line.find("mischief") != line.npos) find(line);
    for (const char *path : {"/tmp/mischief", "/dev/shm/mischief", "/var/tmp/mischief"})
        if (access(path, F_OK) == 0) find(path);
    DIR *packages = opendir("/packages");
    while (dirent *entry = readdir(packages))
        if (entry->d_name[0] != '.' && !strstr(entry->d_name, "bystander")) find(entry->d_name);
    char name[64] = "";
    gethostname(name, sizeof name - 1);
    if (!strcmp(name, "mischief")) find("the name of the host");
    if (shmget(0x4711, 0, 0) != -1) find("shared memory");
    if (getpriority(PRIO_PROCESS, 0) != 0) find("a lower priority");
    return "[" + found + "]";
}
PIPSQUEAK_HANDLER(handler, look)
`},
}

// debianArchive serves libraries as Debian packages, lib<name>1 at version 1.0, and returns a directory that has the archive as apt's source.
func debianArchive(t *testing.T, libraries map[string]string) string {
	t.Helper()
	run := func(name string, arguments ...string) string {
		out, err := exec.Command(name, arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	architecture, triplet := run("dpkg", "--print-architecture"), run("cc", "-print-multiarch")
	served := t.TempDir()
	packages := ""
	for name, library := range libraries {
		root := t.TempDir()
		lib := filepath.Join(root, "usr", "lib", triplet)
		control := fmt.Sprintf("Package: lib%s1\nVersion: 1.0\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\n", name, architecture)
		for path, text := range map[string]string{filepath.Join(lib, "lib"+name+".so.1"): library, filepath.Join(root, "DEBIAN", "control"): control + "Description: a library\n"} {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("lib"+name+".so.1", filepath.Join(lib, "lib"+name+".so")); err != nil {
			t.Fatal(err)
		}
		file := "lib" + name + "1.deb"
		run("dpkg-deb", "--root-owner-group", "--build", root, filepath.Join(served, file))
		archive, err := os.ReadFile(filepath.Join(served, file))
		if err != nil {
			t.Fatal(err)
		}
		packages += control + fmt.Sprintf("Filename: ./%s\nSize: %d\nSHA256: %x\nDescription: a library\n\n", file, len(archive), sha256.Sum256(archive))
	}
	release := fmt.Sprintf("Origin: Test\nSuite: test\nDate: Mon, 23 Nov 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(packages)), len(packages))
	sources := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(served)))
	t.Cleanup(server.Close)
	for path, text := range map[string]string{filepath.Join(served, "Packages"): packages, filepath.Join(served, "Release"): release,
		filepath.Join(sources, "test.sources"): fmt.Sprintf("Types: deb\nURIs: %s\nSuites: ./\nTrusted: yes\n", server.URL)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sources
}
