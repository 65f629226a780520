// Package aws is AWS Lambda as a platform that is measured: functions are deployed and invoked by its own
// API, whose requests are signed.
package aws

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
)

// What functions have: as much memory as those of ReqBench had on Lambda, and the time that their events may
// take elsewhere too.
const (
	memory  = 1024 // MB
	timeout = 90   // seconds
)

// within is how long Lambda may take to make a function ready.
const within = 2 * time.Minute

// runtimes are those of Lambda by language, and how it calls a function there.
var runtimes = map[string]struct {
	runtime types.Runtime
	handler string
}{
	"python": {types.RuntimePython313, "handler.handler"},
	"node":   {types.RuntimeNodejs22x, "index.handler"},
	"ruby":   {types.RuntimeRuby34, "handler.handler"},
}

// Target is Lambda in the region, and with the credentials, that AWS's own variables and files say.
type Target struct {
	*run.Command // runs installers
	install      func(ctx context.Context, f functions.Function, dir string, again bool) (bool, error)
	client       *lambda.Client
	role         string
}

// New returns the target for the functions of a directory, which run as a role: its ARN. The caller closes
// it.
func New(ctx context.Context, dir, role string) (*Target, error) {
	if role == "" {
		return nil, errors.New("--role: name the ARN of a role that functions run as on Lambda")
	}
	connections := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConns, t.MaxIdleConnsPerHost = executions, executions })
	settings, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(connections))
	if err != nil {
		return nil, fmt.Errorf("AWS: %w", err)
	}
	if settings.Region == "" {
		return nil, errors.New("AWS: no region is set: AWS_REGION says one")
	}
	installs, err := run.NewCommand(dir)
	if err != nil {
		return nil, err
	}
	return &Target{installs, installs.Deploy, lambda.NewFromConfig(settings), role}, nil
}

// Name is lambda.
func (t *Target) Name() string { return "lambda" }

// executions are how many an account has at once, unless AWS has raised or lowered it.
const executions = 1000

// Most is how many executions an account has at once.
func (t *Target) Most() int { return executions }

// Deploy installs a function with its packages here, uploads both, and waits until Lambda can run it.
func (t *Target) Deploy(ctx context.Context, f functions.Function, dir string, again bool) (bool, error) {
	is, known := runtimes[f.Language]
	if !known {
		return false, fmt.Errorf("lambda has no runtime of its own for functions in %s: make functions with --language python, node or ruby", f.Language)
	}
	name := &lambda.GetFunctionInput{FunctionName: &f.Name}
	_, err := t.client.GetFunction(ctx, name)
	var missing *types.ResourceNotFoundException
	isThere := err == nil
	if !isThere && !errors.As(err, &missing) || isThere && again {
		return false, err
	}
	if _, err := t.install(ctx, f, dir, again); err != nil {
		return true, err
	}
	archive, err := zipped(t.Place(f), f.Language)
	if err != nil {
		return true, fmt.Errorf("%s: %w", f.Name, err)
	}
	if isThere {
		if _, err = t.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &f.Name, ZipFile: archive}); err != nil {
			return true, err
		}
		return true, lambda.NewFunctionUpdatedV2Waiter(t.client).Wait(ctx, name, within)
	}
	_, err = t.client.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &f.Name, Role: &t.role, Runtime: is.runtime, Handler: &is.handler,
		Code: &types.FunctionCode{ZipFile: archive}, MemorySize: sdk.Int32(memory), Timeout: sdk.Int32(timeout)})
	if err != nil {
		return true, err
	}
	return true, lambda.NewFunctionActiveV2Waiter(t.client).Wait(ctx, name, within)
}

// Invoke sends an event once: another try would hide that the first has failed.
func (t *Target) Invoke(ctx context.Context, f functions.Function, event []byte) (run.Answer, error) {
	once := func(o *lambda.Options) { o.RetryMaxAttempts = 1 }
	out, err := t.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.Name, Payload: event, LogType: types.LogTypeTail}, once)
	if err != nil {
		return run.Answer{}, err
	}
	answer := reported(sdk.ToString(out.LogResult))
	answer.Result = out.Payload
	if out.FunctionError != nil {
		return answer, fmt.Errorf("%s: %s", *out.FunctionError, out.Payload[:min(len(out.Payload), 500)])
	}
	return answer, nil
}

// figures are what the last line of an execution's log says, in milliseconds: there is an Init Duration if
// the start was cold.
var figures = regexp.MustCompile(`\t(Duration|Billed Duration|Init Duration): ([0-9.]+) ms`)

// reported is what the end of an execution's log says of it.
func reported(log string) run.Answer {
	text, err := base64.StdEncoding.DecodeString(log)
	if err != nil {
		return run.Answer{}
	}
	answer := run.Answer{Phases: map[string]float64{}}
	for _, found := range figures.FindAllStringSubmatch(string(text), -1) {
		ms, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			continue
		}
		switch found[1] {
		case "Init Duration":
			answer.Start, answer.Phases["import"] = "cold", ms
		case "Billed Duration":
			answer.Bytes, answer.Held = memory<<20, ms
		default:
			answer.Phases["handler"] = ms
		}
	}
	if answer.Start == "" && len(answer.Phases) > 0 {
		answer.Start = "warm"
	}
	return answer
}
