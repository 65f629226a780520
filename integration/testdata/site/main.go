// Command site is a web application that knows nothing of functions: what tests ask of one, and of a response
// in parts.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"
)

func main() {
	block := bytes.Repeat([]byte("x"), 64<<10)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<p>%s", r.URL.Query().Get("name"))
	})
	http.HandleFunc("/form", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, r.FormValue("a"), r.Header.Get("Cookie"))
	})
	http.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89\xff\x00"))
	})
	http.HandleFunc("/fail", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	http.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 160 {
			_, _ = w.Write(block)
		}
	})
	http.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for n := 0; ; n++ {
			if _, err := w.Write(block); err != nil {
				fmt.Println("gone after", n, err)
				return
			}
		}
	})
	http.HandleFunc("/now", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "now") })
	http.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("waits")
		select {
		case <-r.Context().Done():
			fmt.Println("gone")
		case <-time.After(time.Minute):
		}
	})
	for _, path := range []string{"/parts", "/half", "/die", "/hang"} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "one")
			_ = http.NewResponseController(w).Flush()
			switch path {
			case "/half":
				time.Sleep(20 * time.Millisecond)
				panic(http.ErrAbortHandler)
			case "/die":
				time.Sleep(20 * time.Millisecond)
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			case "/hang":
				time.Sleep(time.Minute)
			}
			time.Sleep(400 * time.Millisecond)
			fmt.Fprint(w, "two")
		})
	}
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		panic(err)
	}
}
