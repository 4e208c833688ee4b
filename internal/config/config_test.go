package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

func TestReferenceFileHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../deploy/config/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Decoded over nothing, so that a key missing from the file shows.
	var got Config
	if err := got.Decode(data, lookupIn(nil)); err != nil {
		t.Fatal(err)
	}
	got.Cluster.Join, got.CRM.Clusters = nil, nil // [] and {} in the file
	if diff := cmp.Diff(DefaultConfig(), got); diff != "" {
		t.Errorf("reference file differs from the defaults (-default +file):\n%s", diff)
	}
	defaults := DefaultConfig()
	if err := defaults.Validate(); err != nil {
		t.Errorf("the defaults are invalid: %v", err)
	}
}

// Every variable that is read must be found in the reference file by whoever
// looks for it.
func TestReferenceFileNamesEveryVariable(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../deploy/config/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variables {
		if !strings.Contains(string(data), v.name) {
			t.Errorf("%s is not mentioned in the reference file", v.name)
		}
	}
}

const specification = `
server:
  host: "0.0.0.0"
  port: 8080
  workers: 4

storage:
  storage_type: "Etcd"
  etcd:
    endpoints:
      - "etcd-1:2379"
      - "etcd-2:2379"
    key_prefix: "/oaas/pm"
    username: "oaas-pm"
    password: "${ETCD_PASSWORD}"
    timeout: 30
    tls:
      ca_cert: "/etc/ssl/etcd/ca.pem"
      client_cert: "/etc/ssl/etcd/client.pem"
      client_key: "/etc/ssl/etcd/client-key.pem"
      insecure: false

crm:
  default_cluster: "production-east"
  health_check_interval: 30
  clusters:
    production-east:
      cluster_name: "production-east"
      base_url: "http://crm-prod-east:8081"
      timeout: 30
      retry_attempts: 3
      authentication:
        auth_type: "Bearer"
        token: "${CRM_PROD_EAST_TOKEN}"
      tls:
        enabled: true
        ca_cert_path: "/etc/ssl/crm/ca.pem"
        insecure: false
    staging:
      cluster_name: "staging"
      base_url: "http://crm-staging:8081"
      timeout: 15
      retry_attempts: 2
      authentication:
        auth_type: "None"
      tls:
        enabled: false
        insecure: true
  circuit_breaker:
    failure_threshold: 5
    timeout: 60
    retry_timeout: 300

observability:
  log_level: "info"
  metrics_port: 9090
  jaeger_endpoint: "http://jaeger:14268/api/traces"
`

func TestSpecificationFile(t *testing.T) {
	t.Parallel()
	got, err := Load("spec.yaml", []byte(specification), []string{"ETCD_PASSWORD=s3cret", "CRM_PROD_EAST_TOKEN=t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Server.HTTPAddr = "0.0.0.0:8080"
	want.Server.Workers = 4
	want.Storage.Type = StorageEtcd
	want.Storage.Etcd = Etcd{
		Endpoints: []string{"etcd-1:2379", "etcd-2:2379"},
		KeyPrefix: "/oaas/pm", Username: "oaas-pm", Password: "s3cret", Timeout: 30 * time.Second,
		TLS:        TLS{CACertPath: "/etc/ssl/etcd/ca.pem", ClientCertPath: "/etc/ssl/etcd/client.pem", ClientKeyPath: "/etc/ssl/etcd/client-key.pem"},
		SessionTTL: 10 * time.Second, MaxTxnOps: 128, MaxRequestBytes: 1572864,
	}
	want.CRM.DefaultCluster = "production-east"
	want.CRM.HealthCheckInterval = 30 * time.Second
	want.CRM.Clusters = map[string]CRMCluster{
		"production-east": {
			ClusterName: "production-east", BaseURL: "http://crm-prod-east:8081", Timeout: 30 * time.Second, RetryAttempts: 3,
			Protocol: ProtocolHTTP, MaxConcurrency: 8, Weight: 100,
			Authentication: Authentication{AuthType: AuthBearer, Token: "t0ken"},
			TLS:            TLS{Enabled: true, CACertPath: "/etc/ssl/crm/ca.pem"},
		},
		"staging": {
			ClusterName: "staging", BaseURL: "http://crm-staging:8081", Timeout: 15 * time.Second, RetryAttempts: 2,
			Protocol: ProtocolHTTP, MaxConcurrency: 8, Weight: 100,
			Authentication: Authentication{AuthType: AuthNone},
			TLS:            TLS{Insecure: true},
		},
	}
	want.Observability.MetricsPort = 9090
	want.Observability.JaegerEndpoint = "http://jaeger:14268/api/traces"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantIneffective := []string{
		"server.workers", "crm.clusters.production-east.tls", "crm.clusters.staging.tls",
		"observability.metrics_port", "observability.jaeger_endpoint",
	}
	if diff := cmp.Diff(wantIneffective, got.Ineffective()); diff != "" {
		t.Errorf("ineffective (-want +got):\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		env  []string
		want func(*Config)
	}{
		"nothing":              {want: func(*Config) {}},
		"comments only":        {file: "# nothing\n", want: func(*Config) {}},
		"empty sections":       {file: "server:\ncrm:\n  clusters:\n", want: func(*Config) {}},
		"file over default":    {file: "server: {http_addr: ':1'}", want: func(c *Config) { c.Server.HTTPAddr = ":1" }},
		"host and port":        {file: "server: {host: '::1', port: 9}", want: func(c *Config) { c.Server.HTTPAddr = "[::1]:9" }},
		"port alone":           {file: "server: {port: 9}", want: func(c *Config) { c.Server.HTTPAddr = "0.0.0.0:9" }},
		"environment":          {file: "server: {port: 9}", env: []string{"SERVER_PORT=10"}, want: func(c *Config) { c.Server.HTTPAddr = "0.0.0.0:10" }},
		"host in environment":  {env: []string{"SERVER_HOST=::1"}, want: func(c *Config) { c.Server.HTTPAddr = "[::1]:8080" }},
		"our name wins":        {env: []string{"OPRC_HTTP_ADDR=:3", "SERVER_PORT=10"}, want: func(c *Config) { c.Server.HTTPAddr = ":3" }},
		"empty is unset":       {env: []string{"SERVER_PORT=", "LOG_LEVEL="}, want: func(*Config) {}},
		"join list":            {env: []string{"OPRC_JOIN=a:7946, b,"}, want: func(c *Config) { c.Cluster.Join = []string{"a:7946", "b"} }},
		"join text":            {file: "cluster: {join: '${SEEDS}'}", env: []string{"SEEDS=a,b"}, want: func(c *Config) { c.Cluster.Join = []string{"a", "b"} }},
		"number from variable": {file: "raft: {trailing_logs: '${N}'}", env: []string{"N=3"}, want: func(c *Config) { c.Raft.TrailingLogs = 3 }},
		"plain variable":       {file: "raft:\n  trailing_logs: ${N:-5}\n", want: func(c *Config) { c.Raft.TrailingLogs = 5 }},
		"duration":             {file: "server: {shutdown_timeout: 1m30s}", want: func(c *Config) { c.Server.ShutdownTimeout = 90 * time.Second }},
		"seconds":              {file: "server: {shutdown_timeout: 2.5}", want: func(c *Config) { c.Server.ShutdownTimeout = 2500 * time.Millisecond }},
		"level":                {env: []string{"LOG_LEVEL=WARNING", "LOG_FORMAT=plain"}, want: func(c *Config) { c.Observability.LogLevel = "warn" }},
		"rust log":             {env: []string{"RUST_LOG=hyper=info,debug"}, want: func(c *Config) { c.Observability.LogLevel = "debug" }},
		"rust log of modules":  {env: []string{"RUST_LOG=hyper=trace"}, want: func(*Config) {}},
		"level over rust log":  {env: []string{"RUST_LOG=debug", "LOG_LEVEL=error"}, want: func(c *Config) { c.Observability.LogLevel = "error" }},
		"storage and cascade": {env: []string{"STORAGE_TYPE=Memory", "PACKAGE_DELETE_CASCADE=yes"}, want: func(c *Config) {
			c.Storage.Type, c.Packages.DeleteCascade = StorageMemory, true
		}},
		"numeric secret": {file: "storage: {etcd: {password: 0123}}", want: func(c *Config) { c.Storage.Etcd.Password = "0123" }},
		"anchors":        {file: "x: &x {base_url: 'http://a'}\n", want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Load("file", []byte(test.file), test.env)
			if test.want == nil {
				if err == nil {
					t.Fatal("was accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := DefaultConfig()
			test.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClustersFromTheEnvironment(t *testing.T) {
	t.Parallel()
	cluster := func(url string, change func(*CRMCluster)) CRMCluster {
		c := DefaultCRMCluster()
		c.BaseURL = url
		if change != nil {
			change(&c)
		}
		return c
	}
	const file = "crm: {clusters: {edge-1: {base_url: 'http://file', timeout: 5}}}"
	bearer := Authentication{AuthType: AuthBearer, Token: "t"}
	for name, test := range map[string]struct {
		file string
		env  []string
		want map[string]CRMCluster
	}{
		"file": {file: file, want: map[string]CRMCluster{"edge-1": cluster("http://file", func(c *CRMCluster) { c.Timeout = 5 * time.Second })}},
		"other spelling": {file: "crm: {clusters: {edge-1: {url: 'http://file'}}}",
			want: map[string]CRMCluster{"edge-1": cluster("http://file", nil)}},
		"merged anchor": {file: "crm:\n  clusters:\n    a: &a {base_url: 'http://a', retry_attempts: 0}\n    b:\n      <<: *a\n      base_url: http://b\n",
			want: map[string]CRMCluster{
				"a": cluster("http://a", func(c *CRMCluster) { c.RetryAttempts = 0 }),
				"b": cluster("http://b", func(c *CRMCluster) { c.RetryAttempts = 0 }),
			}},
		"json object": {file: file, env: []string{`CRM_CLUSTERS_JSON={"edge-1":{"url":"http://crm-1:8088","retry_attempts":5}}`},
			want: map[string]CRMCluster{"edge-1": cluster("http://crm-1:8088", func(c *CRMCluster) { c.RetryAttempts = 5 })}},
		"json array": {env: []string{`CRM_CLUSTERS_JSON=[{"name":"a","url":"http://a","timeout":7,"api_key":"t","more":1}]`},
			want: map[string]CRMCluster{"a": cluster("http://a", func(c *CRMCluster) { c.Timeout, c.Authentication = 7*time.Second, bearer })}},
		"json over names": {env: []string{`CRM_CLUSTERS_JSON={"a":{"url":"http://a"}}`, "CRM_CLUSTERS=b", "CRM_CLUSTER_B_URL=http://b"},
			want: map[string]CRMCluster{"a": cluster("http://a", nil)}},
		"names": {file: file, env: []string{"CRM_CLUSTERS=a, b-c", "CRM_CLUSTER_A_URL=http://a", "CRM_CLUSTER_B_C_URL=http://bc", "CRM_CLUSTER_B_C_TIMEOUT=3",
			"CRM_CLUSTER_B_C_RETRY_ATTEMPTS=9", "CRM_CLUSTER_B_C_API_KEY=t", "CRM_CLUSTER_A_TLS_ENABLED=on"},
			want: map[string]CRMCluster{
				"a":   cluster("http://a", func(c *CRMCluster) { c.TLS.Enabled = true }),
				"b-c": cluster("http://bc", func(c *CRMCluster) { c.Timeout, c.RetryAttempts, c.Authentication = 3*time.Second, 9, bearer }),
			}},
		"default alone": {env: []string{"CRM_DEFAULT_URL=http://d", "CRM_DEFAULT_TIMEOUT=4"},
			want: map[string]CRMCluster{"default": cluster("http://d", func(c *CRMCluster) { c.Timeout = 4 * time.Second })}},
		"default is the weakest": {file: file, env: []string{"CRM_DEFAULT_URL=http://d"},
			want: map[string]CRMCluster{"edge-1": cluster("http://file", func(c *CRMCluster) { c.Timeout = 5 * time.Second })}},
		"names with everything": {env: []string{"CRM_CLUSTERS=a", "CRM_CLUSTER_A_URL=https://a", "CRM_CLUSTER_A_PROTOCOL=GRPC", "CRM_CLUSTER_A_TIMEOUT=0",
			"CRM_CLUSTER_A_MAX_CONCURRENCY=4", "CRM_CLUSTER_A_WEIGHT=50", "CRM_CLUSTER_A_CAPACITY=9", "CRM_CLUSTER_A_LABELS=zone=z1, tier=edge",
			"CRM_CLUSTER_A_ENVIRONMENTS=edge,eu", "CRM_CLUSTER_A_TLS_ENABLED=1", "CRM_CLUSTER_A_TLS_INSECURE=yes", "CRM_CLUSTER_A_TLS_CA_CERT_PATH=/ca",
			"CRM_CLUSTER_A_TLS_CLIENT_CERT_PATH=/crt", "CRM_CLUSTER_A_TLS_CLIENT_KEY_PATH=/key", "CRM_CLUSTER_A_TLS_SERVER_NAME=crm"},
			want: map[string]CRMCluster{"a": cluster("https://a", func(c *CRMCluster) {
				c.Protocol, c.MaxConcurrency, c.Weight, c.Capacity = ProtocolGRPC, 4, 50, 9
				c.Labels, c.Environments = map[string]string{"zone": "z1", "tier": "edge"}, []string{"edge", "eu"}
				c.TLS = TLS{Enabled: true, Insecure: true, CACertPath: "/ca", ClientCertPath: "/crt", ClientKeyPath: "/key", ServerName: "crm"}
			})}},
		"json with everything": {env: []string{`CRM_CLUSTERS_JSON={"a":{"url":"https://a","protocol":"gRPC","timeout":0,"max_concurrency":4,"weight":0,"capacity":9,
			"labels":{"zone":"z1"},"environments":["edge"],"tls":{"ca_cert":"/ca","client_cert":"/crt","client_key":"/key","server_name":"crm"}}}`},
			want: map[string]CRMCluster{"a": cluster("https://a", func(c *CRMCluster) {
				c.Protocol, c.MaxConcurrency, c.Weight, c.Capacity = ProtocolGRPC, 4, 0, 9
				c.Labels, c.Environments = map[string]string{"zone": "z1"}, []string{"edge"}
				c.TLS = TLS{Enabled: true, CACertPath: "/ca", ClientCertPath: "/crt", ClientKeyPath: "/key", ServerName: "crm"}
			})}},
		"file with everything": {file: `crm: {clusters: {a: {url: 'https://a', protocol: grpc, max_concurrency: 4, weight: 50, capacity: 9,
			labels: {zone: 1}, environments: 'edge,eu', tls: {server_name: crm}}}}`,
			want: map[string]CRMCluster{"a": cluster("https://a", func(c *CRMCluster) {
				c.Protocol, c.MaxConcurrency, c.Weight, c.Capacity = ProtocolGRPC, 4, 50, 9
				c.Labels, c.Environments = map[string]string{"zone": "1"}, []string{"edge", "eu"}
				c.TLS = TLS{ServerName: "crm"}
			})}},
		"abbreviated": {file: "crm: {clusters: {production-east: {url: 'http://e'}, production-west: {url: 'http://w'}, staging: {url: 'http://s'}}}",
			env: []string{"CRM_PROD_EAST_URL=https://crm-prod-east.internal:8081", "CRM_PROD_WEST_TOKEN=t", "CRM_STAGING_URL=http://env"},
			want: map[string]CRMCluster{
				"production-east": cluster("https://crm-prod-east.internal:8081", nil),
				"production-west": cluster("http://w", func(c *CRMCluster) { c.Authentication = bearer }),
				"staging":         cluster("http://env", nil),
			}},
		"written out over abbreviated": {file: "crm: {clusters: {production-east: {url: 'http://e'}}}",
			env:  []string{"CRM_PRODUCTION_EAST_URL=http://long", "CRM_PROD_EAST_URL=http://short"},
			want: map[string]CRMCluster{"production-east": cluster("http://long", nil)}},
		"no abbreviation of numbers, of few letters, of parts": {file: "crm: {clusters: {edge-10: {url: 'http://e'}, production-east: {url: 'http://p'}}}",
			env:  []string{"CRM_EDGE_1_URL=http://x", "CRM_PR_EAST_URL=http://x", "CRM_PROD_URL=http://x", "CRM_EAST_URL=http://x", "CRM__URL=http://x"},
			want: map[string]CRMCluster{"edge-10": cluster("http://e", nil), "production-east": cluster("http://p", nil)}},
		"single cluster": {file: file, env: []string{"CRM_EDGE_1_URL=http://env", "CRM_EDGE_1_TOKEN=t", "CRM_OTHER_URL=http://other"},
			want: map[string]CRMCluster{"edge-1": cluster("http://env", func(c *CRMCluster) { c.Timeout, c.Authentication = 5*time.Second, bearer })}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Load("file", []byte(test.file), test.env)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, got.CRM.Clusters); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrchestrationFromTheEnvironment(t *testing.T) {
	t.Parallel()
	got, err := Load("", nil, []string{
		"CRM_HEALTH_CHECK_INTERVAL=5", "CRM_HEALTH_CACHE_TTL=15", "CRM_CIRCUIT_BREAKER_FAILURE_THRESHOLD=3",
		"CRM_CIRCUIT_BREAKER_TIMEOUT=20", "CRM_CIRCUIT_BREAKER_RETRY_TIMEOUT=40", "CRM_SECRETS_DIR=/secrets",
		"DEPLOY_ROLLBACK_ON_PARTIAL=true", "DEPLOY_MAX_RETRIES=2", "CRM_DEFAULT_CLUSTER=later", "CRM_LATER_1_TOKEN=t", "CRM_LATER_1_URL=http://x",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	want := DefaultCRM()
	want.HealthCheckInterval, want.HealthCacheTTL = 5*time.Second, 15*time.Second
	want.CircuitBreaker = Breaker{FailureThreshold: 3, Timeout: 20 * time.Second, RetryTimeout: 40 * time.Second}
	want.SecretsDir, want.DefaultCluster = "/secrets", "later"
	want.Deploy = Deploy{RollbackOnPartial: true, MaxRetries: 2}
	want.Tokens = map[string]Secret{"LATER_1": "t"}
	if diff := cmp.Diff(want, got.CRM); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"crm.health_cache_ttl", "crm.deploy.max_retries"}, got.Ineffective()); diff != "" {
		t.Errorf("ineffective (-want +got):\n%s", diff)
	}
}

func TestSecretsMayBeInTheFolder(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]Authentication{
		"bearer": {AuthType: AuthBearer}, "basic": {AuthType: AuthBasic, Username: "u"}, "certificate": {AuthType: AuthCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			withCluster(func(c *CRMCluster) { c.BaseURL, c.Authentication = "https://crm", auth })(&c)
			if err := c.Validate(); err == nil {
				t.Error("without a folder: was accepted")
			}
			c.CRM.SecretsDir = "/secrets"
			if err := c.Validate(); err != nil {
				t.Errorf("with a folder: got %v, want it accepted", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		env  []string
		want []string
	}{
		"unknown key":       {file: "server:\n  prot: 1\n", want: []string{"file: line 2: server.prot: unknown key, did you mean port?"}},
		"unknown section":   {file: "sever: {}", want: []string{"file: line 1: sever: unknown key, did you mean server?"}},
		"all at once":       {file: "raft:\n  log_stroe: wal\nserver:\n  workers: many\n", want: []string{"line 2: raft.log_stroe: unknown key, did you mean log_store?", `line 4: server.workers: "many" is not a valid number`}},
		"deep":              {file: "crm:\n  clusters:\n    a:\n      base_url: http://a\n      tls:\n        enabeld: true\n", want: []string{"line 6: crm.clusters.a.tls.enabeld: unknown key, did you mean enabled?"}},
		"not a section":     {file: "server: 8080", want: []string{"line 1: server: wants a section"}},
		"not a list":        {file: "cluster: {join: {a: b}}", want: []string{"cluster.join: wants a list"}},
		"not a value":       {file: "cluster: {data_dir: [a]}", want: []string{"cluster.data_dir: wants a single value"}},
		"not a map":         {file: "crm: {clusters: [a]}", want: []string{"crm.clusters: wants a section"}},
		"duration":          {file: "server: {shutdown_timeout: soon}", want: []string{`server.shutdown_timeout: "soon" is not a duration`}},
		"truth":             {file: "packages: {delete_cascade: maybe}", want: []string{"packages.delete_cascade", "truth value"}},
		"both spellings":    {file: "storage: {type: raft, storage_type: Memory}", want: []string{"storage.storage_type: is another spelling of type"}},
		"both addresses":    {file: "server: {http_addr: ':1', port: 2}", want: []string{"give http_addr, or host and port, not both"}},
		"port":              {file: "server: {port: 65536}", want: []string{`server.port: "65536" is not a port`}},
		"twice":             {file: "server: {}\nserver: {}\n", want: []string{"file: line 2", `"server" already defined`}},
		"syntax":            {file: "server: [", want: []string{"file: line 1"}},
		"two documents":     {file: "server: {}\n---\nserver: {}\n", want: []string{"more than one YAML document"}},
		"unset variable":    {file: "cluster:\n  data_dir: ${NOWHERE}\n", want: []string{"file: line 2: environment variable NOWHERE is not set (write ${NOWHERE:-} to allow that)"}},
		"bad reference":     {file: "cluster: {data_dir: '${A B}'}", want: []string{`"A B" is not the name of an environment variable`}},
		"open reference":    {file: "cluster: {data_dir: '${A'}", want: []string{"has no closing brace"}},
		"env number":        {env: []string{"OPRC_BOOTSTRAP_EXPECT=three", "SERVER_PORT=http"}, want: []string{`OPRC_BOOTSTRAP_EXPECT: "three" is not a valid number`, `SERVER_PORT: "http" is not a port`}},
		"file and env":      {file: "x: 1", env: []string{"ETCD_TIMEOUT=x"}, want: []string{"file: line 1: x: unknown key", "ETCD_TIMEOUT: "}},
		"json":              {env: []string{"CRM_CLUSTERS_JSON=edge"}, want: []string{"CRM_CLUSTERS_JSON: is neither a JSON object nor a JSON array"}},
		"json without url":  {env: []string{`CRM_CLUSTERS_JSON={"a":{}}`}, want: []string{`CRM_CLUSTERS_JSON: cluster "a": url is missing`}},
		"json without name": {env: []string{`CRM_CLUSTERS_JSON=[{"url":"http://a"}]`}, want: []string{"a cluster has no name"}},
		"json twice":        {env: []string{`CRM_CLUSTERS_JSON={"a":{"url":"http://a"},"a":{"url":"http://b"}}`}, want: []string{`cluster "a" is named twice`}},
		"json cut off":      {env: []string{`CRM_CLUSTERS_JSON={"a":{"url":"http://a"}`}, want: []string{"is not valid JSON"}},
		"json with more":    {env: []string{`CRM_CLUSTERS_JSON={}{}`}, want: []string{"there is more after the object"}},
		"no url":            {env: []string{"CRM_CLUSTERS=a"}, want: []string{"CRM_CLUSTER_A_URL: is not set"}},
		"no names":          {env: []string{"CRM_CLUSTERS=,"}, want: []string{"names no cluster"}},
		"ambiguous":         {file: "crm: {clusters: {product-a: {url: 'http://a'}, production-a: {url: 'http://b'}}}", env: []string{"CRM_PROD_A_URL=http://x"}, want: []string{"CRM_PROD_A_URL: may mean product-a or production-a; write the name out"}},
		"labels":            {env: []string{"CRM_CLUSTERS=a", "CRM_CLUSTER_A_URL=http://a", "CRM_CLUSTER_A_LABELS=zone"}, want: []string{`CRM_CLUSTER_A_LABELS: "zone" is not NAME=VALUE`}},
		"share":             {file: "crm: {planning: {availability: lots}}", want: []string{`crm.planning.availability: "lots" is not a valid number`}},
		"not a number":      {file: "crm: {planning: {availability: .nan}}", want: []string{`crm.planning.availability: ".nan" is not a valid number`}},
		"hidden key":        {file: "crm: {'-': {A: b}}", want: []string{"crm.-: unknown key"}},
		"same suffix":       {env: []string{"CRM_CLUSTERS=a-b,a_b", "CRM_CLUSTER_A_B_URL=http://x"}, want: []string{"a-b and a_b would both be configured by CRM_CLUSTER_A_B_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load("file", []byte(test.file), test.env)
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for key, change := range map[string]func(*Config){
		"server.http_addr":                               func(c *Config) { c.Server.HTTPAddr = "8080" },
		"server.workers":                                 func(c *Config) { c.Server.Workers = -1 },
		"server.shutdown_timeout":                        func(c *Config) { c.Server.ShutdownTimeout = 0 },
		"server.max_body_bytes":                          func(c *Config) { c.Server.MaxBodyBytes = 0 },
		"server.max_header_bytes":                        func(c *Config) { c.Server.MaxHeaderBytes = 10 },
		"server.read_timeout":                            func(c *Config) { c.Server.ReadTimeout = 0 },
		"server.write_timeout":                           func(c *Config) { c.Server.WriteTimeout = 0 },
		"server.idle_timeout":                            func(c *Config) { c.Server.IdleTimeout = -1 },
		"server.request_timeout":                         func(c *Config) { c.Server.RequestTimeout = 0 },
		"server.max_conns":                               func(c *Config) { c.Server.MaxConns = 0 },
		"server.max_conns_per_ip":                        func(c *Config) { c.Server.MaxConnsPerIP = -1 },
		"server.max_in_flight":                           func(c *Config) { c.Server.MaxInFlight = 1 },
		"server.max_watchers":                            func(c *Config) { c.Server.MaxWatchers = 0 },
		"cluster.node_name":                              func(c *Config) { c.Cluster.NodeName = "a b" },
		"cluster.data_dir":                               func(c *Config) { c.Cluster.DataDir = "" },
		"cluster.cluster_addr":                           func(c *Config) { c.Cluster.ClusterAddr = "host:port" },
		"cluster.gossip_addr":                            func(c *Config) { c.Cluster.GossipAddr = "" },
		"cluster.advertise_host":                         func(c *Config) { c.Cluster.AdvertiseHost = "a/b" },
		"cluster.join[1]":                                func(c *Config) { c.Cluster.Join = []string{"a", "b c"} },
		"cluster.bootstrap_expect":                       func(c *Config) { c.Cluster.BootstrapExpect = 0 },
		"cluster.join":                                   func(c *Config) { c.Storage.Type, c.Cluster.Join = StorageMemory, []string{"a"} },
		"raft.log_store":                                 func(c *Config) { c.Raft.LogStore = "leveldb" },
		"storage.type":                                   func(c *Config) { c.Storage.Type = "mysql" },
		"storage.etcd.endpoints":                         func(c *Config) { c.Storage.Type, c.Storage.Etcd.Endpoints = StorageEtcd, nil },
		"storage.etcd.password":                          func(c *Config) { c.Storage.Type, c.Storage.Etcd.Username = StorageEtcd, "u" },
		"storage.etcd.timeout":                           func(c *Config) { c.Storage.Type, c.Storage.Etcd.Timeout = StorageEtcd, -1 },
		"storage.etcd.key_prefix":                        func(c *Config) { c.Storage.Type, c.Storage.Etcd.KeyPrefix = StorageEtcd, "/" },
		"storage.etcd.session_ttl":                       func(c *Config) { c.Storage.Type, c.Storage.Etcd.SessionTTL = StorageEtcd, 1500*time.Millisecond },
		"storage.etcd.max_txn_ops":                       func(c *Config) { c.Storage.Type, c.Storage.Etcd.MaxTxnOps = StorageEtcd, 7 },
		"storage.etcd.max_request_bytes":                 func(c *Config) { c.Storage.Type, c.Storage.Etcd.MaxRequestBytes = StorageEtcd, 1024 },
		"storage.etcd.tls.client_key_path":               func(c *Config) { c.Storage.Type, c.Storage.Etcd.TLS.ClientCertPath = StorageEtcd, "c.pem" },
		"crm.default_cluster":                            func(c *Config) { withCluster(func(*CRMCluster) {})(c); c.CRM.DefaultCluster = "x" },
		"crm.health_cache_ttl":                           func(c *Config) { c.CRM.HealthCacheTTL = -1 },
		"crm.planning.availability":                      func(c *Config) { c.CRM.Planning.Availability = 1 },
		"crm.planning.cluster_availability":              func(c *Config) { c.CRM.Planning.ClusterAvailability = 0 },
		"crm.planning.max_clusters":                      func(c *Config) { c.CRM.Planning.MaxClusters = 0 },
		"crm.planning.replica_throughput":                func(c *Config) { c.CRM.Planning.ReplicaThroughput = 0 },
		"crm.failover.toleration":                        func(c *Config) { c.CRM.Failover.Toleration = -1 },
		"crm.failover.max_evictions_per_minute":          func(c *Config) { c.CRM.Failover.MaxEvictionsPerMinute = 0 },
		"crm.failover.recovery":                          func(c *Config) { c.CRM.Failover.Recovery = -1 },
		"crm.drift.interval":                             func(c *Config) { c.CRM.Drift.Interval = 0 },
		"crm.drift.orphan_policy":                        func(c *Config) { c.CRM.Drift.OrphanPolicy = "shoot" },
		"crm.drift.orphan_grace":                         func(c *Config) { c.CRM.Drift.OrphanGrace = -1 },
		"crm.deploy.max_retries":                         func(c *Config) { c.CRM.Deploy.MaxRetries = -1 },
		"crm.clusters.a.protocol":                        withCluster(func(c *CRMCluster) { c.Protocol = "smtp" }),
		"crm.clusters.a.base_url: must hold no path":     withCluster(func(c *CRMCluster) { c.Protocol, c.BaseURL = ProtocolGRPC, "http://crm/x" }),
		"crm.clusters.a.max_concurrency":                 withCluster(func(c *CRMCluster) { c.MaxConcurrency = 0 }),
		"crm.clusters.a.weight":                          withCluster(func(c *CRMCluster) { c.Weight = -1 }),
		"crm.clusters.a.capacity":                        withCluster(func(c *CRMCluster) { c.Capacity = -1 }),
		"crm.clusters.a.environments":                    withCluster(func(c *CRMCluster) { c.Environments = []string{"a b"} }),
		"crm.clusters.a.labels":                          withCluster(func(c *CRMCluster) { c.Labels = map[string]string{"": "x"} }),
		"crm.clusters.a.base_url: must begin with https": withCluster(func(c *CRMCluster) { c.Authentication.AuthType = AuthCertificate }),
		"crm.health_check_interval":                      func(c *Config) { c.CRM.HealthCheckInterval = 0 },
		"crm.circuit_breaker.timeout":                    func(c *Config) { c.CRM.CircuitBreaker.Timeout = 0 },
		"crm.circuit_breaker.retry_timeout":              func(c *Config) { c.CRM.CircuitBreaker.RetryTimeout = 1 },
		"crm.clusters.a.base_url: names no":              withCluster(func(c *CRMCluster) { c.BaseURL = "http://:80" }),
		"crm.clusters.a.base_url: must begin":            withCluster(func(c *CRMCluster) { c.BaseURL = "crm:8088" }),
		"crm.clusters.a.base_url: must not":              withCluster(func(c *CRMCluster) { c.BaseURL = "http://u:p@crm" }),
		"crm.clusters.a.base_url: must hold":             withCluster(func(c *CRMCluster) { c.BaseURL = "http://crm?x" }),
		"crm.clusters.a.base_url: must be":               withCluster(func(c *CRMCluster) { c.BaseURL = "" }),
		"crm.clusters.a.timeout":                         withCluster(func(c *CRMCluster) { c.Timeout = 0 }),
		"crm.clusters.a.retry_attempts":                  withCluster(func(c *CRMCluster) { c.RetryAttempts = -1 }),
		"crm.clusters.a.tls":                             withCluster(func(c *CRMCluster) { c.TLS.ClientKeyPath = "x" }),
		"crm.clusters.a.authentication.token":            withCluster(func(c *CRMCluster) { c.Authentication.AuthType = AuthBearer }),
		"crm.clusters.a.authentication: user":            withCluster(func(c *CRMCluster) { c.Authentication.AuthType = AuthBasic }),
		"crm.clusters.a.authentication.auth_type":        withCluster(func(c *CRMCluster) { c.Authentication.AuthType = "magic" }),
		"crm.clusters.a.authentication.certificate_path": withCluster(func(c *CRMCluster) { c.Authentication.AuthType = AuthCertificate }),
		"crm.clusters.a b":                               func(c *Config) { c.CRM.Clusters = map[string]CRMCluster{"a b": DefaultCRMCluster()} },
		"crm.circuit_breaker.failure_threshold":          func(c *Config) { c.CRM.CircuitBreaker.FailureThreshold = 0 },
		"observability.log_level":                        func(c *Config) { c.Observability.LogLevel = "loud" },
		"observability.log_format":                       func(c *Config) { c.Observability.LogFormat = "xml" },
		"observability.metrics_port":                     func(c *Config) { c.Observability.MetricsPort = 70000 },
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			change(&c)
			err := c.Validate()
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), key) {
				t.Errorf("got %q, want it to name %q", err, key)
			}
			if strings.Contains(err.Error(), "u:p") {
				t.Errorf("the error shows a password: %q", err)
			}
		})
	}
}

func withCluster(change func(*CRMCluster)) func(*Config) {
	return func(c *Config) {
		cluster := DefaultCRMCluster()
		cluster.BaseURL = "http://crm"
		change(&cluster)
		c.CRM.Clusters = map[string]CRMCluster{"a": cluster}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const canary = "canary-7391"
	c := DefaultConfig()
	c.Storage.Etcd.Password = canary
	c.CRM.Clusters = map[string]CRMCluster{"a": {Authentication: Authentication{Token: canary, Password: canary}}}

	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "token", Secret(canary))
	asYAML, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"log": log.String(), "yaml": string(asYAML), "json": string(asJSON),
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c),
		"%s": fmt.Sprintf("%s", Secret(canary)), "%q": fmt.Sprintf("%q", Secret(canary)), "%x": fmt.Sprintf("%x", Secret(canary)),
	} {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if !strings.Contains(string(asYAML), mask) {
		t.Errorf("yaml does not show that a secret is set:\n%s", asYAML)
	}
	if got, want := Secret(canary).Reveal(), canary; got != want {
		t.Errorf("Reveal: got %q, want %q", got, want)
	}
}

// What --print-config prints can be used as a file.
func TestYAMLIsReadBack(t *testing.T) {
	t.Parallel()
	want, err := Load("file", []byte(specification), []string{"ETCD_PASSWORD=", "CRM_PROD_EAST_TOKEN="})
	if err != nil {
		t.Fatal(err)
	}
	data, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load("printed", data, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	lookup := lookupIn([]string{"A=1", "EMPTY=", "B_2=x=y"})
	for text, want := range map[string]string{
		"":               "",
		"plain":          "plain",
		"$A":             "$A",
		"${A}":           "1",
		"<${A}${B_2}>":   "<1x=y>",
		"${EMPTY}":       "",
		"${EMPTY:-d}":    "d",
		"${NONE:-}":      "",
		"${NONE:-a:-b}":  "a:-b",
		"$${A}":          "${A}",
		"${A} and $${A}": "1 and ${A}",
	} {
		got, err := expand(text, lookup)
		if err != nil {
			t.Errorf("expand(%q): %v", text, err)
		}
		if got != want {
			t.Errorf("expand(%q): got %q, want %q", text, got, want)
		}
	}
}

// A variable's content must not become structure.
func TestExpansionCannotInjectYAML(t *testing.T) {
	t.Parallel()
	got, err := Load("file", []byte("cluster:\n  node_name: ${NAME}\n"), []string{"NAME=a\nserver: {workers: 9}"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Server.Workers != 0 || got.Cluster.NodeName != "a\nserver: {workers: 9}" {
		t.Errorf("got workers %d, node name %q", got.Server.Workers, got.Cluster.NodeName)
	}
	if err := got.Validate(); err == nil {
		t.Error("a node name of two lines was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(specification))
	f.Add([]byte("crm: {clusters: {a: &a {<<: *a}}}"))
	f.Add([]byte("cluster: {join: '${A:-b,c}'}\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := DefaultConfig()
		if err := c.Decode(data, lookupIn([]string{"A=1"})); err != nil {
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		var again yaml.Node
		if err := yaml.Unmarshal(text, &again); err != nil {
			t.Fatalf("printed settings are not YAML: %v", err)
		}
	})
}
