package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/aws"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

func runCommand(complaints io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "run DIR --target TARGET --trace FILE --out FILE",
		Short: "Drive a platform by a trace, and measure it",
		Long: `Deploy the functions of DIR that a trace calls, send each event when it is due, check every answer, and
write what comes of it as lines of JSON. The targets are

  a worker:   pipsqueak; the functions are deployed to it
  OpenLambda: openlambda; functions in Python are uploaded to its registry, and sent an event, so that it installs
  AWS Lambda: lambda; as AWS's own variables and files say, with functions in Python, Node.js and Ruby
  processes:  command; a new one for each event, with packages by the languages' own installers
  others:     http://HOST/PATH/{function}; the platform has the functions already, and events are posted

Latency counts from when an event was due, so that a platform that falls behind cannot hide it. With --closed
clients send one event after the other, and it counts from when an event was sent. Progress goes to stderr.
An interrupted run keeps its results, and goes on with --continue.`,
		Example: "  pipbench run bench --target pipsqueak --trace bench/azure.jsonl --out bench/pipsqueak.jsonl",
	}
	var o run.Options
	name := c.Flags().String("target", "pipsqueak", "`TARGET` that is measured: pipsqueak, openlambda, lambda, command or a URL")
	server := c.Flags().String("server", "", "`URL` of the worker: by default http://127.0.0.1:8080, or PIPSQUEAK_SERVER; http://127.0.0.1:5000 for openlambda")
	role := c.Flags().String("role", "", "`ARN` of the role that functions run as on Lambda")
	c.Flags().StringVar(&o.Trace, "trace", "", "`FILE` of the trace")
	c.Flags().StringVar(&o.Out, "out", "", "`FILE` to write the results to")
	c.Flags().IntVar(&o.Closed, "closed", 0, "have `N` clients send an event each as soon as the one before is answered")
	c.Flags().BoolVar(&o.Continue, "continue", false, "go on with the results of a run that was interrupted")
	c.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "wait `TIME` for an answer")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) != 1:
			return errors.New("name the directory of the functions")
		case o.Trace == "":
			return errors.New("--trace: name the file of the trace")
		case o.Out == "":
			return errors.New("--out: name a file to write the results to")
		case o.Closed < 0:
			return errors.New("--closed: there is one client at least")
		case o.Timeout <= 0:
			return errors.New("--timeout: an answer takes some time")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o.Dir, o.Progress = args[0], complaints
		if file, is := complaints.(*os.File); is {
			o.IsLive = isatty.IsTerminal(file.Fd())
		}
		target, err := targetOf(cmd.Context(), *name, *server, *role, o.Dir)
		if err != nil {
			return err
		}
		err = run.Do(cmd.Context(), target, o)
		if closer, closes := target.(io.Closer); closes {
			err = errors.Join(err, closer.Close())
		}
		return err
	}
	return c
}

// targetOf returns the target of a name, for the functions of a directory. The caller closes it, if it can be
// closed.
func targetOf(ctx context.Context, name, server, role, dir string) (run.Target, error) {
	switch name {
	case "pipsqueak":
		return run.Pipsqueak{Client: worker(cmp.Or(server, os.Getenv("PIPSQUEAK_SERVER"), "http://127.0.0.1:8080"))}, nil
	case "openlambda":
		return run.NewOpenlambda(cmp.Or(server, "http://127.0.0.1:5000"), dir)
	case "lambda":
		return aws.New(ctx, dir, role)
	case "command":
		return run.NewCommand(dir)
	}
	return run.NewURL(name)
}

// worker is a client of a worker, with the token and the certificates that the environment names.
func worker(server string) client.Client {
	c := client.New(server)
	if c.HTTP == nil {
		c.HTTP = run.Connections()
	}
	files := client.TLSFiles{CA: os.Getenv("PIPSQUEAK_CA"), Cert: os.Getenv("PIPSQUEAK_CERT"), Key: os.Getenv("PIPSQUEAK_KEY")}
	return c.WithToken().TLS(files)
}
