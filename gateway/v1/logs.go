package v1

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// logs answers with the log of a function. With follow=true it continues until one side ends.
func (a *api) logs(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	query, err := logQuery(r)
	if err != nil {
		return err
	}
	if a.service.Logs == nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "this server keeps no logs")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-a.front.Closing():
		case <-ctx.Done():
		}
	}()
	reader, err := a.service.Logs.Logs(ctx, name, query)
	if err != nil {
		return err
	}
	defer reader.Close()

	write, media := copyLine, ndjson
	if gateway.Accepts(r, "text/plain") {
		write, media = textOf(name), "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(http.StatusOK)
	err = copyLines(w, reader, query.Follow, write)
	if ctx.Err() != nil {
		return nil // following has ended, on whichever side
	}
	return err
}

// logQuery returns the query of a request for logs.
func logQuery(r *http.Request) (query core.LogQuery, err error) {
	asked := r.URL.Query()
	wrong := func(name, is string) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s=%s is %s", name, gateway.Clip(asked.Get(name)), is)
	}
	for name, to := range map[string]*bool{"follow": &query.Follow, "errors": &query.Errors} {
		if text := asked.Get(name); text != "" {
			if *to, err = strconv.ParseBool(text); err != nil {
				return query, wrong(name, "neither true nor false")
			}
		}
	}
	query.Follow = query.Follow && r.Method != http.MethodHead // HEAD would wait for lines that it does not send
	query.Tail = core.AllLines
	if text := asked.Get("tail"); text != "" {
		if query.Tail, err = strconv.Atoi(text); err != nil || query.Tail < 0 {
			return query, wrong("tail", "no number of lines")
		}
	}
	if text := asked.Get("since"); text != "" {
		ago, e := time.ParseDuration(text)
		query.Since = time.Now().Add(-ago)
		if e != nil {
			query.Since, err = time.Parse(time.RFC3339, text)
		}
		if err != nil {
			return query, wrong("since", "neither a time, such as 2026-01-02T03:04:05Z, nor how long ago it was, such as 10m")
		}
	}
	query.Request = asked.Get("request")
	return query, nil
}

// copyLines copies lines until the reader ends. With follow it sends each line at once, and the headers
// before the first line, so that the caller knows it is connected.
func copyLines(w http.ResponseWriter, reader io.Reader, follow bool, write func(io.Writer, []byte) error) error {
	control := http.NewResponseController(w)
	lines := bufio.NewReaderSize(reader, 64<<10)
	for {
		if follow && lines.Buffered() == 0 {
			if err := control.Flush(); err != nil {
				return err
			}
		}
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := write(w, line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func copyLine(w io.Writer, line []byte) error {
	_, err := w.Write(line)
	return err
}

// textOf writes a line for people: time, function (in the log of an application), request id, node, stream,
// text. Of an exception type, stack and causes follow in indented lines.
func textOf(name string) func(w io.Writer, line []byte) error {
	return func(w io.Writer, line []byte) error {
		var l core.LogLine
		if err := json.Unmarshal(line, &l); err != nil {
			return core.Errorf(core.KindInternal, core.FaultWorker, "a line of the log is not JSON: %w", err)
		}
		words := []string{l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), cmp.Or(l.Request, "-"), cmp.Or(string(l.Node), "-"), l.Stream, l.Text}
		if l.Function != name {
			words = slices.Insert(words, 1, l.Function)
		}
		text := strings.Join(words, " ")
		if l.Failure != nil {
			text = strings.ReplaceAll(text, "\n", "\n    ")
			if l.Failure.Exception != nil {
				text = strings.Join(append([]string{text}, l.Failure.Exception.Lines()...), "\n    ")
			}
		}
		_, err := io.WriteString(w, text+"\n")
		return err
	}
}
