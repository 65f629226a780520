package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// readManifests reads manifests as the installer does, up to where uv would be asked. It answers with the
// requirements, or with what the user is told.
const readManifests = `
import base64, json, os, shutil, sys, tempfile
libexec, tools = sys.argv[1:]
sys.path[:0] = [libexec + "/python/install", libexec + "/python/loop"]
import manifest
from answer import Refused
manifest.TOOLS = tools
class Export:
    returncode = 0
    def communicate(self):
        return b"", b""
manifest.start_in_project = lambda env, *arguments: Export()
for line in sys.stdin:
    code = tempfile.mkdtemp()
    manifest.PROJECT = code + "/project"
    for name, text in json.loads(line).items():
        with open(os.path.join(code, name), "wb") as file:
            file.write(base64.b64decode(text))
    try:
        name = manifest.manifest_of(code)
        text = manifest.READERS[name](code)
        found = manifest.parse(name, text)
        manifest.required_by(text)
        if manifest.brings_lock(code):
            manifest.hashed(name, found)
        answer = {"requirements": [requirement for requirement, _ in found]}
    except Refused as refused:
        answer = refused.reply
    except BaseException as error:
        answer = {"kind": "internal", "message": repr(error)}
    shutil.rmtree(code)
    print(json.dumps(answer), flush=True)
`

// requirement is what may be told to uv on a line of its own.
var requirement = regexp.MustCompile(`^[A-Za-z0-9][^\n\r\f\v]*$`)

// FuzzManifests: whatever is in a manifest or in a lock of Python's tools, it is refused as the user's fault,
// or it is read as names of packages alone, each on one line.
func FuzzManifests(f *testing.F) {
	coretest.Requires(f, coretest.File(defaultInterpreter))
	libexec := drivertest.Libexec(f)
	const digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	names := []string{"requirements.txt", "pyproject.toml", "pylock.toml", "uv.lock"}
	for i, texts := range [][]string{
		{"numpy==1.26.4\npandas>=2,<3 ; python_version > '3.8'\n# a comment\nrequests[socks]\n", "a==1 \\\n    --hash=" + digest + "  # via b\n", "-r more.txt\n--index-url https://x\n", "\xef\xbb\xbfa\rb\f-e ."},
		{"[project]\nname = 'f'\nversion = '1'\ndependencies = ['numpy==1', \"a\\r-e .\"]\n", "[tool.uv.sources]\na = {path = '.'}\n", "[project]\ndynamic = ['dependencies']\n"},
		{"lock-version = '1.0'\ncreated-by = 'test'\n[[packages]]\nname = 'p'\nversion = '1'\nwheels = [{name = 'p-1-py3-none-any.whl', url = 'https://x/p-1-py3-none-any.whl', hashes = {sha256 = '00'}}]\n",
			"lock-version = '1.0'\ncreated-by = 'test'\n[[packages]]\nname = 'p'\nvcs = {type = 'git', url = 'https://x', commit-id = 'a'}\n"},
		{"version = 1\nrevision = 3\nrequires-python = '>=3.9'\n[[package]]\nname = 'a'\nversion = '1'\nsource = { registry = 'https://pypi.org/simple' }\n" +
			"sdist = { url = 'https://x/a-1.tar.gz', hash = '" + digest + "', size = 1 }\n", "version = 1\n[unknown]\n"},
	} {
		for _, text := range texts {
			f.Add(byte(i), []byte(text), []byte("[project]\nname = 'f'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['a']\n"))
		}
	}
	installer := drivertest.StartLines(f, defaultInterpreter, "-I", "-S", "-B", "-c", readManifests, libexec, filepath.Join(libexec, "attestations"))
	f.Fuzz(func(t *testing.T, kind byte, text, project []byte) {
		files := map[string][]byte{"pyproject.toml": project}
		files[names[int(kind)%len(names)]] = text
		var got struct {
			refusal
			Requirements []string
		}
		installer.Ask(t, files, &got)
		if got.Kind != "" && (got.Kind != "install" || got.Fault != "caller" && got.Fault != "handler") {
			t.Errorf("%q: %+v", fmt.Sprintf("%s", files), got.refusal)
		}
		for _, line := range got.Requirements {
			if !requirement.MatchString(line) {
				t.Errorf("%q is given to the installer as %q", fmt.Sprintf("%s", files), line)
			}
		}
	})
}
