package registry

import (
	"net"
	"net/http"
	"time"
)

// Server serves a registry on a free port of loopback.
type Server struct {
	Address string // its URL, without a slash at its end
	server  *http.Server
}

// Serve serves the packages below a directory until the server is closed.
func Serve(dir string) (*Server, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{"http://" + listener.Addr().String(), &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.server.Serve(listener) }() // until Close
	return s, nil
}

// Close ends the server.
func (s *Server) Close() error { return s.server.Close() }
