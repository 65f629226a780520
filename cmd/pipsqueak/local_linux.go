package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// localData is the directory, below the user's caches, of the worker that one event is run in: packages are
// there the next time.
const localData = "pipsqueak/local"

// invokeLocal runs one event of the function of a directory in a worker of its own, which ends with it. What
// the function prints goes to standard error.
func (p *program) invokeLocal(cmd *cobra.Command, part bundle.Part, event []byte) (answer client.Answer, err error) {
	if err := p.needRoot(cmd); err != nil {
		return answer, err
	}
	ctx := cmd.Context()
	if err := value.Check(event); err != nil {
		return answer, core.Errorf(core.KindInvalid, core.FaultCaller, "the event is no JSON value: %w", err)
	}
	if err := refuseSecrets(part); err != nil {
		return answer, err
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return answer, core.Errorf(core.KindInvalid, core.FaultCaller, "there is no place for packages: %w", err)
	}
	service, end, err := p.open(ctx, workerConfig{Data: filepath.Join(caches, localData), Drivers: besideProgram(), Log: slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return answer, err
	}
	ended := false
	finish := func() error {
		if ended {
			return nil
		}
		ended = true
		return end(context.WithoutCancel(ctx))
	}
	defer func() { err = errors.Join(err, finish()) }()
	archive, err := openArchive(part)
	if err != nil {
		return answer, err
	}
	defer archive.Close()
	show := p.progress()
	f, err := service.Catalog.Deploy(ctx, core.DeployRequest{Name: part.Name, Archive: archive, Ready: true}, show.step)
	show.clear()
	if err != nil {
		return answer, err
	}
	id, header := gateway.RequestID(nil), http.Header{}
	result, failed := service.Invoker.Invoke(ctx, core.Invocation{Function: f.Name, ID: id, Event: event})
	gateway.Describe(header, id, result)
	answer = client.AnswerOf(header)
	answer.Result = result.Body
	failed = errors.Join(failed, finish()) // an answer may be faster than what was printed before it, which is there when the instance has ended
	lines, err := service.Logs.Logs(ctx, f.Name, core.LogQuery{Request: id, Tail: core.AllLines})
	if err == nil {
		err = p.printLines(lines)
	}
	return answer, errors.Join(failed, err)
}

// refuseSecrets returns an error if a function uses secrets: they are on servers, and can be had nowhere
// else.
func refuseSecrets(part bundle.Part) error {
	content, err := os.ReadFile(filepath.Join(part.Dir, bundle.SettingsFile))
	if err != nil {
		return nil //nolint:nilerr // there is none, or the deploy reports it
	}
	settings, err := bundle.ParseSettings(content)
	if err != nil || len(settings.Secrets) == 0 {
		return nil //nolint:nilerr // the deploy reports it
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "the function uses the secret %s, and --local has none: 'pipsqueak dev %s' runs its events on a server that has it",
		settings.Secrets[0].Name, part.Dir)
}

// printLines prints what a function has printed.
func (p *program) printLines(lines io.ReadCloser) error {
	defer lines.Close()
	for decoder := json.NewDecoder(lines); ; {
		var line core.LogLine
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if line.Failure == nil { // what fails is told in the end
			fmt.Fprintln(p.err, line.Text)
		}
	}
}
