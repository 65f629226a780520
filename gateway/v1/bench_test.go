package v1

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"
)

var event = []byte(`{"name":"pip","numbers":[1,2,3]}`)

// bare is the least that net/http can do: read the body and write it back.
func bare(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// BenchmarkHTTP compares a warm echo through the gateway with a bare echo, over loopback with keep-alive.
func BenchmarkHTTP(b *testing.B) {
	for name, handler := range map[string]http.Handler{
		"bare":    http.HandlerFunc(bare),
		"gateway": newGateway(&fakeService{invoke: echo}),
	} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(handler)
			defer server.Close()
			client := server.Client()
			b.ReportAllocs()
			for b.Loop() {
				response, err := client.Post(server.URL+"/run/echo", "application/json", bytes.NewReader(event))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
}

// nowhere is a ResponseWriter that keeps nothing, so that only the handler is measured.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

func benchmarkHandler(b *testing.B, handler http.Handler) {
	request := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/run/echo", nil)
	body := bytes.NewReader(event)
	request.ContentLength = int64(len(event))
	w := &nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(event)
		request.Body = io.NopCloser(body) // the gateway has put its own around the last one
		clear(w.header)
		handler.ServeHTTP(w, request)
	}
}

// BenchmarkRun is the handler of an event alone, without a connection.
func BenchmarkRun(b *testing.B) { benchmarkHandler(b, newGateway(&fakeService{invoke: echo})) }

// BenchmarkMux is the same with mux before it, which is why it is not.
func BenchmarkMux(b *testing.B) {
	g := newGateway(&fakeService{invoke: echo})
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, path := range []string{"/v1/functions", "/v1/functions/{name}", "/v1/functions/{name}/logs", "/v1/tree"} {
		router.Handle(path, http.NotFoundHandler())
	}
	router.HandleFunc("/run/{name}", g.ServeHTTP)
	benchmarkHandler(b, router)
}
