package core

import "time"

// Lock is what the manifests of a function stand for: every package at an exact version, with the digests of
// what its registry publishes under it. The same manifests give the same lock until somebody asks for
// another.
type Lock struct {
	Runtime  RuntimeID `json:"runtime"`
	Inputs   string    `json:"inputs"` // digest of what was resolved: the manifests, and what the worker adds to them; empty when nothing asks for packages
	Packages []Locked  `json:"packages"`
	// Files are the lock files of the language's own tool, by their names in the code directory, as far as
	// the tool made them: a driver may need them to install. They are part of the code from then on.
	Files map[string]string `json:"files,omitempty"`
}

// Locked is one package of a lock.
type Locked struct {
	Name    string `json:"name"`    // as in Package
	Version string `json:"version"` // exact
	// Archives are the digests, "sha256:<hex>" or "sha512:<hex>", of the archives that it may be installed
	// from: anything else is refused. There are several where a registry has one for each kind of machine.
	Archives []string `json:"archives,omitempty"`
	Requires []string `json:"requires,omitempty"` // packages of the same lock that it requires itself, as Package.String has them
	Scripts  bool     `json:"scripts,omitempty"`  // it cannot be installed without running code of its own: only when the function's author allows it
	// URL is its package URL (purl, ECMA-427), such as
	// "pkg:deb/debian/zlib1g@1.2.13?distro=debian-12&upstream=zlib": what lists of vulnerabilities and bills
	// of materials know it by. Of a distribution's package it names the release and the source package, by
	// which such lists have it.
	URL string `json:"purl,omitempty"`
}

func (l Locked) String() string { return l.Name + "==" + l.Version }

// Base is as Package.Base.
func (l Locked) Base() string { return l.Name + "-" + l.Version }

// Receipt is a driver's report of a package that it has installed.
type Receipt struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Archive string `json:"archive"` // digest of the archive that it was installed from, one of Locked.Archives
	Bytes   int64  `json:"bytes"`   // that were fetched for it
	// Modules are what a process can import of it: the names by which a probe imports it, and with which
	// imports of it begin. Empty when it has nothing to import. A name may begin with the way in which it is
	// imported, and a colon.
	Modules []string `json:"modules,omitempty"`
	// Offers are further names by which packages find it that ask for it, as in Report.Asks: a name stands
	// for all that begins with it.
	Offers     []string    `json:"offers,omitempty"`
	Licenses   []string    `json:"licenses,omitempty"`   // as it states them, SPDX expressions where it does
	Signatures []Signature `json:"signatures,omitempty"` // what was looked for, found or not
	// Bundles are packages that lie in its archive and are nobody else's: name, version and URL.
	Bundles []Locked `json:"bundles,omitempty"`
}

// Signature is what somebody other than the lock says of an archive, checked with the tool of who made the
// scheme. One that is there and wrong has no Signature: it ends the installation.
type Signature struct {
	Scheme   string `json:"scheme"`           // "Debian archive", "npm registry", "PEP 740"
	Verified bool   `json:"verified"`         // false: the registry gave none, or it could not be checked, as Detail says
	Signer   string `json:"signer,omitempty"` // key or identity
	Detail   string `json:"detail,omitempty"`
}

// Probe is what a package does when it is imported, seen from outside the process.
type Probe struct {
	Time    time.Time     `json:"time"`
	Took    time.Duration `json:"took"`    // with everything it requires
	Own     time.Duration `json:"own"`     // when everything it requires had been imported
	Memory  int64         `json:"memory"`  // private bytes, with everything it requires
	Private int64         `json:"private"` // of these, its own
	// What it leaves behind, besides memory.
	Threads  int      `json:"threads,omitempty"`  // more than before
	Children int      `json:"children,omitempty"` // processes
	Files    []string `json:"files,omitempty"`    // open files, sockets and shared memory, as the kernel names them
	Signals  []string `json:"signals,omitempty"`  // that it handles
	Network  []string `json:"network,omitempty"`  // attempts to reach one, "3 datagrams"
	// Reads are the names of environment variables that it reads when it is imported and everything it
	// requires has been, as in Report.
	Reads []string `json:"reads,omitempty"`
	// Asks are what it looks for when it is imported, in any process that was seen, as in Report.
	Asks []string `json:"asks,omitempty"`
	// Version counts up what a probe looks at: an older one is made again.
	Version int `json:"version,omitempty"`
	// By is what has made it, with its versions: Pipsqueak, the driver, the runtime. What failed is tried
	// again by another one.
	By string `json:"by,omitempty"`
	// Errors is why a module of it cannot be imported by itself, by its name in Receipt.Modules.
	Errors map[string]string `json:"errors,omitempty"`
	// Unforkable is why it may not live in a zygote: "starts 3 threads at import". Empty when it may.
	Unforkable string `json:"unforkable,omitempty"`
	Through    string `json:"through,omitempty"` // the package, as Package.String has it, that it imports and that is the reason of Unforkable
}

// Suspicion is something in the files of a package that a person should know of before functions use it: a
// reason and a place.
type Suspicion struct {
	Package string `json:"package"` // as Package.String has it
	Rule    string `json:"rule"`    // one word for the kind of it, "install-hook", "hidden-code", "network", "process", "binary", "name"
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // from 1; 0 when it is the whole file
	Reason  string `json:"reason"`         // one sentence
}

// Installed is a package in a worker's store, with all that is known of it. It does not change but for Used,
// Probe, Compiled, Quarantine and Locked.Requires, which has what the locks of all its functions say.
type Installed struct {
	Package
	Runtime RuntimeID `json:"runtime"`
	Locked  Locked    `json:"locked"` // as in the lock that it was installed for
	Receipt Receipt   `json:"receipt"`
	Size    int64     `json:"size"` // bytes on disk
	Added   time.Time `json:"added"`
	Used    time.Time `json:"used"`            // when a deploy last asked for it, or, within the hour, a function had it
	Probe   *Probe    `json:"probe,omitempty"` // nil until it was probed
	// Compiled is the digest of its compiled copy, which its runtime's processes see instead of it. Empty
	// when there is none.
	Compiled string `json:"compiled,omitempty"`
	// Quarantine is why it may not be used: its files are damaged, or somebody has forbidden it. Empty when
	// it may.
	Quarantine string `json:"quarantine,omitempty"`
}
