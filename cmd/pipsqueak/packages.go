package main

import (
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// packageRows is the table of a function's packages, one in a row. A column in which no package has anything
// is left out.
func packageRows(all []core.Installed) [][]string {
	columns := []struct {
		title string
		of    func(core.Installed) string
	}{
		{"PACKAGE", func(p core.Installed) string { return p.String() }},
		{"SIZE", func(p core.Installed) string {
			if p.Added.IsZero() {
				return ""
			}
			return humanBytes(p.Size)
		}},
		{"SIGNATURE", func(p core.Installed) string { return signature(p.Receipt.Signatures) }},
		{"LICENCE", func(p core.Installed) string { return strings.Join(p.Receipt.Licenses, ", ") }},
		{"QUARANTINE", func(p core.Installed) string { return p.Quarantine }},
	}
	rows := make([][]string, len(all)+1)
	for _, column := range columns {
		if !slices.ContainsFunc(all, func(p core.Installed) bool { return column.of(p) != "" }) {
			continue
		}
		rows[0] = append(rows[0], column.title)
		for i, p := range all {
			text := column.of(p)
			if text == "" {
				text = "-"
			}
			rows[i+1] = append(rows[i+1], text)
		}
	}
	return rows
}

// signature says who has signed a package: "PEP 740 by github.com/a/b", or "none" when that was looked for in
// vain.
func signature(all []core.Signature) string {
	var good []string
	for _, s := range all {
		if !s.Verified {
			continue
		}
		text := s.Scheme
		if s.Signer != "" {
			text += " by " + s.Signer
		}
		good = append(good, text)
	}
	if len(all) > 0 && len(good) == 0 {
		return "none"
	}
	return strings.Join(good, ", ")
}
