// Command bootstrap is a web application in Go. It is a function because it listens where PORT says; nothing
// in it is Pipsqueak's.
//
//	cd examples/go-http
//	CGO_ENABLED=0 go build -o bootstrap .
//	pipsqueak deploy .
//	curl http://127.0.0.1:8080/fn/go-http/convert?miles=26.2
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"net/http"
	"os"
	"strconv"
)

func page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<form action='%s/convert'>miles: <input name=miles value=26.2> <button>to km</button></form>", r.Header.Get("X-Forwarded-Prefix"))
}

func convert(w http.ResponseWriter, r *http.Request) {
	miles, err := strconv.ParseFloat(r.FormValue("miles"), 64)
	if err != nil {
		http.Error(w, "miles is a number", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]float64{"km": math.Round(miles*160.9344) / 100}); err != nil {
		log.Print(err)
	}
}

func main() {
	http.HandleFunc("GET /{$}", page)
	http.HandleFunc("GET /convert", convert)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
