package gateway

import (
	"context"
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core/access"
)

// reply is a ResponseWriter that records whether an answer has begun, its status and its size. Large answers
// wait for room.
type reply struct {
	http.ResponseWriter
	caller  access.Caller // who has been let in
	cross   cross
	routed  bool // it has come by a route
	answers *answers
	kept    answer
	ctx     context.Context //nolint:containedctx // as the request's, which has it too
	begun   bool
	status  int // 0 until WriteHeader, which means 200
	size    int // bytes of the body
}

func (w *reply) WriteHeader(status int) {
	if !w.begun {
		w.cross.decide(w.Header())
	}
	w.begun, w.status = true, status
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(p []byte) (int, error) {
	if !w.begun {
		w.cross.decide(w.Header())
	}
	w.begun = true
	w.size += len(p)
	if len(p) > freeEvent && w.kept.bytes == 0 {
		if err := w.Take(w.ctx, len(p)); err != nil {
			return 0, err
		}
		defer w.answers.give(&w.kept)
	}
	return w.ResponseWriter.Write(p)
}

// Take implements core.Room. What it takes is given back with the end of the request.
func (w *reply) Take(ctx context.Context, bytes int) error {
	if bytes <= freeEvent {
		return nil
	}
	w.kept.connection = http.NewResponseController(w.ResponseWriter)
	return w.answers.take(ctx, &w.kept, bytes)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
