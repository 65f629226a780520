package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// names are what Debian calls Go's architectures, and the directory of their libraries.
var names = map[string]struct{ architecture, triplet string }{
	"amd64":   {"amd64", "x86_64-linux-gnu"},
	"arm64":   {"arm64", "aarch64-linux-gnu"},
	"386":     {"i386", "i386-linux-gnu"},
	"arm":     {"armhf", "arm-linux-gnueabihf"},
	"ppc64le": {"ppc64el", "powerpc64le-linux-gnu"},
	"riscv64": {"riscv64", "riscv64-linux-gnu"},
	"s390x":   {"s390x", "s390x-linux-gnu"},
}

func architecture() string { return names[runtime.GOARCH].architecture }

// Triplet returns the name of the directory in which Debian has the libraries of this architecture.
func Triplet() string { return names[runtime.GOARCH].triplet }

// settings come after the host's own: a private state, no hooks of the host's, no proxy but the
// environment's, nothing that is not signed, and of the indexes only what names packages.
const settings = `
Dir::State "@";
Dir::State::status "@/status";
Dir::State::extended_states "@/extended_states";
Dir::Etc::preferencesparts "@/preferences.d";
Dir::Cache "@";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Log "@";
Debug::NoLocking "true";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::AllowUnauthenticated "false";
APT::Get::Assume-Yes "true";
APT::Cmd::Pattern-Only "true";
APT::Color "false";
APT::Architecture "` + "!" + `";
#clear APT::Architectures;
APT::Architectures { "` + "!" + `"; };
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::Languages;
Acquire::Languages { "none"; };
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-large::DefaultEnabled "false";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
#clear Acquire::http::Proxy;
#clear Acquire::https::Proxy;
#clear Acquire::http::Proxy-Auto-Detect;
#clear Acquire::https::Proxy-Auto-Detect;
#clear Acquire::http::ProxyAutoDetect;
#clear Acquire::https::ProxyAutoDetect;
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
`

// preferences keep what counts as installed as it is. apt would upgrade it together with others of the same
// source.
const preferences = "Package: *\nPin: release a=now\nPin-Priority: 1001\n"

// apt is an apt with a state of its own in a directory of ScratchDir.
type apt struct {
	dir     string
	base    map[string]string // versions of what it takes for installed, by name
	signers map[string]string // fingerprints of the keys that signed a release, by its address: only what apt has verified
}

// openApt makes the state, with the packages of base and without lists of packages.
func openApt(shown []string) (*apt, error) {
	dir, err := os.MkdirTemp(core.ScratchDir, "apt-")
	if err != nil {
		return nil, err
	}
	a := &apt{dir: dir}
	if err := a.prepare(shown); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// update fetches the lists of packages, which apt verifies.
func (a *apt) update(ctx context.Context) error {
	said, err := a.run(ctx, aptGet, "fetching the lists of Debian packages", nil, "update", "-o", "Debug::pkgAcquire::Worker=true")
	a.signers = signers(said)
	if e := core.AsError(err); e != nil && e.Fault == core.FaultHandler { // the function has no part in it
		return core.Errorf(e.Kind, core.FaultWorker, "%s; see to /etc/apt of the worker's machine", e.Message)
	}
	return err
}

func (a *apt) close() { _ = os.RemoveAll(a.dir) }

func (a *apt) prepare(shown []string) error {
	for _, dir := range []string{"lists/partial", "archives/partial", "preferences.d"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return err
		}
	}
	hosts, _ := filepath.Glob("/etc/apt/preferences.d/*")
	for _, from := range hosts {
		if text, err := os.ReadFile(from); err == nil {
			if err := os.WriteFile(filepath.Join(a.dir, "preferences.d", filepath.Base(from)), text, 0o644); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "preferences.d", "pipsqueak"), []byte(preferences), 0o644); err != nil {
		return err
	}
	installed, err := os.ReadFile(status)
	if err != nil {
		return err
	}
	entries, versions := base(string(installed), shown)
	a.base = versions
	if err := os.WriteFile(filepath.Join(a.dir, "status"), []byte(entries), 0o644); err != nil {
		return err
	}
	text := strings.NewReplacer("@", a.dir, "!", architecture()).Replace(settings)
	return os.WriteFile(filepath.Join(a.dir, "apt.conf"), []byte(text), 0o644)
}

// run runs a program of apt's and returns what it printed, also when it fails. Line, unless nil, hears each
// line as it comes. What is the phrase for an error.
func (a *apt) run(ctx context.Context, program, what string, line func(string), arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", filepath.Join(a.dir, "apt.conf"), "-q"}, arguments...)...)
	cmd.Dir = a.dir
	// What is said is read, so it must be in English.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TMPDIR="+a.dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var out strings.Builder
	scanner := bufio.NewScanner(stdout)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		out.WriteString(scanner.Text() + "\n")
		if line != nil {
			line(scanner.Text())
		}
	}
	err = errors.Join(scanner.Err(), cmd.Wait())
	if err != nil {
		err = failed(ctx, what, out.String()+said.String(), err)
	}
	return out.String() + said.String(), err
}

var (
	diskFull    = regexp.MustCompile(`No space left|[Qq]uota exceeded|not enough free (disk )?space|don't have enough free space`)
	gone        = regexp.MustCompile(`404 +Not Found|Version '.*' for '.*' was not found|Unable to locate package|Can't find a source to download`)
	unreachable = regexp.MustCompile(`Failed to fetch|Could not (resolve|connect)|Temporary failure|[Cc]onnection (failed|timed out|refused)|is not signed|GPG error|Some index files failed`)
)

// failed says in core's words why a program did not do what it was to do.
func failed(ctx context.Context, what, said string, err error) error {
	said = lastLines(said)
	switch {
	case ctx.Err() != nil:
		return core.Errorf(core.KindTimeout, core.FaultCaller, "%s did not end in time: %w", what, ctx.Err())
	case diskFull.MatchString(said) || errors.Is(err, syscall.ENOSPC):
		return core.Errorf(core.KindExhausted, core.FaultWorker, "the disk of the worker is full: free space there, or start the worker with --data on a larger disk: %s: %s", what, said)
	case unreachable.MatchString(said):
		return core.Errorf(core.KindInstall, core.FaultWorker, "%s: the Debian archive cannot be used: %s", what, said)
	}
	return core.Errorf(core.KindInstall, core.FaultHandler, "%s: %s (%w)", what, said, err)
}

// resolveAgain says what to do when the archive does not have what a lock names.
func resolveAgain(err error) error {
	if err == nil || !gone.MatchString(err.Error()) {
		return err
	}
	return core.Errorf(core.KindInstall, core.FaultHandler, "the Debian archive does not have the locked versions any more: "+
		"resolve again with `pipsqueak deploy --anew` or `pipsqueak lock` (%s)", core.AsError(err).Message)
}
