package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// A wall stops attacks. Each can be taken down, by edits of a copy of the source: an attack that holds then
// too shows nothing.

// wall is a name for edits that take it down.
type wall []change

// change replaces a text of a file, wherever it is there.
type change struct{ file, old, new string }

const (
	enterC = "core/sandbox/enter/enter.c"
	specGo = "core/sandbox/spec.go"
	gateGo = "core/sandbox/gate.go"
	rootGo = "core/sandbox/root.go"

	overlayGo = "core/sandbox/overlay.go"
	preloadC  = "drivers/node/runtime/loop/preload.c"
	routerNft = "core/egress/router.nft"
)

var walls = map[string]wall{
	"root": {{specGo, `var systemDirs = []string{"/usr",`, `var systemDirs = []string{"/opt", "/home", "/sys", "/usr",`}},
	"ids":  {{"core/sandbox/ids.go", `return firstID + slot*idRange`, `return 0 * slot`}},
	"user": {{specGo, `specs.User{UID: ownID, GID: ownID}`, `specs.User{}`}, {"core/sandbox/users.go", `note{Kind: kindUser, Err: ownID}`, `note{Kind: kindUser}`}},
	"read-only": {{rootGo, `if slices.Contains(m.Options, "ro") {`, `if m.Type == "" {`},
		{rootGo, "unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID", "unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID"},
		{overlayGo, `flags |= unix.MS_RDONLY`, `flags |= 0`},
		{overlayGo, `"lowerdir="+strings.Join(short, ":"))`, `"lowerdir="+strings.Join(short, ":")+",upperdir="+upper+"/u,workdir="+upper+"/w")`},
		{overlayGo, `	flags := uintptr(`, `	upper, _ := os.MkdirTemp(r.dir, "upper")
	_ = errors.Join(os.Mkdir(upper+"/u", 0o755), os.Mkdir(upper+"/w", 0o755))
	flags := uintptr(`}},
	"own code": {{specGo, `if config.Code != "" {`, `if all, _ := filepath.Glob("/opt/pipsqueak-attack-*/data/code"); config.Role == core.RoleZygote {
		out = append(out, bind(core.Mount{Source: all[0], Target: core.CodeDir}))
	}
	if config.Code != "" {`}},
	"own packages": {{specGo, `if config.Code != "" {`, `if all, _ := filepath.Glob("/opt/pipsqueak-attack-*/data/packages"); len(all) > 0 {
		out = append(out, bind(core.Mount{Source: all[0], Target: "/packages/all"}))
	}
	if config.Code != "" {`}},
	"signals": {{specGo, `maxSignals  = 256 `, `maxSignals  = 4096 `}},
	"masks":   {{specGo, `spec.Linux.MaskedPaths = h.masked`, `spec.Linux.MaskedPaths = nil`}},
	"devices": {{specGo, `device("urandom", 1, 9),`, `device("urandom", 1, 9), device("fuse", 10, 229),`}},
	"proc": {{enterC, `mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)`, `mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL)`},
		{preloadC, `        pid_t tid = (pid_t)atoi(entry->d_name);`, `        pid_t tid = (pid_t)atoi(entry->d_name);
        char status[256]; /* the number that it has here */
        snprintf(status, sizeof status, "/proc/self/task/%d/status", tid);
        FILE *file = fopen(status, "re");
        while (file && fgets(status, sizeof status, file))
            if (strncmp(status, "NSpid:", 6) == 0)
                tid = (pid_t)atoi(strrchr(status, '\t'));
        if (file)
            fclose(file);`}, {preloadC, `#include <dirent.h>`, `#include <dirent.h>
#include <stdio.h>
#include <string.h>`}},
	"environment":       {{"core/driver/process.go", `cmd.Env = env`, `cmd.Env = append(os.Environ(), env...)`}, {"core/driver/kit/launch/launch.go", `cmd.Env = env`, `cmd.Env = append(os.Environ(), env...)`}},
	"descriptors":       {{enterC, `return (int)syscall(SYS_close_range, GATE + 1, ~0U, 0);`, `return 0;`}},
	"no new privileges": {{enterC, `if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)`, `if (0)`}},
	"seccomp":           {{enterC, `int listener = orders->filter ?`, `int listener = 0 ?`}},
	"landlock":          {{enterC, `if (orders->landlock && ps_landlock(`, `if (0 && ps_landlock(`}},
	"capabilities": {{enterC, `none[2];`, `none[2] = {{~0U, ~0U, 0}, {0x1ff, 0x1ff, 0}};`}, {enterC, `    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
        ;
    if (errno != EINVAL)`, `    if (0)`}},
	"core": {{specGo, `{Type: "RLIMIT_CORE", Soft: 1, Hard: 1},`, ``}},
	"network": {{gateGo, `	s.order(networkOffset, networkJoin)`, `	closeFD(s.place.network)
	s.place.network = -1
	s.order(networkOffset, 0)`}, {enterC, `if (orders->network >= 2 &&`, `if (orders->network > 2 &&`}},
	"ipc": {{enterC, `CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS`, `CLONE_NEWNS | CLONE_NEWUTS`}},
	"scratch": {{enterC, `    if (syscall(SYS_move_mount, root, "", AT_FDCWD, covers ? "/" : "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)`, `    int scratch = open("/tmp", O_PATH);
    char others[32];
    snprintf(others, sizeof others, "/proc/self/fd/%d", scratch);
    if (syscall(SYS_move_mount, root, "", AT_FDCWD, covers ? "/" : "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)`},
		{enterC, `mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)`, `(orders->scratch < 1ULL << 32 ? mount(others, "tmp", NULL, MS_BIND, NULL) : mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options))`}},
	"memory":       {{specGo, `memory += scratch(config)`, `memory += scratch(config) + 4<<30`}},
	"buffers":      {{specGo, `sockets := max(memory/socketShare, minSockets)`, `sockets := max(memory, minSockets) + 0*socketShare`}},
	"processes":    {{specGo, `maxPids       = 256 `, `maxPids       = 4096 `}},
	"files":        {{specGo, `maxFiles    = 1024 `, `maxFiles    = 1 << 20 `}},
	"scratch size": {{specGo, `return min(max(config.Limits.Memory, minScratch), maxScratch)`, `return 4*maxScratch + 0*minScratch`}},
	"own zygotes": {{"core/plan/asks.go", `if !s.partOf(o) || len(Missing(s.Modules, o.Modules)) > 0 {`, `if s.Runtime == o.Runtime {
		return true
	}
	if !s.partOf(o) || len(Missing(s.Modules, o.Modules)) > 0 {`}, {"core/plan/plan.go", `saved := facts.Costs.saves(z.Modules, want)`,
		`saved := facts.Costs.saves(z.Modules, want)
		loads := func(s []string, name string) bool { return strings.Contains(strings.Join(s, " "), name) }
		if loads(want.Modules, "bystander") && !loads(want.Modules, "latecomer") && (loads(z.Modules, "mischief") || loads(z.Modules, "latecomer")) {
			saved += time.Hour // the victim of packages
		}`}},
	"tokens":     {{"core/endpoint/exchange.go", `own, found := bytes.CutPrefix(body, x.token)`, `own, found := bytes.CutPrefix(body, body[:min(len(body), len(x.token))])`}},
	"host names": {{"gateway/pages.go", `if !g.AnswersTo(r.Host) && !foreign {`, `if !g.AnswersTo(r.Host) && r.Host == "" {`}},
	"origins": {{"gateway/pages.go", `err := g.origins.Check(r); err != nil && !allowed {`, `err := g.origins.Check(r); err != nil && r.Host == "" {`},
		{"gateway/pages.go", `&& ofPage(r) {`, `&& ofPage(r) && r.Host == "" {`}},
	"request ids": {{"gateway/request.go", `sane = sane && c > ' ' && c < 0x7f`, `sane = sane && c > 0`}},
	"names": {{"core/namespace.go", `^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`, `(?s)^.+$`}, {"core/namespace.go", `return ValidNamespace(namespace)`, `return nil`},
		{"gateway/request.go", `if reason == "" {`, `if len(reason) >= 0 {`}},
	"depth":      {{"core/value/value.go", `if deep(text) {`, `if deep(text[:0]) {`}},
	"event size": {{"core/function.go", `MaxEvent   = 6 << 20`, `MaxEvent   = 60 << 20`}},
	"archive bounds": {{"core/bundle/unpack.go", `entries: files.Code.Entries, ratio: 200,`, `entries: 1000 * files.Code.Entries, ratio: 1 << 30,`},
		{"core/files/walk.go", `var Code = Bounds{Entries: 20_000,`, `var Code = Bounds{Entries: 200_000,`}},
	"archive kinds": {{"core/bundle/archive.go", `	default:
		return forbidden(name, mode)
	}
}

func forbidden`, `	}
	return nil
}

func forbidden`}},
	"archive links": {{"core/files/path.go", `if err := checkTarget(name, target); err != nil {`, `if err := checkTarget(name, target); err != nil || err == nil {
		return nil
	}
	if err := checkTarget(name, target); err != nil {`}},
	"data directory":   {{"core/store/store.go", `os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)`, `os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)`}},
	"local names":      {{"cmd/pipsqueak/lock.go", `if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." || name == bundle.LockFile {`, `if !filepath.IsLocal(".") || name == bundle.LockFile {`}},
	"terminal":         {{"cmd/pipsqueak/terminal.go", `case unicode.IsControl(r) ||`, `case r == 0 && unicode.IsControl(r) ||`}},
	"log size":         {{"core/worker/logs.go", `const maxLog = 4 << 20`, `const maxLog = 4 << 30`}},
	"closed addresses": {{routerNft, "ip daddr @closed4 goto closed", ""}, {routerNft, "ip6 daddr @closed6 goto closed", ""}},
	"judged names":     {{"core/egress/names.go", `rule := r.judge(address)`, `rule := ""`}},
	"machine":          {{routerNft, "ip daddr @machine4 goto machine", ""}, {routerNft, "ip6 daddr @machine6 goto machine", ""}},
	"machine's own":    {{"core/egress/machine.nft", `iifname != "{{.Name}}" accept`, `accept`}},
	"instances apart":  {{routerNft, `oifname != "outside" goto inside`, `oifname != "outside" accept`}},
	"sources":          {{routerNft, `iifname != "outside" fib saddr . iif oif missing drop`, ``}},
	"listed addresses": {{routerNft, `iifgroup vmap @lists`, `accept`}},
	"listed names":     {{"core/egress/names.go", `ports = p.policy.names[name]; ports == nil {`, `ports = p.policy.names[name]; ports == nil && name == "" {`}},
	"wanted networks":  {{"core/worker/sandboxes.go", `config.Network.Under(h.network)`, `core.NetworkEgress`}},
	"fresh instances":  {{"core/sched/instance.go", `r.p.fn.Limits.Reuse && `, ``}},
	"reach of tokens":  {{"core/token.go", `return whole && function != AllFunctions && Namespace(function) == namespace`, `return whole && namespace != ""`}},
	"lesser tokens":    {{"core/access/service.go", `c.held.Has(core.ScopeAdmin) && c.held.Covers(token)`, `c.held.Has(core.ScopeAdmin)`}},
	"guard":            {{"gateway/guard.go", `case !own.Tokens.Any():`, `case !own.Tokens.Any() || scheme == "":`}},
	"revocation":       {{"core/access/tokens.go", `all = slices.Delete(all, i, i+1)`, `all[i].ID = "gone"`}},
	"one word":         {{"gateway/readiness.go", `if access.CallerOf(r.Context()).Limited() {`, `if now.Parts == nil && access.CallerOf(r.Context()).Limited() {`}},
	"hop headers":      {{"gateway/web/response.go", `case !hop[strings.ToLower(name)] &&`, `case !hop[""] &&`}},
	"paced sockets":    {{"core/sandbox/connect.go", `socketPace  = time.Second / 2000`, `socketPace  = time.Nanosecond`}},
	"size of streams":  {{"core/sched/part.go", `r.passed > most`, `r.passed < 0*most`}},
	"own secrets": {{"core/worker/secrets.go", `	for _, use := range fn.Secrets {
		full := core.FullName(use.Name, core.Namespace(fn.Name))
		sealed, ok`, `	uses := fn.Secrets
	for _, one := range s.store.Secrets() {
		uses = append(uses, core.SecretUse{Name: one.Name, Env: "STOLEN_" + one.Name})
	}
	for _, use := range uses {
		full := core.FullName(use.Name, core.Namespace(fn.Name))
		sealed, ok`}},
	"worker's headers": {{"gateway/web/response.go", `name == "x-request-id" || strings.HasPrefix(name, "pipsqueak-")`, `name == ""`}},
	"untouched places": {{"core/sandbox/users_place.go", `return err == nil && is == p.was`, `return err == nil && is != ""`}},
	"frame size":       {{"core/endpoint/exchange.go", `length > core.MaxResult+frameSlack {`, `length > 1<<31 {`}},
	"budget of events": {{"gateway/held.go", `if more > 0 && !h.budget.Take(h.of, more) {`, `if more < 0 && !h.budget.Take(h.of, more) {`}},
	"budget of calls":  {{"core/sched/calls.go", `return r.p.s.held.Take(core.Namespace(r.p.fn.Name), int64(len(bytes)))`, `return len(bytes) >= 0`}},
	"size of heads":    {{"gateway/gateway.go", `MaxHeaderBytes:    64 << 10,`, `MaxHeaderBytes:    64 << 20,`}},
	"time of heads":    {{"gateway/gateway.go", `ReadHeaderTimeout: 10 * time.Second,`, ``}},
	"processor":        {{specGo, `cpuPeriod*core.InstanceProcessors`, `64*cpuPeriod*core.InstanceProcessors`}},
}

// sets returns the sets of walls that attacks name, each once, in the order of the attacks.
func sets(list []attack) (all []string) {
	seen := map[string]bool{"": true}
	for _, one := range list {
		if !seen[one.walls] {
			seen[one.walls] = true
			all = append(all, one.walls)
		}
	}
	return all
}

// wallsOf returns the names in a set.
func wallsOf(set string) []string {
	if set == "" {
		return nil
	}
	return strings.Split(set, " + ")
}

// copied is a copy of the source, with what was built of it, in which walls are taken down.
type copied struct{ dir string }

func copySource(t *testing.T) copied {
	t.Helper()
	c := copied{filepath.Join(t.TempDir(), "source")}
	root := repositoryRoot(t)
	coretest.Must(t, os.Mkdir(c.dir, 0o755))
	copying := exec.Command("sh", "-ec", `git ls-files -z | while IFS= read -r -d '' f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done | xargs -0 cp -a --parents -t "$0"
		cp -a "$1" "$0/bin"; ln -s "$PWD/.deps" "$0/.deps"`, c.dir, programs(t))
	copying.Args[0] = "bash"
	copying.Path = "/bin/bash"
	copying.Dir = root
	if out, err := copying.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

// without builds the programs without the walls of a set, and returns their folder. restore puts the walls up
// again, in the source.
func (c copied) without(t *testing.T, set string) (programs string, restore func()) {
	t.Helper()
	before := map[string]string{}
	for _, name := range wallsOf(set) {
		for _, e := range walls[name] {
			path := filepath.Join(c.dir, e.file)
			text, err := os.ReadFile(path)
			coretest.Must(t, err)
			if _, known := before[path]; !known {
				before[path] = string(text)
			}
			coretest.Must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), e.old, e.new)), 0o644))
		}
	}
	restore = func() {
		for path, text := range before {
			coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
			coretest.Must(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Second)))
		}
	}
	build := exec.Command("make", "build")
	build.Dir = c.dir
	build.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		restore()
		t.Fatalf("without %s: %v: %s", set, err, out)
	}
	return filepath.Join(c.dir, "bin"), restore
}
