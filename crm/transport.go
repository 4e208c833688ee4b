package crm

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// This file is the one place where connections to CRMs are made.

// newDialer is for connections to one CRM.
func newDialer(cfg ClusterConfig) *net.Dialer {
	return &net.Dialer{Timeout: connectTimeout(cfg), KeepAlive: 15 * time.Second}
}

// connectTimeout bounds the way to a usable connection.
func connectTimeout(cfg ClusterConfig) time.Duration { return min(cfg.Timeout, 5*time.Second) }

// newTransport makes the connections of one cluster, so that one that hangs
// cannot use up what others need.
//
// The environment's proxy settings are ignored on purpose: a control plane must
// not be steered by a variable that somebody set for a package manager.
func newTransport(cfg ClusterConfig, tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         newDialer(cfg).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: connectTimeout(cfg),
		ForceAttemptHTTP2:   true,
		// The dispatcher's slots, everybody else's, and one for the health probe.
		MaxConnsPerHost:        2*cfg.MaxConcurrency + 1,
		MaxIdleConnsPerHost:    cfg.MaxConcurrency,
		MaxIdleConns:           cfg.MaxConcurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// An answer must not be larger in memory than on the wire.
		DisableCompression: true,
	}
}

// maxHeaderBytes bounds an answer's headers, in both protocols.
const maxHeaderBytes = 64 << 10

// contextDialer dials addr for gRPC and keeps the error of the last attempt: what
// gRPC makes of it is text only.
func contextDialer(cfg ClusterConfig, note func(error)) func(context.Context, string) (net.Conn, error) {
	dialer := newDialer(cfg)
	return func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		note(err)
		return conn, err
	}
}
