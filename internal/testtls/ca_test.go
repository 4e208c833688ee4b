package testtls

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// TestHandshake: both sides prove who they are to whoever trusts their
// authority, and to nobody else.
func TestHandshake(t *testing.T) {
	t.Parallel()
	ca, stranger := NewCA(t), NewCA(t)
	dir := t.TempDir()
	certFile, keyFile := WritePair(t, dir, "tls", ca.Client(t, "node"))
	fromFiles, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		trusts *CA
		shows  tls.Certificate
		host   string
		fails  bool
	}{
		"all is well":        {ca, fromFiles, "127.0.0.1", false},
		"by name":            {ca, ca.Client(t, "other"), "crm.example", false},
		"another host":       {ca, fromFiles, "else.example", true},
		"an unknown server":  {stranger, fromFiles, "127.0.0.1", true},
		"an unknown client":  {ca, stranger.Client(t, "node"), "127.0.0.1", true},
		"a server as client": {ca, ca.Server(t, "127.0.0.1"), "127.0.0.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serverErr, clientErr := handshake(t,
				&tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1", "crm.example")}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert},
				&tls.Config{RootCAs: c.trusts.Pool(), Certificates: []tls.Certificate{c.shows}, ServerName: c.host})
			if failed := serverErr != nil || clientErr != nil; failed != c.fails {
				t.Errorf("got server error %v and client error %v, want failure: %v", serverErr, clientErr, c.fails)
			}
		})
	}
}

func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		secured := tls.Server(conn, server)
		if err := secured.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = secured.Write([]byte("x"))
		done <- err
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", listener.Addr().String(), client)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = io.ReadFull(conn, make([]byte, 1)) // A refusal of the certificate comes with the first read.
		_ = conn.Close()
	}
	return <-done, err
}
