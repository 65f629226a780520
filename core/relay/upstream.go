package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// dial connects to an address, through the worker's own proxy when it has one for it.
func dial(ctx context.Context, address string) (net.Conn, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	if err != nil {
		return nil, fmt.Errorf("the worker's HTTPS_PROXY: %w", err)
	}
	if proxy == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := connect(ctx, proxy, address)
	if err != nil {
		return nil, fmt.Errorf("by the worker's HTTPS_PROXY %s: %w", proxy.Host, err)
	}
	return conn, nil
}

// connect asks a proxy for a tunnel to the address.
func connect(ctx context.Context, proxy *url.URL, address string) (net.Conn, error) {
	port := proxy.Port()
	if port == "" {
		port = ports[proxy.Scheme]
	}
	if ports[proxy.Scheme] == "" {
		return nil, fmt.Errorf("a proxy of the kind %s is not supported, http or https is", proxy.Scheme)
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(dialTime))
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname()})
	}
	if err := ask(conn, proxy.User, address); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

func ask(conn net.Conn, user *url.Userinfo, address string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request) //nolint:bodyclose // what follows is the tunnel
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return errors.New(response.Status)
	case reader.Buffered() > 0:
		return errors.New("the other end speaks first")
	}
	return nil
}
