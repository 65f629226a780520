package debian

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Archive is a package with what the signed lists said of its archive.
type Archive struct {
	core.Locked
	URI       string         `json:"uri,omitempty"` // where it is; empty when no list was asked
	Size      int64          `json:"size,omitempty"`
	Signature core.Signature `json:"signature"`
}

// Memory is what a driver remembers of the archives that it has resolved: between Resolve and Install nobody
// has to fetch the lists again. What it forgets, Install looks up. Its zero value is empty.
type Memory struct {
	mu       sync.Mutex
	archives map[string]Archive // by digest
}

// Learn keeps those of Debian's packages, and returns all of them as they are locked.
func (m *Memory) Learn(packages []Archive) []core.Locked {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.archives == nil {
		m.archives = map[string]Archive{}
	}
	var locked []core.Locked
	for _, p := range packages {
		locked = append(locked, p.Locked)
		if p.URI != "" {
			m.archives[p.Archives[0]] = p
		}
	}
	return locked
}

// Recall returns the packages with what is known of them: nothing of one that the lock knows by another
// package URL.
func (m *Memory) Recall(packages []core.Locked) []Archive {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Archive
	for _, p := range packages {
		known := Archive{}
		if len(p.Archives) == 1 {
			known = m.archives[p.Archives[0]]
		}
		if known.String() != p.String() || known.URL != p.URL {
			known = Archive{}
		}
		known.Locked = p
		all = append(all, known)
	}
	return all
}

// sha256Only has apt print that digest, and not the one that its oldest callers know.
const sha256Only = "-oAcquire::ForceHash=SHA256"

// uriLine is 'URI' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:HEX, the colon of a version's epoch being %3a.
var uriLine = regexp.MustCompile(`(?m)^'([^']+)' ([^_ ]+)_([^_ ]+)_([^_ ]+)\.deb (\d+) SHA256:([0-9a-f]{64})$`)

// printed reads the archives that apt would fetch. It is an error when one has no SHA-256.
func printed(out string) ([]Archive, error) {
	var packages []Archive
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "'") && !uriLine.MatchString(line) {
			return nil, core.Errorf(core.KindInstall, core.FaultWorker, "the lists of the Debian archive have no SHA-256 of this package, so it cannot be locked: %s", line)
		}
	}
	for _, m := range uriLine.FindAllStringSubmatch(out, -1) {
		p := Archive{Locked: newPackage(m[2], strings.Replace(m[3], "%3a", ":", 1)), URI: m[1]}
		p.Size, _ = strconv.ParseInt(m[5], 10, 64)
		p.Archives = []string{"sha256:" + m[6]}
		p.URL = packageURL(p.Locked, m[4])
		packages = append(packages, p)
	}
	return packages, nil
}

// packageURL is what lists of vulnerabilities know a package by, but for its source package.
func packageURL(p core.Locked, architecture string) string {
	name, version := nameAndVersion(p)
	id, release := distribution()
	// A package URL has the colon of an epoch as it is.
	return "pkg:deb/" + id + "/" + name + "@" + strings.ReplaceAll(url.QueryEscape(version), "%3A", ":") + "?arch=" + url.QueryEscape(architecture) + "&distro=" + id + "-" + release
}

// PackageURL returns the package URL that a package of a lock has to have, as far as its name and version say
// it. For architecture and source package it takes the lock's word, which Install compares with what the
// lists say.
func PackageURL(p core.Locked) string {
	_, query, _ := strings.Cut(p.URL, "?")
	said, _ := url.ParseQuery(query) // of what cannot be read nothing is taken
	known := packageURL(p, said.Get("arch"))
	if upstream := said.Get("upstream"); upstream != "" {
		known += "&upstream=" + url.QueryEscape(upstream)
	}
	return known
}

// distribution returns the vendor of the machine's system, and its release.
var distribution = sync.OnceValues(func() (id, release string) {
	text, _ := os.ReadFile("/usr/lib/os-release")
	for line := range strings.Lines(string(text)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "ID":
			id = strings.Trim(value, `"`)
		case "VERSION_ID":
			release = strings.Trim(value, `"`)
		}
	}
	return id, release
})

// describe adds what the lists say of the packages: what they require of each other, and who signed the
// release that they are of.
func (a *apt) describe(ctx context.Context, packages []Archive) error {
	var names []string
	for _, p := range packages {
		name, version := nameAndVersion(p.Locked)
		names = append(names, name+"="+version)
	}
	shown, err := a.run(ctx, aptCache, "reading the lists of Debian packages", nil, append([]string{"show"}, names...)...)
	if err != nil {
		return err
	}
	require(packages, shown)
	for i, name := range names {
		names[i], _, _ = strings.Cut(name, "=")
	}
	versions, err := a.run(ctx, aptCache, "reading the lists of Debian packages", nil, append([]string{"madison"}, names...)...)
	if err != nil {
		return err
	}
	a.sign(packages, versions)
	return nil
}

// require finds what each package requires of the others, in their entries of the lists: of alternatives the
// first that is there. It also adds the source package to the package URL, as purl's definition of deb has
// it: Debian's lists of vulnerabilities know those.
func require(packages []Archive, lists string) {
	has := map[string]string{} // packages by their names and what they provide
	for _, p := range packages {
		name, _ := nameAndVersion(p.Locked)
		has[name] = p.String()
	}
	depends, sources := map[string]string{}, map[string]string{}
	for fields := range records(lists) {
		self := newPackage(fields["Package"], fields["Version"]).String()
		sources[self] = cmp.Or(fields["Source"], fields["Package"]) // NAME, or NAME (VERSION) when that is another
		depends[self] = fields["Pre-Depends"] + "," + fields["Depends"]
		for _, provided := range listed(fields["Provides"], ",") {
			if has[provided] == "" {
				has[provided] = self
			}
		}
	}
	for i, p := range packages {
		for clause := range strings.SplitSeq(depends[p.String()], ",") {
			for _, name := range listed(clause, "|") {
				if found := has[name]; found != "" {
					if found != p.String() && !slices.Contains(p.Requires, found) {
						p.Requires = append(p.Requires, found)
					}
					break
				}
			}
		}
		slices.Sort(p.Requires)
		packages[i].Requires = p.Requires
		if source, version, other := strings.Cut(strings.TrimSuffix(sources[p.String()], ")"), " ("); other {
			packages[i].URL += "&upstream=" + url.QueryEscape(source+"@"+version)
		} else if source != "" {
			packages[i].URL += "&upstream=" + url.QueryEscape(source)
		}
	}
}

// listed are the names in a list such as "libc6 (>= 2.14), python3:any".
func listed(list, separator string) (all []string) {
	for one := range strings.SplitSeq(list, separator) {
		if fields := strings.Fields(one); len(fields) > 0 {
			name, _, _ := strings.Cut(fields[0], ":")
			all = append(all, name)
		}
	}
	return all
}

// sign notes who signed the releases. Versions is what apt knows: NAME | VERSION | REPOSITORY SUITE/COMPONENT
// ARCHITECTURE Packages.
func (a *apt) sign(packages []Archive, versions string) {
	for i, p := range packages {
		name, version := nameAndVersion(p.Locked)
		s := core.Signature{Scheme: "Debian archive", Detail: "it is of no release whose signature apt has verified"}
		for line := range strings.Lines(versions) {
			columns := strings.Split(line, " | ")
			if len(columns) != 3 || strings.TrimSpace(columns[0]) != name || strings.TrimSpace(columns[1]) != version {
				continue
			}
			source := strings.Fields(columns[2])
			if len(source) < 2 || !strings.HasPrefix(p.URI, strings.TrimSuffix(source[0], "/")+"/") {
				continue
			}
			release := strings.TrimSuffix(source[0], "/") + "/dists/" + path.Dir(source[1])
			if keys := a.signers[release]; keys != "" {
				s.Verified, s.Signer, s.Detail = true, keys, "release file of "+release
			}
		}
		packages[i].Signature = s
	}
}

// signers reads from what apt's workers say to each other which releases it has fetched, and which keys it
// has accepted for them.
func signers(said string) map[string]string {
	address, keys := map[string]string{}, map[string]string{} // by the file that it was fetched to
	for line := range strings.Lines(said) {                   // of any length
		message, err := url.PathUnescape(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), " <- "))
		if err != nil || !strings.Contains(message, ":201 URI Done\n") {
			continue
		}
		fields := map[string]string{}
		for line := range strings.Lines(strings.ReplaceAll(message, "\n ", " ")) {
			key, value, _ := strings.Cut(line, ": ")
			fields[key] = strings.TrimSpace(value)
		}
		if signed := fields["Signed-By"]; signed != "" {
			keys[fields["Filename"]] = signing(signed)
		} else if fields["Filename"] != "" {
			uri := fields["URI"]
			address[fields["Filename"]] = uri[:max(0, strings.LastIndexByte(uri, '/'))]
		}
	}
	found := map[string]string{}
	for file, by := range keys {
		found[address[file]] = by
	}
	return found
}

// signing are, of the keys that apt lists, those that made the signatures, which have an exclamation mark;
// others are above them.
func signing(list string) string {
	all := strings.Fields(list)
	made := slices.DeleteFunc(slices.Clone(all), func(key string) bool { return !strings.HasSuffix(key, "!") })
	if len(made) == 0 {
		made = all
	}
	return strings.ReplaceAll(strings.Join(made, ", "), "!", "")
}
