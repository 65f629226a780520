package gateway

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Held is the buffer of one event. What it has beyond freeEvent is taken from the gateway's budget. It
// belongs to the request whose event it has, and may be used until that has been invoked.
type Held struct {
	*bytes.Buffer
	budget *core.Budget
	of     string // the namespace whose event it is
	taken  int64
	over   bool // nobody reads the event any more
}

// Events of up to freeEvent bytes are always taken: connections bound their number. Buffers of up to
// keptEvent bytes are used again, the others are left to the garbage collector.
const (
	freeEvent = 4 << 10
	keptEvent = 256 << 10
)

var buffers = sync.Pool{New: func() any { return &Held{Buffer: newBuffer(freeEvent)} }}

func newBuffer(size int) *bytes.Buffer { return bytes.NewBuffer(make([]byte, 0, size)) }

// hold returns a buffer for one event of a function. The caller releases it.
func (g *Gateway) hold(function string) *Held {
	h := buffers.Get().(*Held)
	h.budget, h.of, h.taken, h.over = g.held, core.Namespace(function), 0, false
	if !h.take(h.Cap()) {
		h.Buffer = newBuffer(freeEvent)
	}
	return h
}

// take takes what a buffer of that size needs beyond what was taken for this one.
func (h *Held) take(size int) bool {
	more := max(0, int64(size)-freeEvent) - h.taken
	if more > 0 && !h.budget.Take(h.of, more) {
		return false
	}
	h.taken += max(0, more)
	return true
}

// release gives everything back.
func (h *Held) release() {
	if h.taken > 0 {
		h.budget.Give(h.of, h.taken)
	}
	if h.over && h.Cap() <= keptEvent {
		h.Reset()
		buffers.Put(h)
	}
}

// Fill appends everything that the reader has. On an error it has appended what came before.
func (h *Held) Fill(from io.Reader) error {
	for {
		if err := h.Reserve(1); err != nil {
			return err
		}
		space := h.AvailableBuffer()
		n, err := from.Read(space[:cap(space)])
		h.Write(space[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Reserve makes room for so many bytes more. The buffer grows at least twofold, up to an event and a bit;
// before it does so, it takes the bytes. It returns KindExhausted, Retryable, when there are none to take.
func (h *Held) Reserve(more int) error {
	if h.Available() >= more {
		return nil
	}
	size := max(h.Len()+more, min(2*h.Cap(), core.MaxEvent+bytes.MinRead))
	if !h.take(size) {
		return core.Errorf(core.KindExhausted, core.FaultWorker,
			"events that run, wait or arrive slowly have the %d MiB that the worker has for them, or the %d MiB of one namespace; try again later",
			h.budget.Total()>>20, h.budget.Share()>>20).Again()
	}
	larger := newBuffer(size)
	larger.Write(h.Bytes())
	h.Buffer = larger
	return nil
}
