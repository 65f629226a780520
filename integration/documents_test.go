package integration

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Do the commands of documents and help texts work as they stand?

// notRun are the commands of documents and help texts that this test does not run, with the reason. One that
// no text has any more fails the test.
var notRun = map[string]string{
	"sudo make build":                  "who runs the tests has built the programs; for a driver TestDriverNew does it",
	"make demo":                        "it takes minutes, and is run by hand before a release",
	"make test":                        "it is what runs this",
	"make check":                       "CI runs it",
	"make attack":                      "TestAttacks is what it runs",
	"make attack-without WALL=seccomp": "it builds all again, and takes minutes",
	"apt install luajit lua-dkjson":    "it changes the machine; make test does it",
	"sudo make check":                  "TestDriverNew examines the driver",
	"sudo make serve":                  "TestDriverNew starts the driver",
	"sudo ../bin/drivercheck build/pipsqueak-driver-perl --handlers fixtures":                  "TestDriverNew does it",
	"sudo ../bin/drivercheck build/pipsqueak-driver-perl --handlers fixtures --run '^import/'": "TestDriverNew does it with all cases",
	"build/pipsqueak-driver-perl --describe":                                                   "TestDriverNew starts the driver",
	"sudo ../bin/pipsqueak doctor --drivers build":                                             "TestDriverNew starts the driver",
	"cd pipsqueak-driver-perl && sudo make check":                                              "TestDriverNew does it",
	"sudo drivercheck bin/pipsqueak-driver-python --handlers drivers/python/testdata/handlers": "docs/conformance.md runs it",
	"GOOS=windows GOARCH=amd64 go build -o pipsqueak.exe ./cmd/pipsqueak":                      "TestClientBuildsElsewhere does it",
	"GOOS=darwin GOARCH=arm64 go build -o pipsqueak-mac ./cmd/pipsqueak":                       "TestClientBuildsElsewhere does it",
	"GOOS=linux GOARCH=arm64 go build -o pipsqueak-arm ./cmd/pipsqueak":                        "TestClientBuildsElsewhere does it",
	"sudo pipsqueak token revoke 3f9c0a51b2e4":                                                 "nobody has made that token; TestTokens does it",
	"sudo sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1":                      "it changes the machine; TestEgress has one of its own",
	"sudo pipsqueak serve --egress-allow 10.2.0.0/16":                                          "it needs a machine that forwards; TestEgress does it",
	"sudo curl --unix-socket /var/lib/pipsqueak/socket http://localhost/v1/functions":          "the worker of the test has another data directory; TestAnotherUserAtTheSocket does it",
	`gdb --args bin/libexec/native/once handler.so '{"name": "pip"}'`:                          "a debugger waits for a person",
}

// once are commands that take long: they are run where they come first.
var once = []string{"pipsqueak doctor", "pipsqueak scan examples/penguins", "drivercheck bin/pipsqueak-driver-python --handlers drivers/python/testdata/handlers"}

// block is commands that a person would type one after the other, beginning in a checkout.
type block struct {
	place    string   // file:line, or the command line that shows the help
	commands []string // with their heredocs
	fails    bool     // the text shows how the last one fails
}

var (
	named  = regexp.MustCompile(`^(#|//) ((?:[\w-]+/)*[\w-]+\.\w+|Gemfile|Makefile)$`) // the first line of a block that is a file
	prefix = regexp.MustCompile(`^(sudo |[A-Z_]+=\S+ )*`)
	ours   = regexp.MustCompile(`^(\$ )?(sudo )?((\.\./)*bin/)?(pipsqueak|drivercheck|pipbench) `)
	remark = regexp.MustCompile(`\s+# .*$`)
	here   = regexp.MustCompile(`<<'?(\w+)'?$`)
)

// isCommand reports whether a line begins with a program that there is here.
func isCommand(line, bin string) bool {
	words := strings.Fields(prefix.ReplaceAllString(strings.TrimPrefix(line, "$ "), ""))
	if len(words) == 0 {
		return false
	}
	word := words[0]
	_, inPath := exec.LookPath(word)
	_, inBin := exec.LookPath(filepath.Join(bin, filepath.Base(word)))
	return inPath == nil || inBin == nil || word == "source" || word == "cd" || strings.HasPrefix(word, "build/")
}

// readBlock makes commands of the lines of a text, nil when they are something else.
func readBlock(place string, lines []string, bin string) *block {
	if len(lines) == 0 || !isCommand(lines[0], bin) {
		return nil
	}
	b := &block{place: place}
	prompts := strings.HasPrefix(lines[0], "$ ")
	end := ""
	for _, line := range lines {
		command, prompt := strings.CutPrefix(line, "$ ")
		switch last := len(b.commands) - 1; {
		case end != "":
			b.commands[last] += "\n" + line
			if line == end {
				end = ""
			}
		case prompts && !prompt:
			b.fails = b.fails || strings.HasPrefix(line, "pipsqueak: ")
		case line != "":
			b.commands = append(b.commands, command)
			if found := here.FindStringSubmatch(line); found != nil {
				end = found[1]
			}
		}
	}
	return b
}

// indented returns the indented blocks of a document, by the numbers of their first lines.
func indented(t *testing.T, file, text string) map[int][]string {
	t.Helper()
	blocks, first := map[int][]string{}, 0
	blank := true
	for i, line := range strings.Split(text, "\n") {
		code, is := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "```"):
			t.Errorf("%s:%d: blocks are indented here, so that this test finds them", file, i+1)
		case is && (blank || first > 0):
			if first == 0 {
				first = i + 1
			}
			blocks[first] = append(blocks[first], code)
		case line == "" && first > 0:
			blocks[first] = append(blocks[first], "")
		default:
			first = 0
		}
		blank = line == ""
	}
	return blocks
}

// TestDocuments runs every command of the documents, in a copy of the checkout that has what a reader has by
// then: the function hello of README, and a few files. What is no command there is left alone, but for the
// programs' own names.
func TestDocuments(t *testing.T) {
	d := newDesk(t)
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(d.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	for _, document := range documents {
		name, err := filepath.Rel(d.dir, document)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"CHANGELOG.md", "DECISIONS.md", "SPECIFICATION.md", "ARCHITECTURE.md"}, name) {
			continue // they tell of what was, is and has to be, and not what to type
		}
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		blocks := indented(t, name, string(text))
		for _, first := range slices.Sorted(maps.Keys(blocks)) {
			if file := named.FindStringSubmatch(blocks[first][0]); file != nil {
				writeFile(t, filepath.Join(d.dir, file[2]), strings.Join(blocks[first][1:], "\n"))
			}
		}
		t.Run(name, func(t *testing.T) {
			d.fresh(t)
			for _, first := range slices.Sorted(maps.Keys(blocks)) {
				place := fmt.Sprintf("%s:%d", name, first)
				if b := readBlock(place, blocks[first], d.bin); b != nil {
					d.run(t, b)
				} else if i := slices.IndexFunc(blocks[first], ours.MatchString); i >= 0 {
					t.Errorf("%s: %q would not be run: begin the block with a command", place, blocks[first][i])
				}
			}
		})
	}
	d.runHelp(t)
	for command, reason := range notRun {
		if !d.left[command] {
			t.Errorf("%q (%s) is in no text any more", command, reason)
		}
	}
}

// runHelp runs the examples of every help text.
func (d *desk) runHelp(t *testing.T) {
	texts := helps(t, d.bin)
	if len(texts) < 25 {
		t.Errorf("only %d help texts were found", len(texts))
	}
	for _, command := range slices.Sorted(maps.Keys(texts)) {
		t.Run(strings.ReplaceAll(command, " ", "_")+"_--help", func(t *testing.T) {
			d.fresh(t)
			var lines []string
			examples := false
			above, usage, _ := strings.Cut(texts[command], "Usage:\n") // whose line is no command, but shows how all of them look
			_, below, _ := strings.Cut(usage, "\n\n")
			for line := range strings.Lines(above + below) {
				example, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "  ")
				if examples = line == "Examples:\n" || examples && is; is && (examples || ours.MatchString(example)) {
					lines = append(lines, example)
				}
			}
			if b := readBlock(command+" --help", lines, d.bin); b != nil {
				d.run(t, b)
			} else if strings.Contains(texts[command], "Examples:") {
				t.Errorf("no example was found in\n%s", texts[command])
			}
		})
	}
}

// helps returns the help text of every command of our programs.
func helps(t *testing.T, bin string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	var visit func(words ...string)
	visit = func(words ...string) {
		out, err := exec.Command(filepath.Join(bin, words[0]), append(words[1:], "--help")...).Output()
		if err != nil {
			t.Fatalf("%v --help: %v", words, err)
		}
		texts[strings.Join(words, " ")] = string(out)
		_, listed, _ := strings.Cut(string(out), "\nUsage:\n") // above may be a list of other things
		for _, found := range subcommand.FindAllStringSubmatch(listed, -1) {
			if found[1] != "help" {
				visit(append(slices.Clone(words), found[1])...)
			}
		}
	}
	visit("pipsqueak")
	visit("drivercheck")
	visit("pipbench")
	return texts
}

// subcommand is a line of a help text that names a command.
var subcommand = regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`)

// desk is where commands are run.
type desk struct {
	dir, bin string
	worker   *worker
	env      []string
	left     map[string]bool // commands that were found and are not to be run, or not again
}

// newDesk copies the checkout, and puts in front of its programs what lets them be run by a test: a server
// ends as soon as it listens, what follows a log is interrupted, what needs a data directory has one of its
// own, and requests go to the test's worker, but those about tokens to one that then asks for them.
func newDesk(t *testing.T) *desk {
	t.Helper()
	w := startWorker(t, t.TempDir())
	d := &desk{worker: w, dir: filepath.Join(t.TempDir(), "pipsqueak"), left: map[string]bool{}}
	d.bin = filepath.Join(d.dir, "bin")
	tools := filepath.Join(d.dir, ".tools")
	root := repositoryRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{d.bin, tools} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copies := []string{"-a"}
	for _, entry := range entries {
		if !slices.Contains([]string{".git", ".deps", "bin", "build"}, entry.Name()) {
			copies = append(copies, filepath.Join(root, entry.Name()))
		}
	}
	for _, args := range [][]string{append(copies, d.dir), {"-aL", programs(t) + "/.", d.bin}} {
		if out, err := exec.Command("cp", args...).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
	if err := os.Rename(filepath.Join(d.bin, "pipsqueak"), filepath.Join(d.bin, "pipsqueak.program")); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(w.url, "http://")
	for path, script := range map[string]string{
		filepath.Join(d.bin, "pipsqueak"):   "program=" + d.bin + "/pipsqueak.program\nsocket=" + startWorker(t, t.TempDir()).socket() + "\n" + pipsqueakScript,
		filepath.Join(tools, "pipsqueak"):   "exec " + d.bin + "/pipsqueak \"$@\"\n",
		filepath.Join(tools, "drivercheck"): "exec " + d.bin + "/drivercheck \"$@\"\n",
		filepath.Join(tools, "pipbench"):    "program=" + d.bin + "/pipbench\n" + pipbenchScript,
		filepath.Join(tools, "sudo"):        "exec \"$@\"\n",
		filepath.Join(tools, "curl"):        "exec /usr/bin/curl -sS --fail-with-body --connect-to 127.0.0.1:8080:" + address + " \"$@\"\n",
	} {
		writeFile(t, path, "#!/bin/bash\n"+script)
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.env = append(os.Environ(), "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "PATH="+tools+":"+os.Getenv("PATH"), "PIPSQUEAK_SERVER="+w.url, "HOME="+t.TempDir(), "TMPDIR="+t.TempDir())
	d.furnish(t)
	return d
}

// fresh makes of a desk what it was before a text, as far as another text needs that.
func (d *desk) fresh(t *testing.T) {
	t.Helper()
	d.worker.deploy(t, "hello", handlerFile(says("hello")))
	for _, made := range []string{"pipsqueak-driver-perl", "scan.jsonl", "greeter", "bench", "learned.yaml", "root.tar"} {
		if err := os.RemoveAll(filepath.Join(d.dir, made)); err != nil {
			t.Fatal(err)
		}
	}
}

// goEnv returns a setting of Go, which is not to change with the home directory.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// pipsqueakScript stands in for the program. A flag that is given twice counts the second time.
const pipsqueakScript = `case " $* " in
*" --help "*) ;;
*" serve "*)
	out=$(mktemp)
	"$program" "$@" --listen 127.0.0.1:0 --data "$(mktemp -d)" >"$out" & pid=$!
	for i in {1..600}; do
		grep -q '^listening on' "$out" && { kill $pid; wait $pid; exit; }
		kill -0 $pid 2>/dev/null || { wait $pid; exit 1; }
		sleep 0.1
	done
	kill -9 $pid; exit 1;;
*" scan "* | *" doctor "*) exec "$program" "$@" --data "$(mktemp -d)";;
*" token "*) exec "$program" "$@" --server "$socket";;
*" dev "* | *" logs "*" -f "*) exec timeout --foreground --preserve-status -s INT 6 "$program" "$@";;
esac
exec "$program" "$@"
`

// furnish makes what the documents speak of.
func (d *desk) furnish(t *testing.T) {
	t.Helper()
	hello := says("hello")
	for name, text := range map[string]string{
		"hello/handler.py":    hello,
		"broken/handler.py":   "import requests\n" + hello,
		"hello/event.json":    `{"name": "world"}`,
		"event.json":          `{"name": "world"}`,
		"key.pem":             "a key",
		"db-url.txt":          "postgresql://app:pass@db.example/app",
		"advisories/one.json": `{"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "PyPI", "name": "nothing-of-ours"}, "versions": ["1"]}]}`,
	} {
		writeFile(t, filepath.Join(d.dir, name), text)
	}
	archive := files{"handler.py": hello}.archive(t)
	if err := os.WriteFile(filepath.Join(d.dir, "hello.tar.gz"), archive, 0o644); err != nil {
		t.Fatal(err)
	}
	d.worker.deploy(t, "report", handlerFile(hello).with("requirements.txt", "six==1.17.0\n"))
	wheel := filepath.Join(d.dir, "mirror", "kit_one-1.0-py3-none-any.whl")
	writeFile(t, wheel, "")
	file, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	zipped := zip.NewWriter(file)
	for name, text := range map[string]string{
		"kit_one.py":                     "one = 1\n",
		"kit_one-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: kit-one\nVersion: 1.0\n",
		"kit_one-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"kit_one-1.0.dist-info/RECORD":   "kit_one.py,,\n",
	} {
		entry, err := zipped.Create(name)
		if err == nil {
			_, err = entry.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(zipped.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// run runs a block in one shell, but for the commands that are not to be.
func (d *desk) run(t *testing.T, b *block) {
	t.Helper()
	script := "set -e -o pipefail\n"
	for _, command := range b.commands {
		if plain := remark.ReplaceAllString(command, ""); notRun[plain] != "" {
			d.left[plain] = true
			continue
		} else if short := strings.TrimPrefix(strings.TrimPrefix(plain, "sudo "), "bin/"); slices.Contains(once, short) {
			if d.left[short] {
				continue
			}
			d.left[short] = true
		}
		script += "echo '$' " + quoted(command) + "\n" + command + "\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = d.dir, d.env
	out, err := cmd.CombinedOutput()
	if failed := err != nil; failed != b.fails {
		t.Errorf("%s: %v, want an error: %v\n%s", b.place, err, b.fails, out)
	}
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// pipbenchScript stands in for pipbench: a registry ends as soon as it listens, and a run has two events,
// which processes answer. What a command is about is made before. What takes minutes is asked for its help,
// which wants its flags to be right too.
const pipbenchScript = `case " $* " in
*" coldstart "* | *" study "*) exec "$program" "$@" --help;;
*" --help "* | *" packages "* | *" profile "* | *" image "*) exec "$program" "$@";;
esac
case $1 in
compare | report)
  for one; do
    [[ $one == *.jsonl ]] || continue
    [ -f "$one" ] || "$0" run "$(dirname "$one")" --target command --trace none --out "$one" || exit 1
  done
  exec "$program" "$@";;
esac
dir=$2
[ -d "$dir/python" ] || "$program" packages --count 2 --scale 0 --out "$dir" || exit 1
[ "$1" != registry ] || exec timeout --preserve-status -s INT 2 "$program" "$@" --listen 127.0.0.1:0
[ "$1" = functions ] || [ "$1" = check ] || [ -d "$dir/functions" ] || "$program" functions "$dir" --count 1 || exit 1
if [ "$1" = run ]; then
  [ -f "$dir/short.jsonl" ] || "$program" trace "$dir" --model poisson --rate 2 --duration 1s --out "$dir/short.jsonl" || exit 1
  set -- "$@" --trace "$dir/short.jsonl" --target command
fi
exec "$program" "$@"
`
