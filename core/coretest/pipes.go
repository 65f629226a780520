package coretest

import "net"

// Pipes is a listener in memory: its connections are pipes. A server may use it in a bubble of
// testing/synctest, where the network would not count as blocked.
type Pipes struct {
	net.Listener // for the methods that nobody calls
	conns        chan net.Conn
}

// NewPipes returns a listener that the server closes.
func NewPipes() Pipes { return Pipes{conns: make(chan net.Conn)} }

// Dial returns the near end of a connection, once the server has accepted it.
func (p Pipes) Dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// Accept implements net.Listener.
func (p Pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (p Pipes) Close() error { close(p.conns); return nil }

// Addr implements net.Listener.
func (p Pipes) Addr() net.Addr { return &net.TCPAddr{} }
