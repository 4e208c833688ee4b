package model_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

func validCluster() model.Cluster {
	c := model.Cluster{
		Name: "eu-1", BaseURL: "https://crm.example:8443/prefix", Protocol: model.ProtocolGRPC,
		Labels:       map[string]string{"region": "eu", "topology.kubernetes.io/zone": "eu-1a", "empty": ""},
		Environments: []string{"production", "eu"}, Weight: ptr(uint32(200)), Capacity: ptr(uint32(50)), Cordoned: true, Draining: true,
		Timeout: ptr(model.Duration("10s")), RetryAttempts: ptr(uint32(0)), MaxConcurrency: ptr(uint32(8)),
		Auth:      &model.ClusterAuth{Type: model.ClusterAuthBasic, Username: "oprc"},
		TLS:       &model.ClusterTLS{ServerName: "crm", Insecure: true},
		ManagedBy: model.ManagedByAPI,
	}
	c.SetDefaults()
	return c
}

// certificate is a certificate in PEM form, and its key.
func certificate(tb testing.TB) (certificate, key string) {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	encode := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}

func TestValidateCluster(t *testing.T) {
	t.Parallel()
	const environmentRule = "may only hold letters, digits, '_' and '-', got "
	const labelRule = "may only hold letters and digits, and '-', '_' and '.' between them, got "
	ca, key := certificate(t)
	garbage := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")}))
	url := func(text string) func(*model.Cluster) { return func(c *model.Cluster) { c.BaseURL = text } }
	label := func(key, value string) func(*model.Cluster) {
		return func(c *model.Cluster) { c.Labels = map[string]string{key: value} }
	}
	trusted := func(text string) func(*model.Cluster) {
		return func(c *model.Cluster) { c.TLS = &model.ClusterTLS{CAPEM: text} }
	}
	tests := []struct {
		name   string
		change func(*model.Cluster)
		want   []string
	}{
		{"ok", func(*model.Cluster) {}, nil},
		{"ok_minimal", func(c *model.Cluster) { *c = model.Cluster{Name: "c", BaseURL: "http://c"} }, nil},
		{"ok_certificates", trusted(ca + "\n" + ca), nil},
		{"ok_longest_name", func(c *model.Cluster) { c.Name = strings.Repeat("x", 63) }, nil},
		{"ok_longest_label", label(strings.Repeat("a.", 126)+"a/"+strings.Repeat("k", 63), strings.Repeat("v", 63)), nil},
		{"ok_ipv6", url("http://[::1]:80"), nil},
		{"ok_weight_0", func(c *model.Cluster) { c.Weight = ptr(uint32(0)) }, nil},
		{"ok_auth_empty", func(c *model.Cluster) { c.Auth = &model.ClusterAuth{} }, nil},
		{"empty", func(c *model.Cluster) { *c = model.Cluster{} }, []string{"name: is required", "base_url: is required"}},
		{"name_dot", func(c *model.Cluster) { c.Name = "a.b" }, []string{"name: " + environmentRule + `"a.b"`}},
		{"name_long", func(c *model.Cluster) { c.Name = strings.Repeat("x", 64) }, []string{"name: must be at most 63 characters, got 64"}},
		{"url_scheme", url("ftp://a"), []string{"base_url: must begin with http:// or https://"}},
		{"url_none", url("crm.example:8088"), []string{"base_url: must begin with http:// or https://"}},
		{"url_host", url("http://:80"), []string{"base_url: must name a host"}},
		{"url_password", url("http://me:hunter2@a"), []string{"base_url: must not hold credentials: they are found on each node by the cluster's name"}},
		{"url_user", url("http://me@a"), []string{"base_url: must not hold credentials: they are found on each node by the cluster's name"}},
		{"url_query", url("http://a?token=x"), []string{"base_url: must not have a query or a fragment"}},
		{"url_empty_query", url("http://a?"), []string{"base_url: must not have a query or a fragment"}},
		{"url_fragment", url("http://a#"), []string{"base_url: must not have a query or a fragment"}},
		{"url_malformed", url("http://[::1"), []string{"base_url: must be a URL such as https://crm.example:8088"}},
		{"url_control", url("http://a\n"), []string{`base_url: must not hold control characters, got "http://a\n"`}},
		{"protocol", func(c *model.Cluster) { c.Protocol = "soap" }, []string{`protocol: must be one of http, grpc, got "soap"`}},
		{"label_key_empty", label("", "x"), []string{`labels[""]: the name of the label must not be empty`}},
		{"label_key", label("-a", "x"), []string{"labels.-a: the name of the label " + labelRule + `"-a"`}},
		{"label_key_long", label(strings.Repeat("k", 64), "x"), []string{"labels." + strings.Repeat("k", 64) + `: the name of the label must be at most 63 characters, got 64`}},
		{"label_prefix", label("A/b", "x"), []string{`labels["A/b"]: the name of the label must have a DNS name before the '/', got "A/b"`}},
		{"label_prefix_empty", label("/b", "x"), []string{`labels["/b"]: the name of the label must have a DNS name before the '/', got "/b"`}},
		{"label_two_slashes", label("a/b/c", "x"), []string{`labels["a/b/c"]: the name of the label ` + labelRule + `"b/c"`}},
		{"label_value", label("a", "x y"), []string{"labels.a: " + labelRule + `"x y"`}},
		{"label_value_end", label("a", "x."), []string{"labels.a: " + labelRule + `"x."`}},
		{"labels_many", func(c *model.Cluster) {
			for _, name := range numbered(101) {
				c.Labels[name] = ""
			}
		}, []string{"labels: must not have more than 100 items, got 104"}},
		{"environment", func(c *model.Cluster) { c.Environments = []string{"a", "b c", "a"} }, []string{
			"environments[1]: " + environmentRule + `"b c"`, `environments[2]: names "a" a second time`,
		}},
		{"weight", func(c *model.Cluster) { c.Weight = ptr(uint32(10_001)) }, []string{"weight: must be between 0 and 10000, got 10001"}},
		{"capacity_0", func(c *model.Cluster) { c.Capacity = ptr(uint32(0)) }, []string{"capacity: must be between 1 and 1000000, got 0"}},
		{"capacity", func(c *model.Cluster) { c.Capacity = ptr(uint32(1_000_001)) }, []string{"capacity: must be between 1 and 1000000, got 1000001"}},
		{"timeout", func(c *model.Cluster) { c.Timeout = ptr(model.Duration("soon")) }, []string{`timeout: must be a duration such as 30s or 5m, got "soon"`}},
		{"timeout_0", func(c *model.Cluster) { c.Timeout = ptr(model.Duration("0")) }, []string{"timeout: must be more than 0, got 0"}},
		{"retries", func(c *model.Cluster) { c.RetryAttempts = ptr(uint32(101)) }, []string{"retry_attempts: must be between 0 and 100, got 101"}},
		{"concurrency", func(c *model.Cluster) { c.MaxConcurrency = ptr(uint32(0)) }, []string{"max_concurrency: must be between 1 and 10000, got 0"}},
		{"auth", func(c *model.Cluster) { c.Auth = &model.ClusterAuth{Type: "password"} }, []string{`auth.type: must be one of none, bearer, basic, certificate, got "password"`}},
		{"basic_without_user", func(c *model.Cluster) { c.Auth.Username = "" }, []string{"auth.username: is required for basic authentication"}},
		{"basic_colon", func(c *model.Cluster) { c.Auth.Username = "a:b" }, []string{"auth.username: must not hold a colon"}},
		{"basic_control", func(c *model.Cluster) { c.Auth.Username = "\n" }, []string{`auth.username: must not hold control characters, got "\n"`}},
		{"bearer_with_user", func(c *model.Cluster) { c.Auth.Type = model.ClusterAuthBearer }, []string{"auth.username: is only for basic authentication"}},
		{"ca_text", trusted("/etc/ca.pem"), []string{"tls.ca_pem: must be certificates in PEM form"}},
		{"ca_key", trusted(ca + key), []string{`tls.ca_pem: must hold certificates only, got "PRIVATE KEY"`}},
		{"ca_rest", trusted(ca + "rest"), []string{"tls.ca_pem: must hold nothing besides certificates in PEM form"}},
		{"ca_long", trusted(strings.Repeat("x", 65_537)), []string{"tls.ca_pem: must be at most 65536 bytes, got 65537"}},
		{"server_name", func(c *model.Cluster) { c.TLS.ServerName = "\t" }, []string{`tls.server_name: must not hold control characters, got "\t"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := validCluster()
			tt.change(&c)
			c.SetDefaults()
			wantEqual(t, textsOf(c.Validate()), tt.want)
		})
	}
	c := validCluster()
	trusted(garbage)(&c)
	if got := textsOf(c.Validate()); len(got) != 1 || !strings.HasPrefix(got[0], "tls.ca_pem: holds a certificate that cannot be read: ") {
		t.Errorf("damaged certificate: got %q, want one problem that says so", got)
	}
}

// TestProblemsOfAURLHoldNoSecret: they are logged and sent back.
func TestProblemsOfAURLHoldNoSecret(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://u:hunter2@a", "x://u:hunter2@a", "http://u:hunter2@", "://u:hunter2@a", "http://u:hunter2@a?b#c", "http://a?hunter2", "http://u:hunter2%zz@a"} {
		c := model.Cluster{Name: "c", BaseURL: url}
		c.SetDefaults()
		if got := strings.Join(textsOf(c.Validate()), "\n"); got == "" || strings.Contains(got, "hunter2") {
			t.Errorf("problems of %s: got %q, want some that do not repeat it", url, got)
		}
	}
}

func TestDecodeCluster(t *testing.T) {
	t.Parallel()
	const base = `"name": "c", "base_url": "http://c"`
	tests := []struct {
		name   string
		format model.Format
		body   string
		change func(*model.Cluster) // of the minimal cluster
	}{
		{"minimal", model.JSON, "{" + base + "}", func(*model.Cluster) {}},
		{"url", model.JSON, `{"name": "c", "url": "http://c"}`, func(*model.Cluster) {}},
		{"timeout_text", model.JSON, "{" + base + `, "timeout": "1m30s"}`, func(c *model.Cluster) { c.Timeout = ptr(model.Duration("1m30s")) }},
		{"timeout_seconds", model.JSON, "{" + base + `, "timeout": 30, "retry_attempts": 3}`, func(c *model.Cluster) {
			c.Timeout, c.RetryAttempts = ptr(model.Duration("30")), ptr(uint32(3))
		}},
		{"null_is_absent", model.JSON, "{" + base + `, "timeout": null, "weight": null, "auth": null, "tls": null}`, func(*model.Cluster) {}},
		{"any_case", model.JSON, "{" + base + `, "protocol": "GRPC", "authentication": {"auth_type": "Bearer"}}`, func(c *model.Cluster) {
			c.Protocol, c.Auth = model.ProtocolGRPC, &model.ClusterAuth{Type: model.ClusterAuthBearer}
		}},
		{"auth_default", model.JSON, "{" + base + `, "auth": {}}`, func(c *model.Cluster) { c.Auth = &model.ClusterAuth{Type: model.ClusterAuthNone} }},
		{
			"as_read_from_the_api", model.JSON,
			"{" + base + `, "resource_version": 7, "generation": 2, "created_at": 1, "managed_by": "config", "health": {"status": 5}, "units": -1}`, func(*model.Cluster) {},
		},
		{
			"yaml", model.YAML, "name: c\nurl: http://c\nlabels: {zone: 1, spot: true}\nenvironments: [prod]\ntimeout: 5\ncordoned: true\ntls: {insecure: true}\n",
			func(c *model.Cluster) {
				c.Labels, c.Environments = map[string]string{"zone": "1", "spot": "true"}, []string{"prod"}
				c.Timeout, c.Cordoned, c.TLS = ptr(model.Duration("5")), true, &model.ClusterTLS{Insecure: true}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, unknown, err := model.DecodeCluster([]byte(tt.body), tt.format)
			if err != nil || unknown != nil {
				t.Fatalf("got unknown %v, error %v", unknown, err)
			}
			want := model.Cluster{Name: "c", BaseURL: "http://c", Protocol: model.ProtocolHTTP}
			tt.change(&want)
			wantEqual(t, got, want)
		})
	}
}

func TestDecodeClusterProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string
	}{
		{"url_twice", `{"name":"c","base_url":"http://c","url":"http://d"}`, []string{"url: is given twice"}},
		{"timeout", `{"name":"c","url":"http://c","timeout":true}`, []string{"timeout: must be text, got a boolean"}},
		{"timeout_fraction", `{"name":"c","url":"http://c","timeout":1.5}`, []string{`timeout: must be a duration such as 30s or 5m, got "1.5"`}},
		{"timeout_negative", `{"name":"c","url":"http://c","timeout":-1}`, []string{`timeout: must be a duration such as 30s or 5m, got "-1"`}},
		{"label", `{"name":"c","url":"http://c","labels":{"a":1}}`, []string{"labels.a: must be text, got a number"}},
		{"protocol", `{"name":"c","url":"http://c","protocol":"soap"}`, []string{`protocol: must be one of http, grpc, got "soap"`}},
		{"secret", `{"name":"c","url":"http://c","auth":{"type":"bearer","token":"x"}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, unknown, err := model.DecodeCluster([]byte(tt.body), model.JSON)
			wantEqual(t, problemsOf(t, err), tt.want)
			if tt.want == nil {
				line, err := model.EncodeCluster(c)
				if err != nil || strings.Contains(string(line), "token") {
					t.Errorf("got %s, %v, want nothing of a token", line, err)
				}
				wantEqual(t, unknown, []string{"auth.token"})
			}
		})
	}
}
