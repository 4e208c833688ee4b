package main

import (
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/internal/testtls"
)

func TestEtcdConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := testtls.NewCA(t)
	authority := ca.WriteCA(t, dir, "ca.pem")
	cert, key := testtls.WritePair(t, dir, "client", ca.Client(t, "pm"))
	base := config.DefaultConfig()
	base.Cluster.NodeName = "n1"
	base.Storage.Etcd = config.Etcd{
		Endpoints: []string{"a:2379", "b:2379"}, KeyPrefix: "/x", Username: "u", Password: "p", Timeout: time.Second,
		SessionTTL: 5 * time.Second, MaxTxnOps: 64, MaxRequestBytes: 1 << 20,
	}
	ec, err := etcdConfig(base, "n1:8080")
	if err != nil {
		t.Fatal(err)
	}
	if err := ec.Validate(); err != nil {
		t.Error(err)
	}
	if ec.TLS != nil || ec.Prefix != "/x" || ec.Password != "p" || ec.MaxOps != 64 || ec.MaxBytes != 1<<20 ||
		ec.SessionTTL != 5*time.Second || ec.Node.Name != "n1" || ec.Node.HTTPAddr != "n1:8080" || ec.Node.Version == "" {
		t.Errorf("got %+v", ec)
	}
	for name, test := range map[string]struct {
		change func(*config.Etcd)
		err    string
	}{
		"ok_enabled":      {change: func(e *config.Etcd) { e.TLS.Enabled = true }},
		"ok_by_endpoint":  {change: func(e *config.Etcd) { e.Endpoints = []string{"https://a:2379"} }},
		"ok_by_authority": {change: func(e *config.Etcd) { e.TLS.CACertPath = authority }},
		"ok_pair":         {change: func(e *config.Etcd) { e.TLS.ClientCertPath, e.TLS.ClientKeyPath = cert, key }},
		"err_no_file":     {func(e *config.Etcd) { e.TLS.CACertPath = dir + "/nothing" }, "storage.etcd.tls: read the authority's certificate"},
		"err_no_pem":      {func(e *config.Etcd) { e.TLS.CACertPath = key }, "holds no certificate"},
		"err_pair":        {func(e *config.Etcd) { e.TLS.ClientCertPath, e.TLS.ClientKeyPath = cert, authority }, "read the client's certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := base
			test.change(&c.Storage.Etcd)
			ec, err := etcdConfig(c, "n1:8080")
			switch {
			case test.err == "" && (err != nil || ec.TLS == nil):
				t.Errorf("got %v, %v, want TLS", ec.TLS, err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}
