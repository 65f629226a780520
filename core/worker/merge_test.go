package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

var dawn = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// logOf is a log with a line at each of the seconds.
func logOf(function string, seconds ...int) string {
	var b strings.Builder
	for _, s := range seconds {
		_ = json.NewEncoder(&b).Encode(core.LogLine{Time: dawn.Add(time.Duration(s) * time.Second), Function: function, Text: strings.Repeat("x", s)})
	}
	return b.String()
}

// texts returns the functions and seconds of lines.
func texts(t *testing.T, lines string) (all string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var l core.LogLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		all += l.Function + string(rune('0'+len(l.Text))) + " "
	}
	return all
}

func TestMerged(t *testing.T) {
	all := map[string]string{"a": logOf("a", 1, 4, 5), "b": logOf("b", 2, 3, 6), "c": ""}
	reader, err := merged(t.Context(), []string{"a", "b", "c", "gone"}, false, func(_ context.Context, name string) (io.ReadCloser, error) {
		if name == "gone" {
			return nil, supply.NotFound(name)
		}
		return io.NopCloser(strings.NewReader(all[name])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.MultiReader(iotestOne{reader}))
	if err != nil || texts(t, string(got)) != "a1 b2 b3 a4 a5 b6 " {
		t.Errorf("%s, %v", texts(t, string(got)), err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	if _, err := merged(t.Context(), []string{"a"}, false, func(context.Context, string) (io.ReadCloser, error) { return nil, errors.New("no disk") }); err == nil {
		t.Error("a log that cannot be read is left out")
	}
	reader, err = merged(t.Context(), []string{"a"}, false, func(context.Context, string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("no JSON\n")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(reader); err == nil {
		t.Error("a broken log ends like a whole one")
	}
}

// iotestOne reads one byte at a time.
type iotestOne struct{ io.Reader }

func (o iotestOne) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

// TestMergedFollows has lines that come late and in the wrong order, and an end that is the reader's.
func TestMergedFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		writers := map[string]*io.PipeWriter{}
		reader, err := merged(ctx, []string{"a", "b"}, true, func(ctx context.Context, name string) (io.ReadCloser, error) {
			r, w := io.Pipe()
			context.AfterFunc(ctx, func() { r.Close() })
			writers[name] = w
			return r, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(writers["a"], logOf("a", 2))
			_, _ = io.WriteString(writers["b"], logOf("b", 1))
			time.Sleep(time.Minute)
			_, _ = io.WriteString(writers["a"], logOf("a", 3))
		}()
		lines, got := bufio.NewReader(reader), ""
		for range 3 {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got += line
		}
		if texts(t, got) != "b1 a2 a3 " {
			t.Error(texts(t, got))
		}
		time.AfterFunc(time.Second, cancel)
		if _, err := lines.ReadString('\n'); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
}
