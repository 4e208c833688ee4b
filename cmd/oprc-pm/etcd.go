package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
)

// etcdBackend is a node over a shared etcd.
func etcdBackend(ctx context.Context, cfg config.Config, httpAddr string, logger *slog.Logger, set *metrics.Set) (*backend, error) {
	ec, err := etcdConfig(cfg, httpAddr)
	if err != nil {
		return nil, err
	}
	store, err := etcd.Open(ctx, ec, etcd.Deps{Machine: fsm.NewMachine(), Logger: logger, Metrics: set})
	if err != nil {
		return nil, err
	}
	peers := &etcdPeers{store: store, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}}}
	return &backend{
		store:    store,
		members:  peers.members,
		handOver: store.Resign,
		close: func(context.Context) error {
			peers.client.CloseIdleConnections()
			return store.Close()
		},
		faulted: store.Done(),
		fault:   store.Err,
	}, nil
}

// etcdConfig is for a node whose API is reachable at httpAddr.
func etcdConfig(c config.Config, httpAddr string) (etcd.Config, error) {
	e := c.Storage.Etcd
	ec := etcd.DefaultConfig()
	ec.Endpoints, ec.Prefix = e.Endpoints, e.KeyPrefix
	ec.Username, ec.Password = e.Username, e.Password.Reveal()
	ec.RequestTimeout, ec.SessionTTL = e.Timeout, e.SessionTTL
	ec.MaxOps, ec.MaxBytes = e.MaxTxnOps, e.MaxRequestBytes
	ec.Node = etcd.Node{Name: c.Cluster.NodeName, HTTPAddr: httpAddr, Version: version()}
	// Whoever names certificates means them to be used.
	named := e.TLS.CACertPath != "" || e.TLS.ClientCertPath != ""
	secure := func(endpoint string) bool { return strings.HasPrefix(endpoint, "https://") }
	if !e.TLS.Enabled && !named && !slices.ContainsFunc(e.Endpoints, secure) {
		return ec, nil
	}
	var err error
	if ec.TLS, err = etcdTLS(e.TLS); err != nil {
		return etcd.Config{}, usagef("storage.etcd.tls: %w", err)
	}
	return ec, nil
}

func etcdTLS(t config.TLS) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // the operator says so
	if t.CACertPath != "" {
		pem, err := os.ReadFile(t.CACertPath)
		if err != nil {
			return nil, fmt.Errorf("read the authority's certificate: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CACertPath)
		}
	}
	if t.ClientCertPath != "" {
		pair, err := tls.LoadX509KeyPair(t.ClientCertPath, t.ClientKeyPath)
		if err != nil {
			return nil, fmt.Errorf("read the client's certificate: %w", err)
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	return tc, nil
}

// etcdPeers tells of the nodes over one etcd.
type etcdPeers struct {
	store  *etcd.Store
	client *http.Client
}

// peerTimeout bounds the question to another node how far it is.
const peerTimeout = time.Second

// members are the nodes that hold a lease. None of them votes: etcd's servers do.
func (p *etcdPeers) members(ctx context.Context) ([]storage.Member, error) {
	nodes, leader := p.store.Nodes()
	own := p.store.Status()
	list := make([]storage.Member, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		m := &list[i]
		*m = storage.Member{Name: node.Name, ID: node.ID, Role: storage.RoleFollower, Alive: true,
			HTTPAddr: node.HTTPAddr, Version: node.Version, Term: own.Term, CommitIndex: own.CommitIndex}
		if node.ID == leader {
			m.Role = storage.RoleLeader
		}
		if node.ID == own.NodeID {
			m.AppliedIndex, m.Digest, m.DigestIndex, m.LastContactMS = own.AppliedIndex, own.Digest, own.DigestIndex, own.LastContact.Milliseconds()
			continue
		}
		all.Go(func() { p.ask(ctx, m) })
	}
	all.Wait()
	return list, nil
}

// ask completes what is known of another node.
func (p *etcdPeers) ask(ctx context.Context, m *storage.Member) {
	details, err := p.details(ctx, m.HTTPAddr)
	if err != nil {
		m.Error = err.Error()
		return
	}
	m.AppliedIndex, m.Digest, m.DigestIndex, m.LastContactMS = details.AppliedIndex, details.Digest, details.DigestIndex, details.LastContactMS
}

func (p *etcdPeers) details(ctx context.Context, addr string) (etcd.Details, error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
	if err != nil {
		return etcd.Details{}, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return etcd.Details{}, err
	}
	defer response.Body.Close()
	var health struct {
		Storage struct {
			Details etcd.Details `json:"details"`
		} `json:"storage"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&health); err != nil {
		return etcd.Details{}, fmt.Errorf("decode health of %s: %w", addr, err)
	}
	return health.Storage.Details, nil
}
