package crm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/internal/testtls"
	"github.com/oprc/oprc-pm/model"
)

func TestFleetFollowsClusters(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	fleet := newTestFleet(t, DefaultConfig(), set)
	if got := fleet.Names(); len(got) != 0 {
		t.Fatalf("before Sync: got %v, want none", got)
	}
	if client, known := fleet.Client(""); known || client != nil {
		t.Fatalf("before Sync: got %v, want no default", client)
	}
	baseURL, _ := newHealthServer(t, model.ProtocolHTTP, nil)
	grpcURL, _ := newHealthServer(t, model.ProtocolGRPC, nil)
	a := model.Cluster{Meta: model.Meta{ResourceVersion: 1}, Name: "a", BaseURL: baseURL, Protocol: model.ProtocolHTTP}
	b := model.Cluster{Meta: model.Meta{ResourceVersion: 2}, Name: "b", BaseURL: grpcURL, Protocol: model.ProtocolGRPC, MaxConcurrency: pointer(uint32(3))}
	sync := func(clusters ...model.Cluster) {
		t.Helper()
		if err := fleet.Sync(clusters); err != nil {
			t.Fatal(err)
		}
	}
	client := func(name string) Client {
		t.Helper()
		client, known := fleet.Client(name)
		if !known {
			t.Fatalf("cluster %s: got none", name)
		}
		return client
	}
	sync(b, a)
	if diff := cmp.Diff([]string{"a", "b"}, fleet.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	succeed(t, client("a"))
	succeed(t, client("b"))
	if _, isGRPC := client("b").(*GRPCClient); !isGRPC {
		t.Errorf("b: got %T, want *GRPCClient", client("b"))
	}
	if got := []int{fleet.Concurrency("a"), fleet.Concurrency("b"), fleet.Concurrency("c")}; !cmp.Equal(got, []int{8, 3, 0}) {
		t.Errorf("concurrency: got %v, want [8 3 0]", got)
	}

	first := client("a")
	sync(a, b)
	a.ResourceVersion, a.Cordoned, a.Labels = 3, true, map[string]string{"zone": "z"} // nothing that a client is made of
	sync(a, b)
	if client("a") != first {
		t.Error("a change of labels: got another client, want the same")
	}
	a.ResourceVersion, a.Timeout = 4, pointer(model.Duration("7s"))
	sync(a, b)
	if client("a") == first {
		t.Error("a change of the timeout: got the same client, want another")
	}
	succeed(t, client("a"))

	sync(b)
	if diff := cmp.Diff([]string{"b"}, fleet.Names()); diff != "" {
		t.Errorf("names after a went (-want +got):\n%s", diff)
	}
	var text strings.Builder
	set.WritePrometheus(&text)
	if strings.Contains(text.String(), `cluster="a"`) {
		t.Errorf("got series of a cluster that is gone:\n%s", text.String())
	}
	contains(t, text.String(), `oprc_crm_calls_total{cluster="b",call="health",class="ok"} 1`)
	fleet.Close()
	fleet.Close()
	if err := fleet.Sync([]model.Cluster{a}); err != nil || len(fleet.Names()) != 0 {
		t.Errorf("after Close: got %v, %v, want an empty fleet", fleet.Names(), err)
	}
}

func TestFleetDefaultCluster(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configured string
		clusters   []string
		want       string
	}{
		"the configured one":       {"b", []string{"a", "b", "default"}, "b"},
		"the one named default":    {"gone", []string{"a", "default"}, "default"},
		"the first":                {"", []string{"c", "b"}, "b"},
		"none where there is none": {"a", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.DefaultCluster = test.configured
			fleet := newTestFleet(t, cfg, metrics.NewSet())
			var clusters []model.Cluster
			for _, cluster := range test.clusters {
				clusters = append(clusters, model.Cluster{Name: cluster, BaseURL: "http://" + cluster})
			}
			if err := fleet.Sync(clusters); err != nil {
				t.Fatal(err)
			}
			client, known := fleet.Client("")
			if !known {
				if test.want != "" {
					t.Errorf("got none, want %s", test.want)
				}
				return
			}
			if got := client.(*HTTPClient).cfg.Name; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// What is wrong with one cluster is that cluster's matter.
func TestFleetWithAClusterThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	fleet, err := NewFleet(DefaultConfig(), metrics.NewSet(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	baseURL, _ := newHealthServer(t, model.ProtocolHTTP, nil)
	clusters := []model.Cluster{
		{Name: "good", BaseURL: baseURL},
		{Name: "path", BaseURL: "http://crm/x", Protocol: model.ProtocolGRPC},
		{Name: "words", BaseURL: "http://crm", Protocol: "smtp"},
		{Name: "plain", BaseURL: "http://crm", Auth: &model.ClusterAuth{Type: model.ClusterAuthCertificate}},
		{Name: "../up", BaseURL: "http://crm"},
		{Name: "nowhere"},
	}
	err = fleet.Sync(clusters)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, cluster := range clusters[1:] {
		contains(t, err.Error(), fmt.Sprintf("cluster %q", cluster.Name))
		client, known := fleet.Client(cluster.Name)
		if !known {
			t.Errorf("%s: got no client", cluster.Name)
			continue
		}
		for call, err := range callAll(t.Context(), client) {
			var failed *CallError
			if !errors.As(err, &failed) || failed.Class != ClassTerminal || !failed.NotSent || failed.Call != call || failed.Cluster != cluster.Name || MayArrive(err) {
				t.Errorf("%s of %s: got %+v, want terminal, not sent", call, cluster.Name, failed)
			}
		}
	}
	good, _ := fleet.Client("good")
	succeed(t, good)

	before := log.String()
	if err := fleet.Sync(clusters); err == nil {
		t.Error("again: got no error")
	}
	if log.String() != before {
		t.Errorf("again: got more in the log, want it said once:\n%s", log.String())
	}
	clusters[1].BaseURL = "http://crm"
	clusters[1].Protocol = model.ProtocolHTTP
	_ = fleet.Sync(clusters)
	repaired, _ := fleet.Client("path")
	if _, isHTTP := repaired.(*HTTPClient); !isHTTP {
		t.Errorf("repaired: got %T, want *HTTPClient", repaired)
	}
}

// callAll makes every call.
func callAll(ctx context.Context, client Client) map[string]error {
	errs := map[string]error{CallDelete: client.Delete(ctx, Origin{}, "u1")}
	_, errs[CallHealth] = client.Health(ctx)
	_, errs[CallDeploy] = client.Deploy(ctx, Origin{}, testUnit("u1"))
	_, errs[CallStatus] = client.Status(ctx, Origin{}, "u1")
	_, errs[CallRecord] = client.Record(ctx, Origin{}, "u1")
	_, errs[CallRecords] = client.Records(ctx, Origin{}, RecordFilter{})
	_, errs[CallTopology] = client.Topology(ctx)
	return errs
}

func TestResolve(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.SecretsDir = "/secrets"
	cfg.Tokens = map[string]Secret{"EDGE_1": "env"}
	cfg.Clusters["edge-1"] = DefaultClusterConfig("edge-1", "https://crm.example")
	with := func(change func(*ClusterConfig)) Config {
		copied := cfg
		local := cfg.Clusters["edge-1"]
		change(&local)
		copied.Clusters = map[string]ClusterConfig{"edge-1": local}
		return copied
	}
	document := func(change func(*model.Cluster)) model.Cluster {
		cluster := model.Cluster{Name: "edge-1", BaseURL: "https://crm.example", Protocol: model.ProtocolGRPC}
		if change != nil {
			change(&cluster)
		}
		return cluster
	}
	want := func(change func(*ClusterConfig)) ClusterConfig {
		expected := DefaultClusterConfig("edge-1", "https://crm.example")
		expected.Protocol, expected.SecretsDir, expected.FallbackToken = model.ProtocolGRPC, "/secrets/edge-1", "env"
		if change != nil {
			change(&expected)
		}
		return expected
	}
	token := AuthConfig{Type: AuthBearer, Token: "local"}
	for name, test := range map[string]struct {
		cfg     Config
		cluster model.Cluster
		want    ClusterConfig
		err     error
	}{
		"nothing said": {cfg, document(nil), want(nil), nil},
		"limits of the document": {cfg, document(func(c *model.Cluster) {
			c.Timeout, c.RetryAttempts, c.MaxConcurrency = pointer(model.Duration("7s")), pointer(uint32(1)), pointer(uint32(2))
		}), want(func(c *ClusterConfig) { c.Timeout, c.RetryAttempts, c.MaxConcurrency = 7*time.Second, 1, 2 }), nil},
		"limits of the node": {with(func(c *ClusterConfig) { c.Timeout, c.MaxResponseBytes = time.Second, 99 }), document(nil),
			want(func(c *ClusterConfig) { c.Timeout, c.MaxResponseBytes = time.Second, 99 }), nil},
		"credentials of the node": {with(func(c *ClusterConfig) { c.Auth = token }), document(func(c *model.Cluster) { c.Auth = &model.ClusterAuth{Type: "basic", Username: "u"} }),
			want(func(c *ClusterConfig) { c.Auth = token }), nil},
		"credentials of the document": {cfg, document(func(c *model.Cluster) { c.Auth = &model.ClusterAuth{Type: "basic", Username: "u"} }),
			want(func(c *ClusterConfig) { c.Auth = AuthConfig{Type: AuthBasic, Username: "u"} }), nil},
		"trust of the node": {with(func(c *ClusterConfig) { c.TLS.CAFile = "/ca" }), document(func(c *model.Cluster) { c.TLS = &model.ClusterTLS{Insecure: true} }),
			want(func(c *ClusterConfig) { c.TLS.CAFile = "/ca" }), nil},
		"trust of the document": {cfg, document(func(c *model.Cluster) { c.TLS = &model.ClusterTLS{CAPEM: "x", ServerName: "y", Insecure: true} }),
			want(func(c *ClusterConfig) { c.TLS = TLSConfig{CAPEM: "x", ServerName: "y", Insecure: true} }), nil},
		"another path and port are the same server": {with(func(c *ClusterConfig) { c.Auth = token }), document(func(c *model.Cluster) { c.BaseURL = "https://CRM.example:443/x"; c.Protocol = "http" }),
			want(func(c *ClusterConfig) { c.Auth, c.BaseURL, c.Protocol = token, "https://CRM.example:443/x", "http" }), nil},
		"another server gets no credentials": {with(func(c *ClusterConfig) { c.Auth = token }), document(func(c *model.Cluster) { c.BaseURL = "https://evil.example" }), ClusterConfig{}, errOtherServer},
		"another scheme gets no credentials": {with(func(c *ClusterConfig) { c.Auth = token }), document(func(c *model.Cluster) { c.BaseURL = "http://crm.example:443" }), ClusterConfig{}, errOtherServer},
		"another server gets nothing from files and environment": {cfg, document(func(c *model.Cluster) { c.BaseURL = "https://moved.example" }),
			want(func(c *ClusterConfig) { c.BaseURL, c.SecretsDir, c.FallbackToken = "https://moved.example", "", "" }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.cfg.resolve(test.cluster)
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); test.err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the leader registers makes the same client on a node without the
// configuration, but for secrets and files; and it passes the rules of clusters.
func TestLocalClusters(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Clusters["plain"] = DefaultClusterConfig("plain", "http://plain")
	full := DefaultClusterConfig("full", "https://full:8088/x")
	full.Timeout, full.RetryAttempts, full.MaxConcurrency = 90*time.Second, 0, 4
	full.Auth = AuthConfig{Type: AuthBasic, Username: "u", Password: "canary"}
	full.TLS = TLSConfig{CAFile: "/ca-canary", CAPEM: testtls.NewCA(t).PEM(), CertFile: "/canary", KeyFile: "/canary", ServerName: "crm", Insecure: true}
	full.SecretsDir, full.FallbackToken = "/canary", "canary"
	full.Labels, full.Environments, full.Weight, full.Capacity = map[string]string{"zone": "z"}, []string{"eu"}, pointer(uint32(50)), pointer(uint32(9))
	cfg.Clusters["full"] = full
	bearer := DefaultClusterConfig("token", "http://token")
	bearer.Auth = AuthConfig{Type: AuthBearer, Token: "canary", Username: "left over"}
	cfg.Clusters["token"] = bearer

	got := cfg.LocalClusters()
	want := []model.Cluster{
		{
			Name: "full", BaseURL: "https://full:8088/x", Protocol: model.ProtocolHTTP, Labels: full.Labels, Environments: full.Environments,
			Weight: pointer(uint32(50)), Capacity: pointer(uint32(9)), Timeout: pointer(model.Duration("1m30s")), RetryAttempts: pointer(uint32(0)), MaxConcurrency: pointer(uint32(4)),
			Auth: &model.ClusterAuth{Type: model.ClusterAuthBasic, Username: "u"}, TLS: &model.ClusterTLS{CAPEM: full.TLS.CAPEM, ServerName: "crm", Insecure: true},
			ManagedBy: model.ManagedByConfig,
		},
		{
			Name: "plain", BaseURL: "http://plain", Protocol: model.ProtocolHTTP, Timeout: pointer(model.Duration("10s")),
			RetryAttempts: pointer(uint32(3)), MaxConcurrency: pointer(uint32(8)), ManagedBy: model.ManagedByConfig,
		},
		{
			Name: "token", BaseURL: "http://token", Protocol: model.ProtocolHTTP, Timeout: pointer(model.Duration("10s")),
			RetryAttempts: pointer(uint32(3)), MaxConcurrency: pointer(uint32(8)), Auth: &model.ClusterAuth{Type: model.ClusterAuthBearer}, ManagedBy: model.ManagedByConfig,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, cluster := range got {
		if problems := cluster.Validate(); len(problems) > 0 {
			t.Errorf("%s: got %v, want it valid", cluster.Name, problems)
		}
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, "canary") {
		t.Errorf("a secret or a file's name is in what is registered: %s", text)
	}
}

// Clients are replaced and removed while they are in use; no call fails for it.
// Run with the race detector.
func TestFleetSyncWhileInUse(t *testing.T) {
	t.Parallel()
	fleet := newTestFleet(t, DefaultConfig(), metrics.NewSet())
	httpURL, _ := newHealthServer(t, model.ProtocolHTTP, nil)
	grpcURL, _ := newHealthServer(t, model.ProtocolGRPC, nil)
	clusters := func(round int) []model.Cluster {
		timeout := model.Duration(fmt.Sprintf("%ds", 10+round%2))
		all := []model.Cluster{
			{Name: "http", BaseURL: httpURL, Protocol: model.ProtocolHTTP, Timeout: &timeout},
			{Name: "grpc", BaseURL: grpcURL, Protocol: model.ProtocolGRPC, Timeout: &timeout},
			{Name: "comes and goes", BaseURL: httpURL},
		}
		return all[:2+round%2]
	}
	if err := fleet.Sync(clusters(0)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	for i := range 8 {
		name := []string{"http", "grpc"}[i%2]
		users.Go(func() {
			for ctx.Err() == nil {
				fleet.Names()
				client, known := fleet.Client(name)
				if !known || fleet.Concurrency(name) != 8 {
					t.Errorf("%s: got no client", name)
					return
				}
				_, err := client.Health(t.Context())
				var failed *CallError
				// A client that was replaced between the two lines says so, and the
				// next one answers.
				if errors.As(err, &failed) && !(failed.NotSent && failed.Class == ClassRetryable && failed.Reason == errClientClosed.Error()) {
					t.Errorf("%s: got %v", name, err)
				}
			}
		})
	}
	for round := range 50 {
		_ = fleet.Sync(clusters(round)) // "comes and goes" is no usable name
	}
	stop()
	users.Wait()
	for _, name := range []string{"http", "grpc"} {
		client, _ := fleet.Client(name)
		succeed(t, client)
	}
}

func TestRecordsPageByPage(t *testing.T) {
	t.Parallel()
	const most = 5000
	records := func(from, to int) []model.DeploymentRecord {
		var page []model.DeploymentRecord
		for i := from; i < to; i++ {
			page = append(page, model.DeploymentRecord{ID: fmt.Sprintf("u%d", i)})
		}
		return page
	}
	slice := func(all []model.DeploymentRecord, filter RecordFilter, limit int) []model.DeploymentRecord {
		from := min(filter.Offset, len(all))
		return all[from:min(from+min(filter.Limit, limit), len(all))]
	}
	for name, test := range map[string]struct {
		filter RecordFilter
		ask    func(RecordFilter) []model.DeploymentRecord
		want   int
		calls  int
	}{
		"none":                       {RecordFilter{}, func(RecordFilter) []model.DeploymentRecord { return nil }, 0, 1},
		"one page":                   {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 10), f, 1000) }, 10, 2},
		"many pages":                 {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 1200), f, 1000) }, 1200, 4},
		"exactly two":                {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 1000), f, 1000) }, 1000, 3},
		"a smaller limit of its own": {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 250), f, 100) }, 250, 4},
		"no limit and no offset":     {RecordFilter{}, func(RecordFilter) []model.DeploymentRecord { return records(0, 700) }, 700, 1},
		"no offset":                  {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return records(0, f.Limit) }, 500, 2},
		"a limit is one page":        {RecordFilter{Limit: 3}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 10), f, 1000) }, 3, 1},
		"an offset without a limit":  {RecordFilter{Offset: 4}, func(f RecordFilter) []model.DeploymentRecord { return slice(records(0, 10), f, 1000) }, 6, 2},
		"ids that cannot be used": {RecordFilter{}, func(RecordFilter) []model.DeploymentRecord {
			return []model.DeploymentRecord{{ID: "a\nb"}, {ID: ""}, {ID: "u"}}
		}, 1, 2},
		"pages without end are ended": {RecordFilter{}, func(f RecordFilter) []model.DeploymentRecord { return records(f.Offset, f.Offset+f.Limit) }, most, most / recordPage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			got, err := listRecords(test.filter, most, func(filter RecordFilter) ([]model.DeploymentRecord, error) {
				calls++
				return test.ask(filter), nil
			})
			if err != nil || got == nil || len(got) != test.want || calls != test.calls {
				t.Errorf("got %d records in %d calls, %v, want %d in %d", len(got), calls, err, test.want, test.calls)
			}
		})
	}
	failing := errors.New("no")
	if _, err := listRecords(RecordFilter{}, most, func(f RecordFilter) ([]model.DeploymentRecord, error) {
		if f.Offset > 0 {
			return nil, failing
		}
		return records(0, 5), nil
	}); !errors.Is(err, failing) {
		t.Errorf("a page that fails: got %v, want its error", err)
	}
}

// A CRM without a list says so, whatever it speaks.
func TestCRMsThatCannotList(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		baseURL := newHTTPServer(t, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"no such thing"}`)
		}))
		client := newTestClient(t, baseURL, nil)
		if _, err := client.Records(t.Context(), Origin{}, RecordFilter{}); ClassOf(err) != ClassNotSupported {
			t.Errorf("%d: got %v, want not_supported", code, err)
		}
	}
	client := newTestClient(t, "http://unused", nil)
	if _, err := client.Topology(t.Context()); ClassOf(err) != ClassNotSupported {
		t.Errorf("topology over HTTP: got %v, want not_supported", err)
	}
	recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodEnv: &crmpb.CrmEnvHealth{}})}
	overGRPC := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	if _, err := overGRPC.Records(t.Context(), Origin{}, RecordFilter{}); ClassOf(err) != ClassNotSupported {
		t.Errorf("over gRPC: got %v, want not_supported", err)
	}
}
