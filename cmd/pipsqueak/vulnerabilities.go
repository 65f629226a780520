package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipsqueak/osv"
	"github.com/pipsqueak-faas/pipsqueak/core"
)

// oneOf is the value of a flag that takes one of a few words.
type oneOf struct {
	value string
	words []string
}

func (o *oneOf) String() string { return o.value }
func (o *oneOf) Type() string   { return strings.Join(o.words, "|") }
func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return errors.New("it is one of " + strings.Join(o.words, ", "))
	}
	o.value = s
	return nil
}

// vulnerabilityPolicy is what serve is told of vulnerabilities.
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

// vulnerabilityRows are what describe shows of vulnerabilities; nothing when the server knows none of any function.
func (p *program) vulnerabilityRows(ctx context.Context, name string) ([][]string, error) {
	report, err := p.client().Vulnerabilities(ctx, name)
	if core.IsKind(err, core.KindUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows := [][]string{{"vulnerable", "by nothing that is known"}}
	for i, v := range report.Vulnerabilities {
		row := []string{"", v.Holder() + ": " + v.String()}
		if i == 0 {
			rows, row[0] = nil, "vulnerable"
		}
		rows = append(rows, row)
	}
	if len(report.Unchecked) > 0 {
		rows = append(rows, []string{"unchecked", strings.Join(report.Unchecked, ", ")})
	}
	return rows, nil
}
