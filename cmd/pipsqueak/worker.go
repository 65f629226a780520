package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// workerConfig configures a worker.
type workerConfig struct {
	Data    string // directory of everything that outlives the worker
	Drivers string // directory of the drivers' programs
	Memory  int64  // bytes that all nodes may use together; 0 lets the worker choose
	// As in worker.Config.
	RootsOnly  bool
	PackageAge time.Duration
	StoreLimit int64
	KeepFree   int64
	Log        *slog.Logger
	Policy     *scan.Policy // of what a scan finds at a deploy; nil for no scan

	Env        []string // of the drivers
	Registries []string // that installers reach besides those of their runtimes

	// RequireSigned is a file or directory of public keys: only what is signed by one of them is deployed.
	// Empty for no such rule.
	RequireSigned string
	// Vulnerabilities is the database that packages are looked up in; nil for none.
	Vulnerabilities core.VulnerabilityDatabase
	Refuse          core.Severity // the least severity of a known vulnerability with which a deploy is refused; empty when none is
	// PackageRule, SecretKeys and Events are as in worker.Config.
	PackageRule core.PackageRule
	SecretKeys  string
	Events      bool
	// Network, EgressAllow and NetworkIfAble are as in worker.Config.
	Network       core.Network
	EgressAllow   []netip.Prefix
	NetworkIfAble bool
}

// opener opens a worker. The function that it returns closes the worker.
type opener func(context.Context, workerConfig) (core.Service, func(context.Context) error, error)

// driverVariables begin the names of those variables of the operator's environment that drivers get: settings
// for them, the way out of the machine, and how the languages' own tools learn the registries and the keys to
// trust.
var driverVariables = []string{"PIPSQUEAK_", "HTTP_PROXY=", "HTTPS_PROXY=", "NO_PROXY=", "PIP_", "UV_", "NPM_CONFIG_", "BUNDLE_",
	"SSL_CERT_FILE=", "SSL_CERT_DIR=", "NODE_EXTRA_CA_CERTS="}

// registriesVariable lists addresses that installers may reach besides the registries of their runtimes, such
// as another host that an index has its files on.
const registriesVariable = "PIPSQUEAK_REGISTRIES="

func (c workerConfig) withEnvironment(all []string) workerConfig {
	for _, entry := range all {
		if list, is := strings.CutPrefix(entry, registriesVariable); is {
			c.Registries = strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", \t\n", r) })
		}
		if strings.HasPrefix(entry, client.TokenVariable+"=") || strings.HasPrefix(entry, secretKeysVariable+"=") {
			continue // whoever starts a worker may be a client of one, and its token is no driver's business, and less the worker's keys
		}
		if slices.ContainsFunc(driverVariables, func(prefix string) bool { return strings.HasPrefix(strings.ToUpper(entry), prefix) }) {
			c.Env = append(c.Env, entry)
		}
	}
	return c
}
