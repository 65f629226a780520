package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Does the code keep the rules of the repository?

// The rules of the repository. They parse the files in this process: a `go list` subprocess is invisible to
// the test cache, and such a test was seen to pass from the cache after a violation.

const modulePath = "github.com/pipsqueak-faas/pipsqueak"

// row is one line of the import table of ARCHITECTURE.md: what a package of this repository may import, and
// why.
type row struct {
	folder string   // of the package; a trailing /* stands for all folders directly below
	why    string   // the reason for the limits, shown when the rule is broken
	module []string // folders of this module that it may import; a trailing /* stands for everything below, and "" for nothing
	third  []string // third-party modules
}

// imports is the table. Tests may import more: everything but what nobody may (see forbidden).
var imports = []row{
	{"core", "the vocabulary has to be readable and importable by everybody, so it depends on nobody",
		nil, nil},
	{"core/coretest", "tests of every room look at errors and at the machine in one way, so what helps them knows the vocabulary alone",
		[]string{"core"}, nil},
	{"core/value", "an event and a result are the same to everybody; whether a text is JSON a well-kept library finds out several times as fast as Go's own",
		[]string{"core"}, []string{"github.com/tidwall/gjson"}},
	{"core/endpoint", "what an instance is told is the same for whoever tells it, so the frames know neither tree, scheduler nor drivers",
		[]string{"core", "core/value"}, nil},
	{"core/plan", "the policy is pure, so that what decides is tested, and played through, without anything that lives; it knows the vocabulary only",
		[]string{"core"}, nil},
	{"core/tree", "the life of the tree is tested without processes, so it knows sandboxes and drivers only as core's interfaces; what it does, core/plan decides",
		[]string{"core", "core/endpoint", "core/plan"}, nil},
	{"core/sched", "the scheduler asks the tree for leaves and knows nothing of how they are made; its numbers are core/plan's",
		[]string{"core", "core/tree", "core/endpoint", "core/plan", "core/value"}, nil},
	{"core/sandbox", "a sandbox works when the driver is dead and for any language, so it knows neither drivers nor functions",
		[]string{"core", "core/netns"}, []string{"golang.org/x/sys", "github.com/opencontainers/runtime-spec", "github.com/opencontainers/cgroups",
			// The first library knows the numbers of system calls, the second assembles filters.
			"github.com/elastic/go-seccomp-bpf", "golang.org/x/net/bpf"}},
	{"core/netns", "whoever has something to do in another network namespace comes back from it in one way",
		nil, []string{"golang.org/x/sys"}},
	{"core/egress", "what instances may reach is decided by addresses and names, so the router knows neither sandboxes nor drivers; the kernel is told of interfaces by a library, and names are asked in DNS's own form",
		[]string{"core", "core/netns"}, []string{"golang.org/x/sys", "github.com/vishvananda/netlink", "golang.org/x/net/dns"}},
	{"core/egress/egresstest", "tests of the router and of workers have the same internet, in namespaces of their own",
		[]string{"core", "core/coretest", "core/netns"}, []string{"golang.org/x/sys", "github.com/vishvananda", "golang.org/x/net/dns"}},
	{"core/relay", "what may be reached is decided by addresses alone, so the relay knows neither sandboxes nor drivers",
		[]string{"core"}, nil},
	{"core/files", "a tree of files is the same to whoever hands it in, keeps it or signs it; of the kernel it wants syncfs (x/sys), once instead of fsync for each file",
		[]string{"core"}, []string{"golang.org/x/sys"}},
	{"core/files/filestest", "tests of whoever has trees write and read them in one way, so it knows none of them",
		nil, nil},
	{"core/bundle", "the client reads a directory as a worker reads its archive, so neither needs a worker's disk for it; what to leave out is said as git does, and texts may have byte-order marks",
		[]string{"core", "core/files", "core/nearest", "core/routes"}, []string{"go.yaml.in/yaml", "github.com/go-git/go-git", "golang.org/x/text"}},
	{"core/store", "what is on disk depends neither on what is alive nor on what a user hands in; of the kernel it wants the exchange of two directories, and how full a disk is (x/sys)",
		[]string{"core", "core/files", "core/routes"}, []string{"golang.org/x/sys"}},
	{"core/routes", "which function a request is for is decided by what functions have said alone, in the same way when one is deployed and when one is asked",
		[]string{"core"}, nil},
	{"core/nearest", "whoever is given a wrong name says the one that was meant, and by the same rule; how alike texts are a well-kept library tells",
		nil, []string{"github.com/agext/levenshtein"}},
	{"core/driver", "the wire carries core.Driver and has no policy; it is the only place that knows gRPC",
		[]string{"core", "core/driver/driverpb"},
		[]string{"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog"}},
	{"core/driver/driverpb", "generated code knows only its generators' libraries",
		nil, []string{"google.golang.org/grpc", "google.golang.org/protobuf"}},
	{"core/driver/kit/launch", "every program that a driver starts goes into its sandbox in one way, so what starts programs does not know which: loops or installers",
		[]string{"core"}, []string{"golang.org/x/sys"}},
	{"core/driver/kit/zygote", "the kit is linked into drivers, which must stay small and must not contain the worker",
		[]string{"core", "core/driver/kit/launch"}, []string{"golang.org/x/sys"}},
	{"core/driver/kit/installer", "an installer is no process of a function, so what runs one knows nothing of zygotes",
		[]string{"core", "core/driver/kit/launch"}, nil},
	{"core/driver/kit/interpreter", "what is on the machine is found before anything is started, so it knows neither sandboxes nor loops",
		[]string{"core"}, nil},
	{"core/driver/kit/debian", "every driver may offer Debian packages, so they are linked into drivers as the kit is",
		[]string{"core"}, nil},
	{"core/driver/kit/lookalike", "every driver has popular names of its own and the same idea of what looks like one, so it is linked into drivers as the kit is",
		[]string{"core"}, nil},
	{"core/driver/conform", "what examines a driver sees it as the worker does, over the wire and in sandboxes; frames it makes itself, to make impossible ones too",
		[]string{"core", "core/driver", "core/sandbox", "core/value"}, nil},
	{"core/driver/drivertest", "a driver's own tests have the places of its processes, its instances and its probes as the worker has, and no wire",
		[]string{"core", "core/coretest", "core/endpoint", "core/probe", "core/sandbox"}, nil},
	{"core/signing", "who vouches for code is decided by keys alone, before anything of it is looked at; envelopes are a well-kept library's",
		[]string{"core"}, []string{"github.com/secure-systems-lab/go-securesystemslib"}},
	{"core/seal", "what is encrypted, and for whom, is nothing to what encrypts; the cipher is the standard library's",
		[]string{"core"}, nil},
	{"core/sbom", "a bill of materials is made from what the vocabulary has, so that it can be made again; the format is its maker's library's",
		[]string{"core"}, []string{"github.com/CycloneDX/cyclonedx-go", "github.com/google/uuid"}},
	{"cmd/pipsqueak/osv", "it knows the names of languages' registries, which core must not; the worker sees it as core.VulnerabilityDatabase and core.PackageRule",
		// Versions are compared as each registry does, and severities computed, by libraries that others
		// keep.
		[]string{"core"}, []string{"github.com/google/osv-scalibr", "deps.dev/util/semver", "github.com/pandatix/go-cvss"}},
	{"cmd/pipbench/profile", "what an ecosystem is like is known without anything that is made of it; profiles are YAML, and a statistics library draws what is correlated",
		nil, []string{"go.yaml.in/yaml", "gonum.org/v1/gonum"}},
	{"cmd/pipbench/image", "a tree of files is no package; its templates are YAML as profiles are",
		[]string{"cmd/pipbench/packages", "cmd/pipbench/profile"}, []string{"go.yaml.in/yaml"}},
	{"cmd/pipbench/learn", "what is learned becomes a profile, and makes nothing; profiles are written as they are read, and locks of TOML by a well-kept library",
		[]string{"cmd/pipbench/profile"}, []string{"go.yaml.in/yaml", "gonum.org/v1/gonum", "github.com/BurntSushi/toml"}},
	{"cmd/pipbench/packages", "artificial packages are for any platform, so what makes them knows none",
		[]string{"cmd/pipbench/profile"}, nil},
	{"cmd/pipbench/registry", "clients see packages as registries describe them, so it knows what they are and not how they are drawn; signatures are a well-kept library's",
		[]string{"cmd/pipbench/packages"}, []string{"github.com/ProtonMail/go-crypto"}},
	{"cmd/pipbench/functions", "functions are drawn from packages as they are on disk; who sends events asks it what the answers have to be",
		[]string{"cmd/pipbench/packages", "cmd/pipbench/profile"}, nil},
	{"cmd/pipbench/trace", "when functions are called has nothing to do with who calls them; models are YAML as profiles are, and drawn by the same library",
		[]string{"cmd/pipbench/functions", "cmd/pipbench/packages", "cmd/pipbench/profile"}, []string{"go.yaml.in/yaml", "gonum.org/v1/gonum"}},
	{"cmd/pipbench/results", "what was measured is read by whoever reports it, without what measured it",
		nil, nil},
	{"cmd/pipbench/check", "what was made is judged by its profile, and not by what made it; what imports cost is measured in processes as others are",
		[]string{"cmd/pipbench/functions", "cmd/pipbench/packages", "cmd/pipbench/profile", "cmd/pipbench/run"}, []string{"gonum.org/v1/gonum"}},
	{"cmd/pipbench/compare", "how runs differ is computed from results alone; the distributions of statistics are a library's",
		[]string{"cmd/pipbench/results"}, []string{"gonum.org/v1/gonum"}},
	{"cmd/pipbench/report", "a page shows what was computed, and computes nothing itself but curves; figures are drawn by a well-kept library",
		[]string{"cmd/pipbench/compare", "cmd/pipbench/results"}, []string{"gonum.org/v1/plot"}},
	{"cmd/pipbench/run", "platforms are measured as their users see them: over HTTP, or as programs, and Pipsqueak by its client",
		[]string{"cmd/pipbench/functions", "cmd/pipbench/packages", "cmd/pipbench/registry", "cmd/pipbench/results", "cmd/pipbench/trace", "gateway/client"}, nil},
	{"cmd/pipbench/aws", "a platform's own API is called by the platform's own library, which nobody else needs",
		[]string{"cmd/pipbench/functions", "cmd/pipbench/run"}, []string{"github.com/aws/aws-sdk-go-v2"}},
	{"cmd/pipbench/coldstart", "how starts of one function differ is measured as runs are, with packages of its own; tables and figures are made as those of runs",
		[]string{"cmd/pipbench/compare", "cmd/pipbench/functions", "cmd/pipbench/packages", "cmd/pipbench/profile", "cmd/pipbench/registry", "cmd/pipbench/report", "cmd/pipbench/run"}, nil},
	{"cmd/pipbench/study", "a paper is written of what all others have measured, and measures nothing in a way of its own",
		[]string{"cmd/pipbench/coldstart", "cmd/pipbench/compare", "cmd/pipbench/functions", "cmd/pipbench/packages", "cmd/pipbench/profile", "cmd/pipbench/registry",
			"cmd/pipbench/report", "cmd/pipbench/results", "cmd/pipbench/run", "cmd/pipbench/trace"}, nil},
	{"core/scan", "what is decided about findings depends neither on what finds them nor on what is alive; a policy is YAML",
		[]string{"core"}, []string{"go.yaml.in/yaml"}},
	{"core/probe", "what imports packages to look at them needs a driver and sandboxes, and decides nothing of functions; of the kernel it wants the names of signals (x/sys)",
		[]string{"core", "core/sandbox"}, []string{"golang.org/x/sys"}},
	{"core/supply", "how functions get their packages is tested without processes, so it knows what lives by its interface Live alone; how full a disk is it asks the kernel (x/sys)",
		[]string{"core", "core/bundle", "core/files", "core/nearest", "core/plan", "core/probe", "core/relay", "core/sbom", "core/scan", "core/signing", "core/store"},
		[]string{"golang.org/x/sys"}},
	{"core/worker", "assembly is the one place in core that knows all the pieces; of the machine it asks only how much memory there is (x/sys)",
		[]string{"core", "core/*"}, []string{"golang.org/x/sys"}},
	{"core/access", "who may do what is decided before a worker is asked, and for a cluster in the same way, so it knows the service by its parts alone",
		[]string{"core"}, nil},
	{"gateway", "the gateway cannot tell one worker from a cluster, so it knows core.Service only, what an event is, and who may come in; the front knows no API",
		[]string{"core", "core/access", "core/value"}, []string{"github.com/gorilla/mux", "github.com/prometheus/client_golang",
			// How often a client may come is counted by the first library; the second keeps the clients that
			// came last.
			"golang.org/x/time", "github.com/hashicorp/golang-lru"}},
	{"gateway/v1", "an API is routes on the front and knows core.Service only; what every API needs is the front's, and no API knows another",
		[]string{"core", "core/nearest", "gateway"}, nil},
	{"gateway/web", "functions as HTTP are routes on the front too; JSON is read and written by the library that checks events, headers by net/http's own rules",
		[]string{"core", "core/value", "gateway"}, []string{"github.com/tidwall/gjson", "golang.org/x/net/http/httpguts"}},
	{"gateway/client", "the client runs where people sit, on every system, so it knows the wire and the vocabulary and nothing of a server",
		[]string{"core"}, nil},
	{"drivers/*", "a driver is a program of its own that could live in another repository, so it has the contract and the kit only",
		[]string{"core", "core/driver", "core/driver/kit/*"}, []string{"golang.org/x/sys"}},
	{"cmd/*", "a command is flags, configuration and wiring, and reaches drivers only as programs",
		[]string{"core", "core/*", "gateway", "gateway/v1", "gateway/web", "gateway/client", "cmd/pipsqueak/osv", "cmd/pipbench/*"}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/mattn/go-isatty",
			"github.com/fsnotify/fsnotify"}}, // how a system tells of changed files differs between systems
	{"integration", "tests from outside use what a user has: programs, HTTP and its client; core is the vocabulary of the answers",
		[]string{"core", "gateway/client"}, nil},
	{"examples/*", "an example of a driver has what a stranger's has: the contract and the kit",
		[]string{"core", "core/driver", "core/driver/kit/*"}, nil},
	{"examples", "the demo is a user: it has programs, HTTP and its client; core is the vocabulary of the answers",
		[]string{"core", "gateway/client"}, nil},
}

// forbidden is what no file may import, tests included, unless it lies below the file's own folder, or both
// are rooms of one command.
var forbidden = map[string]string{
	"drivers":     "drivers are programs, reached over the wire; a language must never be linked into anything",
	"cmd":         "a command is an end, not a library, and its rooms are its own; move what is shared to the package whose word it is",
	"integration": "integration looks at everything, so nothing may look at it",
}

// source is one parsed file.
type source struct {
	name string // slash-separated, relative to the root of the repository
	file *ast.File
	set  *token.FileSet
}

func (s source) folder() string { return path.Dir(s.name) }
func (s source) test() bool     { return strings.HasSuffix(s.name, "_test.go") }
func (s source) at(n ast.Node) string {
	p := s.set.Position(n.Pos())
	return p.String()
}

func parse(set *token.FileSet, name string, text []byte) (source, error) {
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{name, file, set}, err
}

// repository parses every Go file that belongs to the module.
func repository(t *testing.T) []source {
	t.Helper()
	root := repositoryRoot(t)
	set := token.NewFileSet()
	var sources []source
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && full != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "build") {
			return fs.SkipDir
		}
		if entry.IsDir() && full != root {
			if _, err := os.Stat(filepath.Join(full, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own, as a user's function is
			}
		}
		if entry.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		text, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		s, err := parse(set, filepath.ToSlash(name), text)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// repositoryRoot is the folder with go.mod above the test.
func repositoryRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("the tests have to run in their own folder: %v", err)
	}
	return root
}

// rules are all rules; each returns one line for every violation.
var rules = map[string]func([]source) []string{
	"imports":         ruleImports,
	"rows":            ruleRows,
	"package comment": rulePackageComment,
	"cgo":             ruleCgo,
	"init":            ruleInit,
	"testing":         ruleTesting,
	"language":        ruleLanguage,
	"pure":            rulePure,
	"numbers":         ruleNumbers,
	"folders":         ruleFolders,
	"vocabulary":      ruleVocabulary,
	"homonyms":        ruleHomonyms,
	"kinds":           ruleKinds,
	"contract":        ruleContract,
	"mutexes":         ruleMutexes,
	"assembly":        ruleAssembly,
	"tested":          ruleTested,
}

func TestArchitecture(t *testing.T) {
	sources := repository(t)
	if len(sources) < 5 {
		t.Fatalf("only %d Go files found: the walk is broken", len(sources))
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t.Run(name, func(t *testing.T) {
			for _, violation := range rules[name](sources) {
				t.Error(violation)
			}
		})
	}
}

// rowOf returns the row of a folder.
func rowOf(folder string) (row, bool) {
	for _, r := range imports {
		if r.folder == folder || strings.HasSuffix(r.folder, "/*") && path.Dir(folder) == strings.TrimSuffix(r.folder, "/*") {
			return r, true
		}
	}
	return row{}, false
}

func (r row) allowsModule(folder string) bool {
	return slices.ContainsFunc(r.module, func(allowed string) bool {
		below, all := strings.CutSuffix(allowed, "*")
		return allowed == folder || all && strings.HasPrefix(folder, below)
	})
}

func (r row) allowsThird(imported string) bool {
	return slices.ContainsFunc(r.third, func(allowed string) bool {
		return imported == allowed || strings.HasPrefix(imported, allowed+"/")
	})
}

func ruleImports(sources []source) (violations []string) {
	for _, s := range sources {
		r, _ := rowOf(s.folder())
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if why := breaks(s, r, imported); why != "" {
				violations = append(violations, s.at(spec)+": "+s.folder()+" imports "+imported+": "+why)
			}
		}
	}
	return violations
}

// breaks returns why the file may not import the package, or nothing.
func breaks(s source, r row, imported string) string {
	if folder, own := strings.CutPrefix(imported, modulePath+"/"); own {
		first, _, _ := strings.Cut(folder, "/")
		if why, ok := forbidden[first]; ok && !strings.HasPrefix(folder, s.folder()+"/") && !oneCommand(s.folder(), folder) {
			return why
		}
		if s.test() || r.allowsModule(folder) {
			return ""
		}
		return r.why
	}
	host, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(host, ".")
	if standard || s.test() || r.allowsThird(imported) {
		return ""
	}
	return r.why
}

// oneCommand reports whether two folders are rooms of the same command.
func oneCommand(a, b string) bool {
	return path.Dir(path.Dir(a)) == "cmd" && path.Dir(a) == path.Dir(b)
}

func ruleRows(sources []source) (violations []string) {
	used := map[string]bool{}
	missing := map[string]bool{}
	for _, s := range sources {
		r, ok := rowOf(s.folder())
		if !ok && !missing[s.folder()] {
			missing[s.folder()] = true
			violations = append(violations, s.folder()+": no row in the table of integration/arch_test.go; add one with its reason, there and in ARCHITECTURE.md")
		}
		used[r.folder] = true
	}
	for _, r := range imports {
		if !used[r.folder] {
			violations = append(violations, r.folder+": a row in the table of integration/arch_test.go but no such package")
		}
		if r.why == "" {
			violations = append(violations, r.folder+": a row without a reason")
		}
	}
	return violations
}

func rulePackageComment(sources []source) (violations []string) {
	comments := map[string][]string{}
	for _, s := range sources {
		if _, ok := comments[s.folder()]; !ok {
			comments[s.folder()] = nil
		}
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			comments[s.folder()] = append(comments[s.folder()], s.name)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(comments)) {
		if found := comments[folder]; len(found) == 0 {
			violations = append(violations, folder+": no package comment; say in one sentence what the package is for")
		} else if len(found) > 1 {
			violations = append(violations, folder+": more than one package comment: "+strings.Join(found, ", "))
		}
	}
	return violations
}

func ruleCgo(sources []source) (violations []string) {
	for _, s := range sources {
		for _, spec := range s.file.Imports {
			if spec.Path.Value == `"C"` {
				violations = append(violations, s.at(spec)+`: import "C": the programs are static and built without cgo; C lives in programs of its own`)
			}
		}
	}
	return violations
}

func ruleInit(sources []source) (violations []string) {
	for _, s := range sources {
		if ast.IsGenerated(s.file) {
			continue
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				violations = append(violations, s.at(f)+": init(): what happens at start is written down in main, in order")
			}
		}
	}
	return violations
}

func ruleFolders(sources []source) (violations []string) {
	seen := map[string]bool{}
	for _, s := range sources {
		for part := range strings.SplitSeq(s.folder(), "/") {
			switch strings.TrimSuffix(part, "s") {
			case "common", "util", "type", "pkg", "helper", "manager":
				if !seen[s.folder()] {
					seen[s.folder()] = true
					violations = append(violations, s.folder()+": a folder is called by what is in it, never "+part)
				}
			}
		}
	}
	return violations
}
