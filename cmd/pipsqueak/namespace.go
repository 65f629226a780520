package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) namespace() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "namespace",
		Short: "Separate the functions of several teams",
		Long: `Separate the functions of several teams. The full name of a function in the namespace team is
hello.team. A namespace has quotas, and its functions invoke only each other.`,
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(p.namespaceCreate(), p.namespaceSet(), p.namespaceList(), p.namespaceRemove())
	return cmd
}

// quotaFlags gives a command the flags of a namespace. What is returned changes a namespace by those that
// were given.
func quotaFlags(cmd *cobra.Command) (change func(*core.NamespaceSpec)) {
	functions := cmd.Flags().Int("functions", 0, "at most `N` functions; 0 for no bound, as for the other quotas")
	instances := cmd.Flags().Int("instances", 0, "at most `N` instances at once")
	events := cmd.Flags().Int("events", 0, "at most `N` events a second")
	var memory, disk size
	cmd.Flags().Var(&memory, "memory", "memory_mb of all instances together, such as 2G")
	cmd.Flags().Var(&disk, "disk", "code and packages together, such as 10G")
	isolated := cmd.Flags().Bool("isolated", false, "share no zygote that has loaded packages with other namespaces")
	return func(spec *core.NamespaceSpec) {
		set := func(name string, to func()) {
			if cmd.Flags().Changed(name) {
				to()
			}
		}
		set("functions", func() { spec.Quotas.Functions = *functions })
		set("instances", func() { spec.Quotas.Instances = *instances })
		set("events", func() { spec.Quotas.Events = *events })
		set("memory", func() { spec.Quotas.Memory = int64(memory) })
		set("disk", func() { spec.Quotas.Disk = int64(disk) })
		set("isolated", func() { spec.Isolated = *isolated })
	}
}

func (p *program) namespaceCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a namespace",
		Example: "  pipsqueak namespace create shop --functions 20 --instances 50 --memory 4G --events 200 --disk 10G",
		Args:    cobra.ExactArgs(1),
	}
	change := quotaFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec := core.NamespaceSpec{Name: args[0]}
		change(&spec)
		if err := p.client().CreateNamespace(cmd.Context(), spec); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "made the namespace %s\n", spec.Name)
		return err
	}
	return cmd
}

func (p *program) namespaceSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "set NAME",
		Short:   "Change the quotas of a namespace",
		Long:    "Change those quotas of a namespace that are named. What it has above a quota stays; it gets no more.",
		Example: "  pipsqueak namespace set default --events 500",
		Args:    cobra.ExactArgs(1),
	}
	change := quotaFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := p.client().Namespaces(cmd.Context())
		if err != nil {
			return err
		}
		spec := core.NamespaceSpec{Name: args[0]} // the server says that there is none
		for _, one := range all {
			if one.Name == spec.Name {
				spec = one.NamespaceSpec
			}
		}
		change(&spec)
		if err := p.client().SetNamespace(cmd.Context(), spec); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "changed the namespace %s\n", spec.Name)
		return err
	}
	return cmd
}

func (p *program) namespaceList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the namespaces",
		Long:    "List the namespaces, each with its quotas, how much of them it uses, and how often they have refused\nsomething since the server started.",
		Example: "  pipsqueak namespace list",
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := p.client().Namespaces(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(all)
		}
		rows := [][]string{{"NAME", "ISOLATED", "FUNCTIONS", "INSTANCES", "MEMORY", "DISK", "EVENTS/S", "REFUSED"}}
		for _, n := range all {
			isolated := "no"
			if n.Isolated {
				isolated = "yes"
			}
			of := func(used, most string, bounded bool) string {
				if !bounded {
					return used
				}
				return used + "/" + most
			}
			number := func(used, most int) string { return of(strconv.Itoa(used), strconv.Itoa(most), most > 0) }
			bytes := func(used, most int64) string { return of(humanBytes(used), humanBytes(most), most > 0) }
			events, q := "-", n.Quotas
			if q.Events > 0 {
				events = strconv.Itoa(q.Events)
			}
			var refused []string
			for _, quota := range slices.Sorted(maps.Keys(n.Refused)) {
				refused = append(refused, fmt.Sprintf("%s %d", quota, n.Refused[quota]))
			}
			rows = append(rows, []string{n.Name, isolated, number(n.Used.Functions, q.Functions), number(n.Used.Instances, q.Instances),
				bytes(n.Used.Memory, q.Memory), bytes(n.Used.Disk, q.Disk), events, cmp.Or(strings.Join(refused, ", "), "-")})
		}
		return p.table(rows)
	}
	return cmd
}

func (p *program) namespaceRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a namespace that has no function",
		Example: "  pipsqueak namespace remove shop",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.client().RemoveNamespace(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.out, "removed the namespace %s\n", args[0])
			return err
		},
	}
}
