package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipsqueak/osv"
	"github.com/pipsqueak-faas/pipsqueak/core"
)

// vulnerabilityPolicy has the flags of serve about vulnerabilities.
type vulnerabilityPolicy struct {
	path     string
	policy   oneOf
	severity oneOf
}

// vulnerabilityFlags gives a command these flags.
func vulnerabilityFlags(cmd *cobra.Command) *vulnerabilityPolicy {
	v := &vulnerabilityPolicy{policy: oneOf{"warn", []string{"warn", "refuse"}}, severity: oneOf{value: string(core.SeverityHigh)}}
	for _, severity := range core.Severities() {
		v.severity.words = append(v.severity.words, string(severity))
	}
	cmd.Flags().StringVar(&v.path, "vulnerabilities", "", "database of known vulnerabilities in OSV's format: a `PATH` to a JSON file, a zip, or a directory of them")
	cmd.Flags().Var(&v.policy, "vulnerability-policy", "what a known vulnerability does to a deploy")
	cmd.Flags().Var(&v.severity, "refuse-severity", "the lowest severity that is refused, with --vulnerability-policy refuse")
	return v
}

// open opens the database, if there is to be one. The severity is empty when nothing is refused.
func (v *vulnerabilityPolicy) open(cmd *cobra.Command, log *slog.Logger) (core.VulnerabilityDatabase, core.Severity, error) {
	refuse := core.Severity("")
	if v.policy.value == "refuse" {
		refuse = core.Severity(v.severity.value)
	} else if cmd.Flags().Changed("refuse-severity") {
		return nil, "", core.Errorf(core.KindInvalid, core.FaultCaller, "--refuse-severity is only for --vulnerability-policy refuse: give that too, or leave it out")
	}
	if v.path == "" {
		if refuse != "" {
			return nil, "", core.Errorf(core.KindInvalid, core.FaultCaller, "--vulnerability-policy refuse has nothing to go by: name a database with --vulnerabilities")
		}
		return nil, "", nil
	}
	database, err := osv.Open(v.path, log)
	if err != nil {
		return nil, "", err
	}
	return database, refuse, nil
}
