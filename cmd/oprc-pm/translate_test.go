package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/control"
	"github.com/oprc/oprc-pm/crm/drift"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/model"
)

// What the reference file calls the default is what the HTTP interface runs with.
func TestHTTPDefaults(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(httpapi.DefaultConfig(), httpConfig(config.DefaultConfig())); diff != "" {
		t.Errorf("defaults differ (-httpapi +config):\n%s", diff)
	}
	c := config.DefaultConfig()
	c.Packages.DeleteCascade = true
	c.Server.MaxInFlight = 2
	got := httpConfig(c)
	if !got.DeleteCascade {
		t.Error("packages.delete_cascade does not reach the API")
	}
	if err := got.Validate(); err != nil {
		t.Errorf("with the least max_in_flight: %v", err)
	}
}

// Every setting of a cluster reaches its client, and what others may know of it
// its document.
func TestCRMConfig(t *testing.T) {
	t.Parallel()
	cfg := config.DefaultConfig()
	cfg.CRM.DefaultCluster, cfg.CRM.SecretsDir = "edge", "/secrets"
	cfg.CRM.Tokens = map[string]config.Secret{"LATER": "canary-1"}
	cfg.CRM.Clusters = map[string]config.CRMCluster{"edge": {
		BaseURL: "https://edge", Protocol: config.ProtocolGRPC, Timeout: time.Second, RetryAttempts: 2, MaxConcurrency: 3,
		Labels: map[string]string{"zone": "z"}, Environments: []string{"eu"}, Weight: 0, Capacity: 9,
		Authentication: config.Authentication{AuthType: config.AuthBasic, Username: "u", Password: "canary-2", Token: "canary-3", CertificatePath: "/both"},
		TLS:            config.TLS{CACertPath: "/ca", ClientKeyPath: "/key", ServerName: "crm", Insecure: true},
	}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := crmConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	weight, capacity := uint32(0), uint32(9)
	want := crm.DefaultConfig()
	want.DefaultCluster, want.SecretsDir, want.Tokens = "edge", "/secrets", map[string]crm.Secret{"LATER": "canary-1"}
	want.Clusters["edge"] = crm.ClusterConfig{
		Name: "edge", BaseURL: "https://edge", Protocol: model.ProtocolGRPC, Timeout: time.Second, RetryAttempts: 2, MaxConcurrency: 3,
		MaxResponseBytes: crm.DefaultClusterConfig("", "").MaxResponseBytes,
		Auth:             crm.AuthConfig{Type: crm.AuthBasic, Username: "u", Password: "canary-2", Token: "canary-3"},
		TLS:              crm.TLSConfig{CAFile: "/ca", CertFile: "/both", KeyFile: "/key", ServerName: "crm", Insecure: true},
		Labels:           map[string]string{"zone": "z"}, Environments: []string{"eu"}, Weight: &weight, Capacity: &capacity,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCRMConfigRefusesWhatMakesNoCluster(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*config.CRMCluster){
		"needs a base URL with https://": func(c *config.CRMCluster) { c.Authentication.AuthType = config.AuthCertificate },
		"crm.clusters.edge: auth.username: must not hold a colon": func(c *config.CRMCluster) {
			c.Authentication = config.Authentication{AuthType: config.AuthBasic, Username: "a:b", Password: "p"}
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			cfg := config.DefaultConfig()
			one := config.DefaultCRMCluster()
			one.BaseURL = "http://edge"
			change(&one)
			cfg.CRM.Clusters = map[string]config.CRMCluster{"edge": one}
			_, err := crmConfig(cfg)
			if err == nil || exitCode(t.Context(), err) != exitUsage || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want a usage error with %q", err, want)
			}
		})
	}
}

func TestControlConfig(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(control.DefaultConfig(), controlConfig(config.DefaultConfig(), nil)); diff != "" {
		t.Errorf("defaults differ (-control +config):\n%s", diff)
	}
	cfg := config.DefaultConfig()
	cfg.CRM.HealthCheckInterval = 2 * time.Second
	cfg.CRM.CircuitBreaker = config.Breaker{FailureThreshold: 3, Timeout: 4 * time.Second, RetryTimeout: 5 * time.Second}
	cfg.CRM.Planning = config.Planning{Availability: 0.6, ClusterAvailability: 0.7, MaxClusters: 8, ReplicaThroughput: 9}
	cfg.CRM.Failover = config.Failover{Toleration: 10 * time.Second, MaxEvictionsPerMinute: 11, Recovery: 12 * time.Second}
	cfg.CRM.Drift = config.Drift{Interval: 13 * time.Second, OrphanPolicy: config.OrphanRemove, OrphanGrace: 14 * time.Second}
	cfg.CRM.Deploy.RollbackOnPartial = true
	local := []model.Cluster{{Name: "edge"}}
	want := control.DefaultConfig()
	want.Local = local
	want.Health.Interval, want.Health.Timeout, want.Health.FailureThreshold = 2*time.Second, 4*time.Second, 3
	want.Health.OpenTimeout, want.Health.RetryTimeout = 4*time.Second, 5*time.Second
	want.Policy.Availability, want.Policy.ClusterAvailability, want.Policy.MaxClusters, want.Policy.ReplicaThroughput = 0.6, 0.7, 8, 9
	want.Policy.Toleration = 10 * time.Second
	want.Failover.Toleration, want.Failover.MaxEvictionsPerMinute, want.Failover.Recovery = 10*time.Second, 11, 12*time.Second
	want.Drift.Interval, want.Drift.OrphanPolicy, want.Drift.OrphanGrace = 13*time.Second, drift.OrphanRemove, 14*time.Second
	want.Dispatch.RollbackOnPartial = true
	if diff := cmp.Diff(want, controlConfig(cfg, local)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
