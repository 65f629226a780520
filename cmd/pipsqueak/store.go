package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) store() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Show and maintain the packages that a server keeps",
		Long: `Show and maintain the packages that a server keeps: each version once, for all functions. Without a
subcommand it prints totals.

A package is not used while it is in quarantine: because its files are damaged, until it has been
installed again, or because somebody has forbidden it, until somebody allows it again.`,
		Example: "  pipsqueak store\n  pipsqueak store list\n  pipsqueak store verify six",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inventory, err := p.client().Inventory(cmd.Context())
		if err != nil {
			return err
		}
		t := totalsOf(inventory)
		if as.json() {
			return p.printJSON(t)
		}
		return table(p.out, [][]string{
			{"packages", strconv.Itoa(t.Packages), humanBytes(t.Size)},
			{"unused", strconv.Itoa(t.Unused), humanBytes(t.UnusedSize)},
			{"quarantined", strconv.Itoa(t.Quarantined)},
			{"limit", "", humanBytes(t.Limit)},
			{"free", "", humanBytes(t.Free)},
			{"collected", "when unused for " + humanAge(t.Age)},
		})
	}
	cmd.AddCommand(p.storeList(), p.storeVerify(), p.storeQuarantine(), p.storeRelease(), p.storeCollect())
	return cmd
}

// totals sums up an inventory.
type totals struct {
	Packages    int           `json:"packages"`
	Size        int64         `json:"size"`
	Unused      int           `json:"unused"`
	UnusedSize  int64         `json:"unused_size"`
	Quarantined int           `json:"quarantined"`
	Limit       int64         `json:"limit"`
	Free        int64         `json:"free"`
	Age         time.Duration `json:"age"`
}

func totalsOf(i core.Inventory) totals {
	t := totals{Packages: len(i.Packages), Size: i.Size, Limit: i.Limit, Free: i.Free, Age: i.Age}
	for _, s := range i.Packages {
		if len(s.Functions) == 0 {
			t.Unused++
			t.UnusedSize += s.Size
		}
		if s.Quarantine != "" {
			t.Quarantined++
		}
	}
	return t
}

func (p *program) storeList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the installed packages",
		Long:    "List the installed packages by name. USED is how long ago a deploy asked for a package, or a function had it.",
		Example: "  pipsqueak store list\n  pipsqueak store list -o json | jq -r '.[] | select(.functions == []) | .name'",
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inventory, err := p.client().Inventory(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(inventory.Packages)
		}
		rows := [][]string{{"NAME", "VERSION", "RUNTIME", "SIZE", "USED", "FUNCTIONS", "QUARANTINE"}}
		for _, s := range inventory.Packages {
			rows = append(rows, []string{s.Name, s.Version, string(s.Runtime), humanBytes(s.Size), humanAge(p.now().Sub(s.Used)), several(s.Functions), s.Quarantine})
		}
		return p.table(rows)
	}
	return cmd
}

// several prints the first of some names.
func several(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s +%d", strings.Join(names[:most], ", "), len(names)-most)
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ", ")
}

func (p *program) storeVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [PACKAGE|PACKAGE==VERSION]...",
		Short: "Read the files of packages and code again, and repair damage",
		Long: `Read every file of every package, and of the code of functions, and compare it with its state at
installation: contents, size, mode, owner, links, and that nothing is missing and nothing was added.
A damaged package is quarantined and installed again from the same archive; then the functions that
use it continue. The exit status is 1 if anything was damaged, repaired or not.

With --sample only the contents of that part of the files are read, chosen at random.`,
		Example: "  pipsqueak store verify\n  pipsqueak store verify six==1.17.0\n  pipsqueak store verify --sample 10%",
	}
	as := formatFlag(cmd)
	var sample percent
	cmd.Flags().Var(&sample, "sample", "`N%` of the files to read the contents of, instead of all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		show := p.progress()
		found, err := p.client().Verify(cmd.Context(), core.VerifyRequest{Packages: args, Sample: float64(sample)}, show.step)
		if err == nil {
			show.end(fmt.Sprintf("%-40s %d packages and codes, %d files, %s", "verify", found.Trees, found.Files, humanBytes(found.Bytes)))
		}
		show.clear()
		if err != nil {
			return err
		}
		if as.json() {
			err = p.printJSON(found)
		} else {
			err = p.printDamage(found.Damaged)
		}
		if err == nil && len(found.Damaged) > 0 {
			err = core.Errorf(core.KindUnavailable, core.FaultWorker, "%d of %d packages and codes were damaged", len(found.Damaged), found.Trees)
		}
		return err
	}
	return cmd
}

func (p *program) printDamage(all []core.Damage) error {
	for _, d := range all {
		what := "package " + d.Package
		if d.Package == "" {
			what = "code " + d.Digest
		}
		fmt.Fprintf(p.out, "%s, used by %s\n", what, several(d.Functions))
		for _, f := range d.Files {
			fmt.Fprintf(p.out, "  %s\n", f)
		}
		if _, err := fmt.Fprintf(p.out, "  → %s\n", d.Outcome); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) storeCollect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "Remove packages that no function uses",
		Long: `Remove packages that no function uses and that no deploy has asked for during --older-than, or else
during the server's --package-age. The server also does this by itself, every hour and after each
deploy. A removed package is fetched again when a deploy needs it.`,
		Example: "  pipsqueak store collect\n  pipsqueak store collect --older-than 0s",
		Args:    cobra.NoArgs,
	}
	var older age
	cmd.Flags().Var(&older, "older-than", "for how long nobody has used them, such as 12h or 7d")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var olderThan *time.Duration
		if cmd.Flags().Changed("older-than") {
			olderThan = (*time.Duration)(&older)
		}
		removed, err := p.client().Collect(cmd.Context(), olderThan)
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(removed)
		}
		size := int64(0)
		for _, one := range removed {
			size += one.Size
			fmt.Fprintf(p.out, "removed %s for %s\n", one, one.Runtime)
		}
		fmt.Fprintf(p.err, "%s, %s\n", core.Count(len(removed), "package", "packages"), humanBytes(size))
		return nil
	}
	return cmd
}

// percent is a part of a hundred on the command line: 10, 10%.
type percent float64

func (p *percent) Type() string { return "N%" }
func (p *percent) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64) + "%"
}

func (p *percent) Set(text string) error {
	value, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(value > 0 && value <= 100) {
		return errors.New("it is a part of a hundred, such as 10%")
	}
	*p = percent(value)
	return nil
}

// age is how long something has been, on the command line: 90m, 12h, 30d.
type age time.Duration

func (a *age) Type() string { return "AGE" }
func (a *age) String() string {
	if *a == 0 {
		return ""
	}
	return humanAge(time.Duration(*a))
}

func (a *age) Set(text string) error {
	const day = 24 * time.Hour
	wrong := errors.New("it is how long something has been, such as 90m, 12h or 30d")
	if number, inDays := strings.CutSuffix(text, "d"); inDays {
		days, err := strconv.ParseFloat(number, 64)
		if err != nil || !(days >= 0 && days < 36500) {
			return wrong
		}
		*a = age(days * float64(day))
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return wrong
	}
	*a = age(d)
	return nil
}
