package main

import (
	"context"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// vulnerabilityRows are the rows of describe about vulnerabilities; none when the server knows none of any
// function.
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
