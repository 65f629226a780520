package osv

import (
	"encoding/json"
	"slices"
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// rating is how severe an entry is.
type rating struct {
	severity core.Severity
	score    float64 // CVSS, 0 when there is none
}

func (r rating) worse(than rating) bool {
	return !than.severity.AtLeast(r.severity) || r.severity == than.severity && r.score > than.score
}

// rated is one rating as an entry has it.
type rated struct {
	Type  string `json:"type"`
	Score string `json:"score"` // a CVSS vector, or a word
}

// rate returns the worst of the ratings. Those of a database's own (a word in database_specific) count when
// there is no other.
func rate(all []rated, own json.RawMessage) rating {
	worst := rating{severity: core.SeverityUnknown}
	for _, one := range all {
		r := rating{severity: word(one.Score)}
		if score, ok := cvss(one.Score); ok {
			r = rating{ofScore(score), score}
		}
		if r.worse(worst) {
			worst = r
		}
	}
	var database struct{ Severity string }
	// Databases put what they like there, also what is no object.
	if worst.severity == core.SeverityUnknown && len(own) > 0 && json.Unmarshal(own, &database) == nil {
		worst.severity = word(database.Severity)
	}
	return worst
}

// cvss returns the base score of a vector of any version.
func cvss(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := cvss40.ParseVector(vector)
		if err == nil {
			return v.Score(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := cvss31.ParseVector(vector)
		if err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := cvss30.ParseVector(vector)
		if err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "AV:"):
		v, err := cvss20.ParseVector(vector)
		if err == nil {
			return v.BaseScore(), true
		}
	}
	return 0, false
}

// ofScore is the qualitative scale of CVSS 3 and 4.
func ofScore(score float64) core.Severity {
	switch {
	case score >= 9:
		return core.SeverityCritical
	case score >= 7:
		return core.SeverityHigh
	case score >= 4:
		return core.SeverityMedium
	default:
		return core.SeverityLow
	}
}

// word returns the severity that a database's word means.
func word(text string) core.Severity {
	text = strings.ToLower(text)
	switch text {
	case "moderate":
		return core.SeverityMedium
	case "negligible", "none", "unimportant":
		return core.SeverityLow
	}
	if severity := core.Severity(text); slices.Contains(core.Severities(), severity) {
		return severity
	}
	return core.SeverityUnknown
}
