package crm

import (
	"net"
	"net/http"
	"time"
)

// newTransport is the one place where connections to CRMs are made; TLS
// settings belong here. Each cluster has a transport of its own, so that one
// that hangs cannot use up what others need.
//
// The environment's proxy settings are ignored on purpose: a control plane must
// not be steered by a variable that somebody set for a package manager.
func newTransport(cfg ClusterConfig) *http.Transport {
	dialer := &net.Dialer{Timeout: min(cfg.Timeout, 5*time.Second), KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: min(cfg.Timeout, 5*time.Second),
		ForceAttemptHTTP2:   true,
		// The dispatcher's slots, everybody else's, and one for the health probe.
		MaxConnsPerHost:        2*cfg.MaxConcurrency + 1,
		MaxIdleConnsPerHost:    cfg.MaxConcurrency,
		MaxIdleConns:           cfg.MaxConcurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// An answer must not be larger in memory than on the wire.
		DisableCompression: true,
	}
}
