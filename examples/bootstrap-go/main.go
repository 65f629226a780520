// Command bootstrap is a function in Go as AWS Lambda runs it; nothing in it is Pipsqueak's.
//
//	cd examples/bootstrap-go
//	CGO_ENABLED=0 go build -o bootstrap .
//	pipsqueak deploy .
//	pipsqueak invoke bootstrap-go -d '{"text": "so many words, so little memory"}'
package main

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Text string `json:"text"`
}

type result struct {
	Words   int    `json:"words"`
	Longest string `json:"longest"`
	Request string `json:"request"`
}

func handle(ctx context.Context, e event) (result, error) {
	words := strings.FieldsFunc(e.Text, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(words) == 0 {
		return result{}, errors.New("the text has no words")
	}
	r := result{Words: len(words)}
	for _, word := range words {
		if len([]rune(word)) > len([]rune(r.Longest)) {
			r.Longest = word
		}
	}
	if about, ok := lambdacontext.FromContext(ctx); ok {
		r.Request = about.AwsRequestID
	}
	return r, nil
}

func main() { lambda.Start(handle) }
