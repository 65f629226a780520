// Command bootstrap does what its event tells it to, through aws-lambda-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
	Size int    `json:"size"`
}

var served int

func handle(ctx context.Context, e event) (any, error) {
	served++
	switch e.Do {
	case "echo":
		return e.Text, nil
	case "large":
		return strings.Repeat("x", e.Size), nil
	case "length":
		return len(e.Text), nil
	case "stream": // aws-lambda-go streams what is a reader
		return strings.NewReader(`{"streamed": true}`), nil
	case "error":
		return nil, errors.New("no " + e.Text)
	case "panic":
		panic("panic: " + e.Text)
	case "exit":
		os.Exit(7)
	case "terminate":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(time.Minute)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "memory":
		return hog(), nil
	case "sleep":
		time.Sleep(time.Minute)
	case "print":
		fmt.Println("to stdout", e.Text)
		fmt.Fprintln(os.Stderr, "to stderr", e.Text)
	case "about":
		about, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{"id": about.AwsRequestID, "arn": about.InvokedFunctionArn, "left": time.Until(deadline).Milliseconds(),
			"name": lambdacontext.FunctionName, "memory": lambdacontext.MemoryLimitInMB, "handler": os.Getenv("_HANDLER"), "served": served}, nil
	}
	return nil, nil
}

// hog takes memory until there is none.
func hog() int {
	var all [][]byte
	for {
		all = append(all, []byte(strings.Repeat("x", 1<<20)))
		if len(all) > 4096 {
			return len(all)
		}
	}
}

func main() { lambda.Start(handle) }
