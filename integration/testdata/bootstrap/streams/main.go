// Command streams answers in parts as AWS Lambda's function URLs have it, and as the tests of responses in
// parts want it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func handle(_ context.Context, event events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLStreamingResponse, error) {
	if event.RawPath == "/fail" {
		return nil, errors.New("failed")
	}
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(write(writer, event.RawPath)) }()
	return &events.LambdaFunctionURLStreamingResponse{StatusCode: http.StatusOK, Headers: map[string]string{"Content-Type": "text/plain"}, Body: reader}, nil
}

func write(w io.Writer, path string) error {
	block := bytes.Repeat([]byte("x"), 64<<10)
	switch path {
	case "/large":
		_, err := w.Write(bytes.Repeat(block, 160))
		return err
	case "/endless":
		for n := 0; ; n++ {
			if _, err := w.Write(block); err != nil {
				fmt.Println("gone after", n, err)
				return nil
			}
		}
	}
	fmt.Fprint(w, "one")
	time.Sleep(20 * time.Millisecond)
	switch path {
	case "/half":
		return errors.New("half")
	case "/die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "/hang":
		time.Sleep(time.Minute)
	}
	time.Sleep(400 * time.Millisecond)
	fmt.Fprint(w, "two")
	return nil
}

func main() { lambda.Start(handle) }
