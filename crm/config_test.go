package crm

import (
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	valid := func() Config {
		cfg := DefaultConfig()
		cfg.Clusters["edge-1"] = DefaultClusterConfig("edge-1", "https://crm.example:8088/prefix")
		cfg.DefaultCluster = "edge-1"
		return cfg
	}
	if err := valid().Validate(); err != nil {
		t.Fatalf("valid configuration: %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatalf("default configuration: %v", err)
	}
	cluster := func(change func(*ClusterConfig)) func(*Config) {
		return func(c *Config) {
			one := c.Clusters["edge-1"]
			change(&one)
			c.Clusters["edge-1"] = one
		}
	}
	cases := map[string]struct {
		change func(*Config)
		want   string
	}{
		"scheme":      {cluster(func(c *ClusterConfig) { c.BaseURL = "ftp://host" }), "http://"},
		"no scheme":   {cluster(func(c *ClusterConfig) { c.BaseURL = "host:8088" }), "http://"},
		"no host":     {cluster(func(c *ClusterConfig) { c.BaseURL = "http://:80" }), "no host"},
		"empty":       {cluster(func(c *ClusterConfig) { c.BaseURL = "" }), "http://"},
		"malformed":   {cluster(func(c *ClusterConfig) { c.BaseURL = "http://a b" }), "malformed"},
		"credentials": {cluster(func(c *ClusterConfig) { c.BaseURL = "http://u:p@host" }), "credentials"},
		"query":       {cluster(func(c *ClusterConfig) { c.BaseURL = "http://host?x=1" }), "query"},
		"query is not repeated, it may hold a secret": {cluster(func(c *ClusterConfig) { c.BaseURL = "http://host/?token=canary" }), `base URL of host "host" has a query or a fragment`},
		"timeout":         {cluster(func(c *ClusterConfig) { c.Timeout = 0 }), "timeout"},
		"retries":         {cluster(func(c *ClusterConfig) { c.RetryAttempts = -1 }), "retry"},
		"concurrency":     {cluster(func(c *ClusterConfig) { c.MaxConcurrency = 0 }), "concurrency"},
		"response":        {cluster(func(c *ClusterConfig) { c.MaxResponseBytes = 0 }), "response"},
		"basic":           {cluster(func(c *ClusterConfig) { c.Auth = AuthConfig{Type: AuthBasic} }), "user name"},
		"authentication":  {cluster(func(c *ClusterConfig) { c.Auth.Type = "magic" }), "magic"},
		"name differs":    {cluster(func(c *ClusterConfig) { c.Name = "other" }), "differs"},
		"name":            {func(c *Config) { c.Clusters["a/b"] = DefaultClusterConfig("", "http://h") }, "letters"},
		"empty name":      {func(c *Config) { c.Clusters[""] = DefaultClusterConfig("", "http://h") }, "letters"},
		"default cluster": {func(c *Config) { c.DefaultCluster = "mars" }, "mars"},
		"protocol":        {cluster(func(c *ClusterConfig) { c.Protocol = "smtp" }), "smtp"},
		"grpc path":       {cluster(func(c *ClusterConfig) { c.Protocol = model.ProtocolGRPC }), "path"},
		"certificate":     {cluster(func(c *ClusterConfig) { c.BaseURL = "http://h"; c.Auth.Type = AuthCertificate }), "https://"},
		"lonely key":      {cluster(func(c *ClusterConfig) { c.TLS.KeyFile = "k" }), "client key"},
		"defaults":        {func(c *Config) { c.Defaults.Timeout = 0 }, "defaults: timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := valid()
			c.change(&cfg)
			err := cfg.Validate()
			if err == nil {
				t.Fatal("got no error")
			}
			contains(t, err.Error(), c.want)
		})
	}
}
