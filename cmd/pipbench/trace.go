package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/trace"
)

func traceCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "trace DIR --model MODEL --out FILE",
		Short: "Make a trace: when which function is called",
		Long: `Write a trace for the functions of DIR, which 'pipbench functions' has made: a line of JSON for each event,
with the time at which it is due, and what it costs. The models are

  azure     rates, variation, executions and memory of Azure Functions 2019
  reqbench  by Zipf's law, exponent 1.5, at random, --rate events a second
  poisson   all functions equally often, at random, --rate events a second
  burst     one function after the other, some --burst times at once, --rate events a second
  file      what --file says: a trace that Azure has published, of 2019 or 2021

The same seed gives the same trace.`,
		Example: "  pipbench trace bench --model azure --duration 10m --speed 60 --out bench/azure.jsonl",
	}
	var o trace.Options
	model := c.Flags().String("model", "azure", "`MODEL` of the trace: azure, reqbench, poisson, burst or file")
	file := c.Flags().String("file", "", "`FILE` of Azure's, for the model file")
	durations := c.Flags().String("durations", "", "`FILE` function_durations_percentiles of the same day of 2019, perhaps")
	path := c.Flags().String("out", "", "`FILE` to write the trace to")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "`S` from which everything is drawn")
	c.Flags().DurationVar(&o.Duration, "duration", 10*time.Minute, "end after `TIME`")
	c.Flags().Float64Var(&o.Speed, "speed", 1, "azure and file: have everything happen `X` times as fast, executions too")
	c.Flags().Float64Var(&o.Rate, "rate", 10, "reqbench, poisson and burst: `X` events a second")
	c.Flags().Float64Var(&o.Burst, "burst", 20, "burst: `X` events in one, on average")
	c.Flags().Float64Var(&o.Busy, "busy", 0.1, "azure and file: the `SHARE` of an execution that takes the processor's time")
	c.Args = func(_ *cobra.Command, args []string) error {
		positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
		switch {
		case len(args) != 1:
			return errors.New("name the directory of the functions")
		case *path == "":
			return errors.New("--out: name a file to write the trace to")
		case (*model == "file") != (*file != ""):
			return errors.New("--file: it is for the model file, and that needs it")
		case o.Duration <= 0 || !positive(o.Speed) || !positive(o.Rate):
			return errors.New("--duration, --speed, --rate: they are above 0")
		case !positive(o.Burst) || o.Burst < 1:
			return errors.New("--burst: there is at least one event in a burst")
		case o.Busy < 0 || o.Busy > 1 || math.IsNaN(o.Busy):
			return fmt.Errorf("--busy: %g is no share", o.Busy)
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		set, err := functions.Open(args[0])
		if err != nil {
			return err
		}
		var made *trace.Trace
		if *model == "file" {
			made, err = trace.FromFile(*file, *durations, set.Functions, o)
		} else {
			made, err = trace.Draw(*model, set.Functions, o)
		}
		if err == nil {
			err = made.Write(*path)
		}
		if err != nil {
			return err
		}
		counts := map[string]int{}
		for _, e := range made.Events {
			counts[e.Function]++
		}
		most := 0
		for _, n := range counts {
			most = max(most, n)
		}
		fmt.Fprintf(out, "%d events in %v, of %d functions, %d of which are not called; %d events are of one function\n",
			len(made.Events), o.Duration, len(set.Functions), len(set.Functions)-len(counts), most)
		return nil
	}
	return c
}
