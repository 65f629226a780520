// Package scan is what a scan's findings lead to: the policy that decides about each, and the file of results
// with which a scan of many archives is taken up again.
package scan

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Rules are the words of core.Suspicion.Rule, the most serious first.
var Rules = []string{"secrets", "hidden-code", "stray-binary", "network", "process", "install-hook", "name", "binary"}

// Verdict is what a policy makes of a suspicion.
type Verdict string

// The verdicts.
const (
	Allow  Verdict = "allow"
	Warn   Verdict = "warn"
	Refuse Verdict = "refuse"
)

// Decision is a suspicion with what a policy makes of it.
type Decision struct {
	core.Suspicion
	Verdict Verdict `json:"verdict"`
	By      string  `json:"by"` // the line of the policy, "policy.yaml:3"
}

// Policy says what is made of each suspicion. The zero Policy warns of everything.
type Policy struct {
	rules      map[string]ruling
	otherwise  ruling
	exceptions []exception
}

type ruling struct {
	verdict Verdict
	by      string
}

type exception struct {
	name, version, rule string // version and rule may be empty, for any
	until               time.Time
	ruling
}

// covers reports whether an exception is for a version. What an installer adds to a version, behind a plus,
// is not the registry's.
func (e exception) covers(version string) bool {
	return e.version == "" || e.version == version || strings.HasPrefix(version, e.version+"+")
}

// maxPolicy is the size of the largest policy, in bytes.
const maxPolicy = 1 << 20

// Load reads a policy. Every mistake in it is the operator's, with the line.
func Load(file string) (*Policy, error) {
	data, err := os.ReadFile(file)
	if err == nil && len(data) > maxPolicy {
		err = fmt.Errorf("it has %d bytes, and a policy at most %d", len(data), maxPolicy)
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the policy cannot be read: %w", err)
	}
	policy, err := parse(filepath.Base(file), data)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the policy %s cannot be used: %w", file, err)
	}
	return policy, nil
}

// text is a scalar with the line that it is on.
type text struct {
	value string
	line  int
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *text) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: there must be one word", node.Line)
	}
	t.value, t.line = node.Value, node.Line
	return nil
}

// written is a policy as it is in a file.
type written struct {
	Default    text            `yaml:"default"`
	Rules      map[string]text `yaml:"rules"`
	Exceptions []writtenOne    `yaml:"exceptions"`
}

type writtenOne struct {
	Package  text `yaml:"package"`
	Version  text `yaml:"version"`
	Rule     text `yaml:"rule"`
	Decision text `yaml:"decision"`
	Reason   text `yaml:"reason"`
	Until    text `yaml:"until"`
}

func parse(file string, data []byte) (*Policy, error) {
	var w written
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&w); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	p := &Policy{rules: map[string]ruling{}}
	var err error
	if w.Default.value != "" {
		if p.otherwise, err = rule(file, w.Default); err != nil {
			return nil, err
		}
	}
	for name, word := range w.Rules {
		if err := knownRule(text{name, word.line}); err != nil {
			return nil, err
		}
		if p.rules[name], err = rule(file, word); err != nil {
			return nil, fmt.Errorf("rule %s: %w", name, err)
		}
	}
	for i, one := range w.Exceptions {
		if one.Package.value == "" {
			return nil, fmt.Errorf("exception %d: it names no package", i+1)
		}
		e, err := one.exception(file)
		if err != nil {
			return nil, err
		}
		p.exceptions = append(p.exceptions, e)
	}
	return p, nil
}

func rule(file string, word text) (ruling, error) {
	verdict := Verdict(word.value)
	if !slices.Contains([]Verdict{Allow, Warn, Refuse}, verdict) {
		return ruling{}, fmt.Errorf("line %d: a decision is allow, warn or refuse, not %q", word.line, word.value)
	}
	return ruling{verdict, fmt.Sprintf("%s:%d", file, word.line)}, nil
}

func (w writtenOne) exception(file string) (e exception, err error) {
	if w.Reason.value == "" {
		return e, fmt.Errorf("line %d: the exception for %s gives no reason", w.Package.line, w.Package.value)
	}
	if err := knownRule(w.Rule); err != nil {
		return e, err
	}
	e = exception{name: w.Package.value, version: w.Version.value, rule: w.Rule.value}
	if w.Decision.value == "" {
		w.Decision.value = string(Allow)
	}
	if e.ruling, err = rule(file, w.Decision); err != nil {
		return e, err
	}
	e.by = fmt.Sprintf("%s:%d", file, w.Package.line)
	if w.Until.value != "" {
		if e.until, err = time.Parse(time.DateOnly, w.Until.value); err != nil {
			return e, fmt.Errorf("line %d: until is a day such as 2027-01-31, not %q", w.Until.line, w.Until.value)
		}
	}
	return e, nil
}

func knownRule(rule text) error {
	if rule.value == "" || slices.Contains(Rules, rule.value) {
		return nil
	}
	return fmt.Errorf("line %d: there is no rule %q; rules are %s", rule.line, rule.value, strings.Join(Rules, ", "))
}

// Decide decides about each suspicion, at a time: an exception counts to the end of its day.
func (p *Policy) Decide(now time.Time, suspicions []core.Suspicion) []Decision {
	decisions := make([]Decision, len(suspicions))
	for i, s := range suspicions {
		r := p.ruling(now, s)
		decisions[i] = Decision{Suspicion: s, Verdict: r.verdict, By: r.by}
	}
	return decisions
}

func (p *Policy) ruling(now time.Time, s core.Suspicion) ruling {
	name, version := s.Package, ""
	if i := strings.LastIndex(s.Package, "=="); i >= 0 {
		name, version = s.Package[:i], s.Package[i+2:]
	}
	for _, e := range p.exceptions {
		if e.name == name && e.covers(version) && (e.rule == "" || e.rule == s.Rule) &&
			(e.until.IsZero() || now.Before(e.until.AddDate(0, 0, 1))) {
			return e.ruling
		}
	}
	if r, ok := p.rules[s.Rule]; ok {
		return r
	}
	if p.otherwise.verdict != "" {
		return p.otherwise
	}
	return ruling{Warn, "default"}
}

// Seriousness orders decisions: refused before warned, then by rule, then by place.
func Seriousness(a, b Decision) int {
	weight := func(d Decision) int { return slices.Index([]Verdict{Refuse, Warn, Allow}, d.Verdict) }
	return cmp.Or(weight(a)-weight(b), rank(a.Rule)-rank(b.Rule), cmp.Compare(a.Package, b.Package), cmp.Compare(a.File, b.File), a.Line-b.Line)
}

func rank(rule string) int {
	if i := slices.Index(Rules, rule); i >= 0 {
		return i
	}
	return len(Rules) // of a driver that has more
}

// Place is where a suspicion is, "file:3".
func Place(s core.Suspicion) string {
	if s.Line == 0 {
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}
