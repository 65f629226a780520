package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
	"github.com/pipsqueak-faas/pipsqueak/core/worker"
)

// scanning is one run of the command.
type scanning struct {
	*program
	policy  *scan.Policy
	results *scan.Results
	json    bool
	only    core.RuntimeID // empty for all
	jobs    int
	shown   *crawled
	report  report
}

// report is the outcome of a scan.
type report struct {
	Packages int             `json:"packages"` // that were scanned, now or earlier
	Earlier  int             `json:"earlier"`  // of these, those of which there was a result
	Took     time.Duration   `json:"took"`
	Rules    []ruleCount     `json:"rules"`
	Findings []scan.Decision `json:"findings"` // the most serious
	Failed   []scan.Result   `json:"failed"`   // archives that could not be scanned
}

// ruleCount is how many suspicions there are of a rule, by what is made of them.
type ruleCount struct {
	Rule   string `json:"rule"`
	Allow  int    `json:"allow"`
	Warn   int    `json:"warn"`
	Refuse int    `json:"refuse"`
}

// workDir is the directory, below --data, of the worker that a scan opens. It is beside what another worker
// keeps there.
const workDir = "scanning"

// Of the most serious findings, and of what could not be scanned, this many are shown. A file of results has
// all.
const mostSerious = 20

func (p *program) scan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan DIR|ARCHIVE|LIST|LOCK",
		Short: "Report what is suspicious in packages, without running them",
		Long: `Read packages, and report what a person should know before functions use them: where it is, and why.
Nothing of the packages is run. Each archive is unpacked and read in a sandbox of its own, without
network. It needs root, and no server.

It scans all archives below a directory, such as a mirror's; one archive; the archives that a file
lists, one path a line; or the packages of a function, named by its directory or its
` + bundle.LockFile + `, which are installed as by a deploy, over the network.

With --out each result is added to a file, as a line of JSON. --resume continues an earlier scan,
however it ended: bytes that have a result by the same scanner are not scanned again.

The exit status is 0 if the policy refuses nothing, 1 if it refuses something, and 2 if something
could not be scanned. Without --policy it warns of everything.`,
		Example: "  sudo pipsqueak scan mirror --out scan.jsonl --jobs 4\n  sudo pipsqueak scan mirror --out scan.jsonl --resume --policy policy.yaml\n  sudo pipsqueak scan examples/penguins",
		GroupID: groupServer,
	}
	as := formatFlag(cmd)
	config := placeFlags(cmd)
	flags := cmd.Flags()
	flags.Lookup("data").Usage = "`DIR` for temporary files, which are removed at the end"
	only := flags.String("runtime", "", "scan only packages for this `RUNTIME`, such as python3.11")
	jobs := flags.Int("jobs", runtime.NumCPU(), "how many archives to scan at once")
	out := flags.String("out", "", "`FILE` to add results to, one a line")
	resume := flags.Bool("resume", false, "continue with the results in --out")
	policy := flags.String("policy", "", "`FILE` of the policy that decides about findings")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) != 1:
			return cobra.ExactArgs(1)(cmd, args)
		case *jobs < 1:
			return errors.New("--jobs is at least 1")
		case *resume && *out == "":
			return errors.New("--resume needs the file of results: name it with --out")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := p.needRoot(cmd); err != nil {
			return unscanned{err}
		}
		s := scanning{program: p, policy: &scan.Policy{}, json: as.json(), only: core.RuntimeID(*only), jobs: *jobs}
		if err := s.open(*policy, *out, *resume); err != nil {
			return unscanned{err}
		}
		defer s.results.Close()
		config.Log = slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
		began := p.now()
		if err := s.run(cmd.Context(), args[0], *config); err != nil {
			return unscanned{err}
		}
		s.report.Took = p.now().Sub(began)
		return s.end()
	}
	return cmd
}

// open reads the policy, and opens the file of results. Each may be empty, for none.
func (s *scanning) open(policy, out string, resume bool) (err error) {
	if policy != "" {
		s.policy, err = scan.Load(policy)
	}
	if err == nil && out != "" {
		s.results, err = scan.OpenResults(out, resume)
	}
	return err
}

// run opens a worker for the scan, on a directory of its own that is gone afterwards, and scans.
func (s *scanning) run(ctx context.Context, target string, config workerConfig) (err error) {
	if _, err := os.Stat(target); err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "what is to be scanned: %w", err)
	}
	config.Data = filepath.Join(config.Data, workDir)
	w, err := worker.Open(ctx, worker.Config(config.withEnvironment(os.Environ())))
	if err != nil {
		return errors.Join(err, sweep(config.Data))
	}
	defer func() {
		err = errors.Join(err, w.Close(context.WithoutCancel(ctx)), sweep(config.Data))
	}()
	if dir := functionDir(target); w.Supply().IsFunction(dir) {
		return s.function(ctx, w.Supply(), dir)
	}
	runtimes, err := w.Supply().ScannedRuntimes(s.only)
	if err != nil {
		return err
	}
	archives, err := scan.Archives(target, runtimes)
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "there is nothing to scan in %s: it has no archive of packages, and is no directory of a function", target)
	}
	s.shown = &crawled{out: s.screen, terminal: s.terminal, now: s.now, began: s.now(), total: len(archives)}
	crawl := supply.Crawl{Jobs: s.jobs, Tell: s.tell}
	if s.results.Any() {
		crawl.Known = s.results.Known
	}
	err = w.Supply().ScanArchives(ctx, archives, runtimes, crawl)
	s.shown.clear()
	return err
}

// functionDir returns the directory of the function that a target may be: itself, or where its lock lies.
func functionDir(target string) string {
	if !isDir(target) && filepath.Base(target) == bundle.LockFile {
		return filepath.Dir(target)
	}
	return target
}

// function scans the packages of a function.
func (s *scanning) function(ctx context.Context, w *supply.Supply, dir string) error {
	_, parts, err := partsOf(ctx, dir, "")
	if err != nil {
		return err
	}
	for _, part := range parts {
		archive, err := openArchive(part)
		if err != nil {
			return err
		}
		show := s.progress()
		results, err := w.ScanFunction(ctx, archive, show.step)
		show.clear()
		_, _ = io.Copy(io.Discard, archive)
		archive.Close()
		if err != nil {
			return err
		}
		for _, result := range results {
			if err := s.tell(result, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell takes one result in.
func (s *scanning) tell(result scan.Result, known bool) error {
	decisions := s.policy.Decide(s.now(), result.Suspicions)
	r := &s.report
	r.Packages++
	if known {
		r.Earlier++
	} else if err := s.results.Add(result); err != nil {
		return err
	}
	if result.Error != "" && len(r.Failed) < mostSerious {
		r.Failed = append(r.Failed, result)
	}
	for _, d := range decisions {
		r.count(d)
	}
	r.Findings = append(r.Findings, decisions...)
	slices.SortFunc(r.Findings, scan.Seriousness)
	r.Findings = r.Findings[:min(len(r.Findings), mostSerious)]
	if s.shown != nil {
		s.shown.step(known, len(decisions), result.Error != "")
	}
	return nil
}

func (r *report) count(d scan.Decision) {
	i := slices.IndexFunc(r.Rules, func(c ruleCount) bool { return c.Rule == d.Rule })
	if i < 0 {
		i = len(r.Rules)
		r.Rules = append(r.Rules, ruleCount{Rule: d.Rule})
	}
	switch d.Verdict {
	case scan.Refuse:
		r.Rules[i].Refuse++
	case scan.Warn:
		r.Rules[i].Warn++
	default:
		r.Rules[i].Allow++
	}
}

// end prints the report, and returns what the program exits with.
func (s *scanning) end() error {
	r := s.report
	slices.SortFunc(r.Rules, func(a, b ruleCount) int {
		return cmp.Compare(slices.Index(scan.Rules, a.Rule), slices.Index(scan.Rules, b.Rule))
	})
	print := s.printReport
	if s.json {
		r.Rules, r.Findings, r.Failed = orEmpty(r.Rules), orEmpty(r.Findings), orEmpty(r.Failed)
		print = func(r report) error { return s.printJSON(r) }
	}
	if err := print(r); err != nil {
		return unscanned{err}
	}
	if len(r.Failed) > 0 {
		return unscanned{fmt.Errorf("%s could not be scanned: %s", failures(r), r.Failed[0].Error)}
	}
	if slices.ContainsFunc(r.Rules, func(c ruleCount) bool { return c.Refuse > 0 }) {
		return refused{errors.New("the policy refuses something")}
	}
	return nil
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func failures(r report) string {
	if len(r.Failed) == 1 {
		return cmp.Or(r.Failed[0].Archive, r.Failed[0].Package)
	}
	return fmt.Sprintf("%d archives or more", len(r.Failed))
}

func (s *scanning) printReport(r report) error {
	rows := [][]string{{"RULE", "REFUSED", "WARNED", "ALLOWED"}}
	for _, c := range r.Rules {
		rows = append(rows, []string{c.Rule, fmt.Sprint(c.Refuse), fmt.Sprint(c.Warn), fmt.Sprint(c.Allow)})
	}
	if len(r.Rules) > 0 {
		if err := table(s.out, rows); err != nil {
			return err
		}
		fmt.Fprintln(s.out)
	}
	for _, d := range r.Findings {
		fmt.Fprintln(s.out, plain(fmt.Sprintf("%-6s  %s  %s  %s", d.Verdict, d.Package, d.Rule, scan.Place(d.Suspicion))))
		fmt.Fprintln(s.out, plain(fmt.Sprintf("        %s (%s)", d.Reason, d.By)))
	}
	for _, f := range r.Failed {
		fmt.Fprintln(s.out, plain("failed  "+f.Archive+"  "+f.Error))
	}
	_, err := fmt.Fprintf(s.out, "%s scanned, %d of them earlier, in %s\n", core.Count(r.Packages, "package", "packages"), r.Earlier, humanDuration(r.Took.Round(100*time.Millisecond)))
	return err
}
