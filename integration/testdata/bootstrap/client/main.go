// Command client asks a server of the tests over TLS, with their authority and without.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
)

func handle(ctx context.Context) ([]string, error) {
	ca, err := os.ReadFile("ca.pem")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer trusting.CloseIdleConnections()
	var answers []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, "https://web.example/", strings.NewReader(""))
		if err != nil {
			return nil, err
		}
		response, err := trusting.Do(request)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			return nil, err
		}
		answers = append(answers, string(body))
	}
	response, err := http.Get("https://web.example/") //nolint:noctx // a test's
	var untrusted *tls.CertificateVerificationError
	if err == nil {
		_ = response.Body.Close()
	} else if errors.As(err, &untrusted) {
		answers = append(answers, "untrusted")
	}
	return answers, nil
}

func main() { lambda.Start(handle) }
