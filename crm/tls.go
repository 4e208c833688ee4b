package crm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
)

// trust is how connections to one CRM are secured. What files hold is looked up
// for each call; a change gives another *tlsState, and with it new connections.
type trust struct {
	cfg    TLSConfig
	host   string
	logger *slog.Logger
	// mustIdentify: there must be a client certificate.
	mustIdentify bool

	// ca, cert and key are the configured files, the optional ones those of the
	// folder of secrets, which may be missing.
	ca, cert, key          *watchedFile
	optCA, optCert, optKey *watchedFile

	current atomic.Pointer[tlsState]
	// refused is the newest set of files that could not be used, so that it is
	// not complained about at each call.
	refused atomic.Pointer[tlsFiles]
}

// tlsFiles are the contents that a tlsState was made of; nil: no such file.
type tlsFiles struct{ ca, cert, key *fileContent }

// tlsState is usable TLS settings. It is not modified.
type tlsState struct {
	files  tlsFiles
	config *tls.Config
}

// newTrust is for a URL's host without its port. It does no I/O.
func newTrust(cfg ClusterConfig, host string, logger *slog.Logger) *trust {
	t := &trust{
		cfg: cfg.TLS, host: host, logger: logger, mustIdentify: cfg.Auth.Type == AuthCertificate,
		ca: newWatchedFile(cfg.TLS.CAFile), cert: newWatchedFile(cfg.TLS.CertFile), key: newWatchedFile(cfg.TLS.KeyFile),
	}
	if t.cert != nil && t.key == nil {
		t.key = t.cert
	}
	if cfg.SecretsDir == "" {
		return t
	}
	if t.ca == nil && cfg.TLS.CAPEM == "" {
		t.optCA = newWatchedFile(filepath.Join(cfg.SecretsDir, secretCA))
	}
	if t.cert == nil {
		t.optCert = newWatchedFile(filepath.Join(cfg.SecretsDir, secretCert))
		t.optKey = newWatchedFile(filepath.Join(cfg.SecretsDir, secretKey))
	}
	return t
}

// errNoCertificate tells that there is nothing to show to the CRM.
var errNoCertificate = errors.New("no client certificate is known for the cluster on this node")

// state returns the settings for the files as they are now. Files that cannot be
// used, as in the middle of a replacement, leave the last usable ones in force.
func (t *trust) state() (*tlsState, error) {
	current := t.current.Load()
	files, err := t.read()
	if err != nil {
		return t.orLast(current, tlsFiles{}, err)
	}
	if current != nil && current.files == files {
		return current, nil
	}
	config, err := t.build(files)
	if err != nil {
		return t.orLast(current, files, err)
	}
	fresh := &tlsState{files: files, config: config}
	if !t.current.CompareAndSwap(current, fresh) {
		return t.current.Load(), nil // somebody was faster; one state, not two
	}
	if current != nil {
		t.logger.Info("tls material replaced", "host", t.host)
	}
	return fresh, nil
}

func (t *trust) orLast(current *tlsState, files tlsFiles, err error) (*tlsState, error) {
	if current == nil {
		return nil, err
	}
	if refused := t.refused.Swap(&files); refused == nil || *refused != files {
		t.logger.Warn("tls material cannot be used, the last one stays in force", "host", t.host, "err", err)
	}
	return current, nil
}

func (t *trust) read() (files tlsFiles, err error) {
	for _, one := range []struct {
		into               **fileContent
		configured, option *watchedFile
	}{
		{&files.ca, t.ca, t.optCA}, {&files.cert, t.cert, t.optCert}, {&files.key, t.key, t.optKey},
	} {
		if one.configured != nil {
			*one.into, err = one.configured.read()
		} else {
			*one.into, err = one.option.readOptional()
		}
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

func (t *trust) build(files tlsFiles) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: t.cfg.ServerName,
		// A person asked for it, for this cluster.
		InsecureSkipVerify: t.cfg.Insecure, //nolint:gosec // see above
	}
	if config.ServerName == "" {
		config.ServerName = t.host
	}
	authorities := []byte(t.cfg.CAPEM)
	if files.ca != nil {
		authorities = files.ca.data
	}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, errors.New("the cluster's trusted certificates hold no certificate")
		}
	}
	switch {
	case files.cert != nil && files.key != nil:
		certificate, err := tls.X509KeyPair(files.cert.data, files.key.data)
		if err != nil {
			return nil, fmt.Errorf("use client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	case files.cert != nil || files.key != nil:
		return nil, errors.New("the client certificate or its key is missing")
	case t.mustIdentify:
		return nil, errNoCertificate
	}
	return config, nil
}
