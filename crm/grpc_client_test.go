package crm

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

const (
	methodDeploy   = "/oaas.deployment.DeploymentService/Deploy"
	methodStatus   = "/oaas.deployment.DeploymentService/GetDeploymentStatus"
	methodDelete   = "/oaas.deployment.DeploymentService/DeleteDeployment"
	methodList     = "/oaas.deployment.DeploymentService/ListClassRuntimes"
	methodRuntime  = "/oaas.deployment.DeploymentService/GetClassRuntime"
	methodEnv      = "/oaas.health.CrmInfoService/GetEnvHealth"
	methodCheck    = "/oaas.health.HealthService/Check"
	methodTopology = "/oaas.topology.TopologyService/GetTopology"
)

// Every call reaches the method of the contract with the message and the
// metadata of the contract.
func TestGRPCCallsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{
		methodDeploy: &crmpb.DeployResponse{DeploymentId: "cart-1"}, methodStatus: &crmpb.GetDeploymentStatusResponse{Message: proto.String("Available")},
		methodDelete: &crmpb.DeleteDeploymentResponse{}, methodList: &crmpb.ListClassRuntimesResponse{},
		methodRuntime: &crmpb.GetClassRuntimeResponse{Deployment: &crmpb.ClassRuntimeSummary{Id: "cart-1"}},
		methodEnv:     &crmpb.CrmEnvHealth{EnvName: "oaas-ns", Status: "Healthy"}, methodTopology: &crmpb.TopologySnapshot{},
	})}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), func(c *ClusterConfig) {
		c.Auth = AuthConfig{Type: AuthBearer, Token: "t0ken"}
	})
	ctx := t.Context()
	from := Origin{Term: 3, Generation: 5, CorrelationID: "c1", IdempotencyKey: "k1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	steps := []struct {
		method string
		want   proto.Message
		from   bool
		do     func() error
	}{
		{methodDeploy, &crmpb.DeployRequest{DeploymentUnit: unitToProto(fullUnit(), testNow)}, true, func() error {
			response, err := client.Deploy(ctx, from, fullUnit())
			if err == nil && (response.ID != "cart-1" || response.Status != "accepted") {
				t.Errorf("deploy: got %+v, want cart-1 accepted", response)
			}
			return err
		}},
		{methodStatus, &crmpb.GetDeploymentStatusRequest{DeploymentId: "cart-1"}, true, func() error { _, err := client.Status(ctx, from, "cart-1"); return err }},
		{methodDelete, &crmpb.DeleteDeploymentRequest{DeploymentId: "cart-1"}, true, func() error { return client.Delete(ctx, from, "cart-1") }},
		{methodRuntime, &crmpb.GetClassRuntimeRequest{DeploymentId: "cart-1"}, true, func() error { _, err := client.Record(ctx, from, "cart-1"); return err }},
		{methodList, &crmpb.ListClassRuntimesRequest{
			PackageName: proto.String("shop"), ClassKey: proto.String("Cart"), TargetEnv: proto.String("edge"), Status: proto.String("Running"),
			Limit: proto.Uint32(7), Offset: proto.Uint32(14),
		}, true, func() error {
			_, err := client.Records(ctx, from, RecordFilter{Package: "shop", Class: "Cart", Environment: "edge", Status: "Running", Limit: 7, Offset: 14})
			return err
		}},
		{methodEnv, &crmpb.CrmEnvRequest{}, false, func() error { _, err := client.Health(ctx); return err }},
		{methodTopology, &crmpb.TopologyRequest{}, false, func() error { _, err := client.Topology(ctx); return err }},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.method, err)
		}
		calls := recorder.seen()
		if len(calls) != i+1 {
			t.Fatalf("%s: got %v, want one more call", step.method, recorder.methods())
		}
		got := calls[i]
		if got.method != step.method {
			t.Errorf("got method %s, want %s", got.method, step.method)
		}
		if diff := cmp.Diff(step.want, got.request, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.method, diff)
		}
		if got.left <= 0 || got.left > patience {
			t.Errorf("%s: got %v until its deadline, want the client's timeout", step.method, got.left)
		}
		want := map[string]string{"authorization": "Bearer t0ken"}
		if step.from {
			want["x-oprc-term"], want["x-oprc-generation"], want["x-correlation-id"] = "3", "5", "c1"
			want["idempotency-key"], want["traceparent"] = "k1", from.TraceParent
		}
		if step.method == methodDeploy {
			want["x-oprc-deployment"] = "shop.cart"
		}
		for name, value := range want {
			if values := got.metadata.Get(name); len(values) != 1 || values[0] != value {
				t.Errorf("%s: metadata %s: got %q, want %q", step.method, name, values, value)
			}
		}
		if kind := got.metadata.Get("content-type"); len(kind) != 1 || kind[0] != "application/grpc" {
			t.Errorf("%s: got content type %q, want application/grpc", step.method, kind)
		}
		if agent := got.metadata.Get("user-agent"); len(agent) != 1 || !strings.HasPrefix(agent[0], "oprc-pm") {
			t.Errorf("%s: got user agent %q, want oprc-pm", step.method, agent)
		}
	}
}

// Every code of gRPC means what the contract with the dispatcher says.
func TestGRPCCodes(t *testing.T) {
	t.Parallel()
	errorInfo := func(reason string) *status.Status {
		value := protowire.AppendTag(nil, 2, protowire.BytesType)
		value = protowire.AppendString(value, "crm.example")
		value = protowire.AppendTag(value, 1, protowire.BytesType)
		value = protowire.AppendString(value, reason)
		st := status.New(codes.FailedPrecondition, "refused").Proto()
		st.Details = []*anypb.Any{{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: value}}
		return status.FromProto(st)
	}
	for name, test := range map[string]struct {
		status *status.Status
		want   Class
		http   int
	}{
		"Canceled by the CRM":         {status.New(codes.Canceled, "x"), ClassRetryable, 503},
		"Unknown":                     {status.New(codes.Unknown, "x"), ClassRetryable, 500},
		"InvalidArgument":             {status.New(codes.InvalidArgument, "x"), ClassTerminal, 400},
		"DeadlineExceeded by the CRM": {status.New(codes.DeadlineExceeded, "x"), ClassRetryable, 504},
		"NotFound":                    {status.New(codes.NotFound, "x"), ClassNotFound, 404},
		"AlreadyExists":               {status.New(codes.AlreadyExists, "x"), ClassTerminal, 409},
		"PermissionDenied":            {status.New(codes.PermissionDenied, "x"), ClassTerminal, 403},
		"ResourceExhausted":           {status.New(codes.ResourceExhausted, "x"), ClassRetryable, 429},
		"message too large for it":    {status.New(codes.ResourceExhausted, "grpc: message larger than max (5 vs. 4)"), ClassTerminal, 429},
		"FailedPrecondition":          {status.New(codes.FailedPrecondition, "x"), ClassTerminal, 412},
		"stale term in the message":   {status.New(codes.FailedPrecondition, "stale_term: 7 is newer"), ClassFenced, 412},
		"stale term in the details":   {errorInfo("STALE_TERM"), ClassFenced, 412},
		"other details":               {errorInfo("QUOTA"), ClassTerminal, 412},
		"Aborted":                     {status.New(codes.Aborted, "x"), ClassRetryable, 409},
		"stale term and Aborted":      {status.New(codes.Aborted, "stale_term"), ClassFenced, 409},
		"stale term and Internal":     {status.New(codes.Internal, "stale_term"), ClassRetryable, 500},
		"OutOfRange":                  {status.New(codes.OutOfRange, "x"), ClassTerminal, 400},
		"Unimplemented":               {status.New(codes.Unimplemented, "x"), ClassRetryable, 501},
		"Internal":                    {status.New(codes.Internal, "x"), ClassRetryable, 500},
		"Unavailable":                 {status.New(codes.Unavailable, "x"), ClassRetryable, 503},
		"DataLoss":                    {status.New(codes.DataLoss, "x"), ClassRetryable, 500},
		"Unauthenticated":             {status.New(codes.Unauthenticated, "x"), ClassTerminal, 401},
		"a code that nobody knows":    {status.New(codes.Code(99), "x"), ClassRetryable, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := &grpcRecorder{answer: always(nil, test.status.Err())}
			client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
			_, err := client.Status(t.Context(), Origin{Term: 1}, "u1")
			var call *CallError
			if !errors.As(err, &call) || call.Class != test.want || call.Status != test.http || call.NotSent {
				t.Fatalf("got %+v, want class %s, status %d, sent", call, test.want, test.http)
			}
			if call.Cluster != "edge" || call.Call != CallStatus || !strings.HasPrefix(call.Reason, "answered ") && call.Reason != reasonLate {
				t.Errorf("got %+v, want a status call to edge that was answered", call)
			}
			// What a proxy may have said in the CRM's place proves nothing.
			proxied := test.http == http.StatusGatewayTimeout || test.http == http.StatusServiceUnavailable
			if got, want := MayArrive(err), proxied; got != want {
				t.Errorf("may arrive: got %v, want %v", got, want)
			}
			if got := len(recorder.seen()); got != 1 {
				t.Errorf("got %d calls, want 1", got)
			}
		})
	}
}

// What "not found" means depends on the call.
func TestGRPCNotFoundByCall(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: always(nil, status.Error(codes.NotFound, "nothing here"))}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	_, deploy := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1"))
	_, record := client.Record(t.Context(), Origin{}, "u1")
	_, records := client.Records(t.Context(), Origin{}, RecordFilter{})
	_, topology := client.Topology(t.Context())
	remove := client.Delete(t.Context(), Origin{Term: 1}, "u1")
	got := []Class{ClassOf(deploy), ClassOf(record), ClassOf(records), ClassOf(topology), ClassOf(remove)}
	want := []Class{ClassTerminal, ClassNotFound, ClassNotSupported, ClassNotSupported, ClassOK}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deploy, record, records, topology, delete (-want +got):\n%s", diff)
	}
}

// The status inside of an answer counts too.
func TestGRPCStatusInTheAnswer(t *testing.T) {
	t.Parallel()
	for code, want := range map[crmpb.StatusCode]struct{ deploy, remove, status Class }{
		crmpb.StatusCode_OK:              {ClassOK, ClassOK, ClassOK},
		crmpb.StatusCode_ERROR:           {ClassRetryable, ClassRetryable, ClassOK},
		crmpb.StatusCode_NOT_FOUND:       {ClassTerminal, ClassOK, ClassNotFound},
		crmpb.StatusCode_INVALID_REQUEST: {ClassTerminal, ClassTerminal, ClassOK},
		crmpb.StatusCode_INTERNAL_ERROR:  {ClassRetryable, ClassRetryable, ClassOK},
		crmpb.StatusCode(77):             {ClassRetryable, ClassRetryable, ClassOK},
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			text := proto.String("because")
			recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{
				methodDeploy: &crmpb.DeployResponse{Status: code, DeploymentId: "u1", Message: text},
				methodDelete: &crmpb.DeleteDeploymentResponse{Status: code, Message: text},
				methodStatus: &crmpb.GetDeploymentStatusResponse{Status: code, Message: text},
			})}
			client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
			_, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1"))
			if got := ClassOf(err); got != want.deploy {
				t.Errorf("deploy: got %v, want %s", err, want.deploy)
			}
			if err != nil {
				contains(t, err.Error(), "because")
			}
			if err := client.Delete(t.Context(), Origin{Term: 1}, "u1"); ClassOf(err) != want.remove {
				t.Errorf("delete: got %v, want %s", err, want.remove)
			}
			if _, err := client.Status(t.Context(), Origin{Term: 1}, "u1"); ClassOf(err) != want.status {
				t.Errorf("status: got %v, want %s", err, want.status)
			}
		})
	}
}

func TestGRPCHealth(t *testing.T) {
	t.Parallel()
	full := &crmpb.CrmEnvHealth{
		EnvName: "oaas-ns", Status: "Degraded", CrmVersion: proto.String("0.1.0"), LastSeen: &crmpb.Timestamp{Seconds: 1767323045, Nanos: 1},
		NodeCount: proto.Uint32(3), ReadyNodes: proto.Uint32(2), Availability: proto.Float64(0.99),
	}
	for name, test := range map[string]struct {
		answers map[string]proto.Message
		want    model.ClusterHealth
		methods []string
	}{
		"all that there is": {
			map[string]proto.Message{methodEnv: full},
			model.ClusterHealth{
				ClusterName: "oaas-ns", Status: "Degraded", CRMVersion: proto.String("0.1.0"), LastSeen: time.Date(2026, 1, 2, 3, 4, 5, 1, time.UTC),
				NodeCount: proto.Uint32(3), ReadyNodes: proto.Uint32(2), Availability: proto.Float64(0.99),
			},
			[]string{methodEnv},
		},
		"as little as there can be": {
			map[string]proto.Message{methodEnv: &crmpb.CrmEnvHealth{}},
			model.ClusterHealth{ClusterName: "edge", LastSeen: testNow}, []string{methodEnv},
		},
		"nonsense": {
			map[string]proto.Message{methodEnv: &crmpb.CrmEnvHealth{
				Status: "Healthy\n!", LastSeen: &crmpb.Timestamp{Seconds: 1 << 60}, Availability: proto.Float64(17),
			}},
			model.ClusterHealth{ClusterName: "edge", Status: "Healthy !", LastSeen: testNow}, []string{methodEnv},
		},
		"serving only": {
			map[string]proto.Message{methodCheck: &crmpb.HealthCheckResponse{Status: crmpb.HealthCheckResponse_SERVING}},
			model.ClusterHealth{ClusterName: "edge", Status: "Healthy", LastSeen: testNow}, []string{methodEnv, methodCheck},
		},
		"not serving": {
			map[string]proto.Message{methodCheck: &crmpb.HealthCheckResponse{Status: crmpb.HealthCheckResponse_NOT_SERVING}},
			model.ClusterHealth{ClusterName: "edge", Status: "Unhealthy", LastSeen: testNow}, []string{methodEnv, methodCheck},
		},
		"service unknown": {
			map[string]proto.Message{methodCheck: &crmpb.HealthCheckResponse{Status: crmpb.HealthCheckResponse_SERVICE_UNKNOWN}},
			model.ClusterHealth{ClusterName: "edge", Status: "Unknown", LastSeen: testNow}, []string{methodEnv, methodCheck},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := &grpcRecorder{answer: byMethod(test.answers)}
			client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
			got, err := client.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.methods, recorder.methods()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("neither", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: byMethod(nil)}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		if _, err := client.Health(t.Context()); ClassOf(err) != ClassNotSupported {
			t.Errorf("got %v, want not_supported", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		client := newTestGRPCClient(t, "http://"+freeAddress(t), nil)
		_, err := client.Health(t.Context())
		var call *CallError
		if !errors.As(err, &call) || call.Reason != "cannot connect" || !call.NotSent || call.Class != ClassRetryable {
			t.Errorf("got %+v, want cannot connect, not sent, retryable", call)
		}
	})
}

func TestGRPCRecords(t *testing.T) {
	t.Parallel()
	summary := fullSummary()
	t.Run("a record", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodRuntime: &crmpb.GetClassRuntimeResponse{Deployment: summary}})}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		got, err := client.Record(t.Context(), Origin{}, "cart-1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fullRecord(), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("an empty answer is no record", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodRuntime: &crmpb.GetClassRuntimeResponse{}})}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		if _, err := client.Record(t.Context(), Origin{}, "cart-1"); ClassOf(err) != ClassNotFound {
			t.Errorf("got %v, want not_found", err)
		}
	})
	t.Run("where records are unknown, the state", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodStatus: &crmpb.GetDeploymentStatusResponse{
			Deployment:         &crmpb.DeploymentUnit{Id: "cart-1", ClassKey: "cart-1", TargetEnv: "oaas-ns", CreatedAt: &crmpb.Timestamp{Seconds: 1767323045}},
			Message:            proto.String("Progressing"),
			StatusResourceRefs: []*crmpb.ResourceReference{{Kind: "Service", Name: "cart-1"}},
		}})}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		got, err := client.Record(t.Context(), Origin{}, "cart-1")
		if err != nil {
			t.Fatal(err)
		}
		want := model.DeploymentRecord{
			ID: "cart-1", DeploymentUnitID: "cart-1", PackageName: "unknown", ClassKey: "cart-1", TargetEnvironment: "oaas-ns",
			Status: model.DeploymentRecordStatus{
				Condition: "Deploying", Phase: "RESOURCE_PROVISIONING", Message: proto.String("Progressing"), LastUpdated: "2026-03-04T05:06:07.0000008Z",
			},
			ResourceRefs: []model.ResourceReference{{Kind: "Service", Name: "cart-1"}},
			CreatedAt:    "2026-01-02T03:04:05Z", PartitionCount: 1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{methodRuntime, methodStatus}, recorder.methods()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestGRPCTopology(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodTopology: &crmpb.TopologySnapshot{
		Nodes:     []*crmpb.TopologyNode{{Id: "router::1", NodeType: "router", Status: "healthy", Metadata: map[string]string{"a": "b"}, DeployedClasses: []string{"Cart"}}, {Id: "odgm::2"}},
		Edges:     []*crmpb.TopologyEdge{{FromId: "router::1", ToId: "odgm::2"}},
		Timestamp: &crmpb.Timestamp{Seconds: 7, Nanos: 8},
	}})}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	got, err := client.Topology(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := model.TopologySnapshot{
		Nodes: []model.TopologyNode{
			{ID: "router::1", NodeType: "router", Status: "healthy", Metadata: map[string]string{"a": "b"}, DeployedClasses: []string{"Cart"}},
			{ID: "odgm::2", Metadata: map[string]string{}, DeployedClasses: []string{}},
		},
		Edges:     []model.TopologyEdge{{FromID: "router::1", ToID: "odgm::2", Metadata: map[string]string{}}},
		Timestamp: &model.TopologyTime{Seconds: 7, Nanos: 8},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Only reads are repeated; a change is sent once.
func TestGRPCRepeatsReadsOnly(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: always(nil, status.Error(codes.Unavailable, "later"))}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), func(c *ClusterConfig) { c.RetryAttempts = 3 })
	_, _ = client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1"))
	_ = client.Delete(t.Context(), Origin{Term: 1}, "u1")
	_, _ = client.Status(t.Context(), Origin{Term: 1}, "u1")
	_, _ = client.Record(t.Context(), Origin{}, "u1")
	want := []string{methodDeploy, methodDelete, methodStatus, methodRuntime, methodRuntime, methodRuntime}
	if diff := cmp.Diff(want, recorder.methods()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGRPCSurvivesMisbehaviour(t *testing.T) {
	t.Parallel()
	ask := func(t *testing.T, client *GRPCClient) *CallError {
		t.Helper()
		_, err := client.Status(t.Context(), Origin{Term: 1}, "u1")
		var call *CallError
		if !errors.As(err, &call) {
			t.Fatalf("got %v, want a *CallError", err)
		}
		return call
	}
	t.Run("an answer that is too large", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: always(&crmpb.GetDeploymentStatusResponse{Message: proto.String(strings.Repeat("x", 1<<20))}, nil)}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), func(c *ClusterConfig) { c.MaxResponseBytes = 64 << 10 })
		if got := ask(t, client); got.Reason != "answer exceeds 65536 bytes" || got.Class != ClassRetryable || MayArrive(got) {
			t.Errorf("got %+v, want too large, retryable, arrived", got)
		}
	})
	t.Run("headers that are too large", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: func(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
			return &crmpb.GetDeploymentStatusResponse{}, grpc.SetHeader(ctx, metadata.Pairs("x-large", strings.Repeat("x", 1<<20)))
		}}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		if got := ask(t, client); got.Class != ClassRetryable || got.NotSent {
			t.Errorf("got %+v, want retryable, sent", got)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		garbage := &crmpb.GetDeploymentStatusResponse{}
		garbage.ProtoReflect().SetUnknown([]byte{0x07, 0xff, 0xff})
		recorder := &grpcRecorder{answer: always(garbage, nil)}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		if got := ask(t, client); got.Reason != "answer is not of the agreed form" || got.Class != ClassRetryable {
			t.Errorf("got %+v, want a malformed answer, retryable", got)
		}
	})
	t.Run("an id that cannot be used", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: always(&crmpb.DeployResponse{DeploymentId: "a\nb"}, nil)}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		if _, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1")); ClassOf(err) != ClassRetryable {
			t.Errorf("got %v, want retryable", err)
		}
		refusing := &grpcRecorder{answer: always(&crmpb.DeployResponse{Status: crmpb.StatusCode_INVALID_REQUEST, DeploymentId: "a\nb"}, nil)}
		client = newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, refusing), nil)
		if _, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("u1")); !Refused(err) {
			t.Errorf("with a refusal: got %v, want it", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		recorder := &grpcRecorder{answer: func(ctx context.Context, method string, request proto.Message) (proto.Message, error) {
			if method == methodEnv {
				return &crmpb.CrmEnvHealth{}, nil
			}
			return untilCanceled(ctx, method, request)
		}}
		client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
		succeed(t, client) // so that connecting takes no part of the time
		client.timeout = 50 * time.Millisecond
		if got := ask(t, client); got.Reason != "no answer in time" || got.NotSent || !MayArrive(got) {
			t.Errorf("got %+v, want no answer in time, may arrive", got)
		}
	})
	t.Run("never greets", func(t *testing.T) {
		t.Parallel()
		listener := listen(t) // accepts, by its backlog, and says nothing
		client := newTestGRPCClient(t, "http://"+listener.Addr().String(), func(c *ClusterConfig) { c.Timeout = 50 * time.Millisecond })
		if got := ask(t, client); got.Class != ClassRetryable || !got.NotSent {
			t.Errorf("got %+v, want retryable, not sent", got)
		}
	})
	t.Run("speaks HTTP/1", func(t *testing.T) {
		t.Parallel()
		server := newHTTPServer(t, nil, http.NotFoundHandler())
		client := newTestGRPCClient(t, server, nil)
		if got := ask(t, client); got.Class != ClassRetryable || !got.NotSent || got.Reason != reasonNoGRPC {
			t.Errorf("got %+v, want does not speak gRPC, not sent", got)
		}
	})
	t.Run("hangs up", func(t *testing.T) {
		t.Parallel()
		listener := listen(t)
		recorder := &grpcRecorder{}
		begun := make(chan struct{})
		recorder.answer = func(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
			close(begun)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		stop := serveGRPC(t, listener, nil, recorder)
		client := newTestGRPCClient(t, "http://"+listener.Addr().String(), nil)
		go func() { <-begun; stop() }()
		if got := ask(t, client); got.Class != ClassRetryable || got.NotSent || got.Reason != "connection was lost" || !MayArrive(got) {
			t.Errorf("got %+v, want connection was lost, may arrive", got)
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		t.Parallel()
		client := newTestGRPCClient(t, "http://host.invalid:1", nil)
		if got := ask(t, client); got.Reason != "host name cannot be resolved" || !got.NotSent {
			t.Errorf("got %+v, want a name that cannot be resolved, not sent", got)
		}
	})
}

func untilCanceled(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestGRPCEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	recorder := &grpcRecorder{answer: func(ctx context.Context, method string, request proto.Message) (proto.Message, error) {
		close(arrived)
		return untilCanceled(ctx, method, request)
	}}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Status(ctx, Origin{Term: 1}, "u1")
		result <- err
	}()
	<-arrived
	cancel()
	if err := <-result; ClassOf(err) != ClassCanceled {
		t.Errorf("got %v, want canceled", err)
	}
}

// A CRM that comes back is reached by the next call, whatever pause the library
// would keep after a failure.
func TestGRPCFindsACRMThatReturns(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	client := newTestGRPCClient(t, "http://"+address, nil)
	for range 8 { // enough for a long pause
		_, err := client.Health(t.Context())
		var call *CallError
		if !errors.As(err, &call) || call.Reason != "cannot connect" || !call.NotSent {
			t.Fatalf("got %v, want cannot connect, not sent", err)
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("take the port again: %v", err)
	}
	serveGRPC(t, listener, nil, &grpcRecorder{answer: always(&crmpb.CrmEnvHealth{Status: "Healthy"}, nil)})
	if _, err := client.Health(t.Context()); err != nil {
		t.Errorf("after it returned: got %v, want an answer", err)
	}
}

func TestGRPCBoundsConcurrency(t *testing.T) {
	t.Parallel()
	const limit = 3
	var inFlight, most atomic.Int32
	release := make(chan struct{})
	recorder := &grpcRecorder{answer: func(_ context.Context, method string, _ proto.Message) (proto.Message, error) {
		if method == methodEnv {
			return &crmpb.CrmEnvHealth{Status: "Healthy"}, nil
		}
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
		}
		<-release
		return &crmpb.GetDeploymentStatusResponse{Message: proto.String("Available")}, nil
	}}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), func(c *ClusterConfig) { c.MaxConcurrency = limit })
	results := make(chan error, 6*limit)
	for i := range 6 * limit {
		go func() {
			_, err := client.Status(t.Context(), Origin{Term: uint64(i % 2)}, "u1")
			results <- err
		}()
	}
	until(t, "the dispatcher's slots and the others' are in use", func() bool { return inFlight.Load() == 2*limit })
	if _, err := client.Health(t.Context()); err != nil {
		t.Errorf("health while all slots are in use: %v", err)
	}
	close(release)
	for range 6 * limit {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := most.Load(); got != 2*limit {
		t.Errorf("most calls in flight: got %d, want %d", got, 2*limit)
	}
}

// A client that is given up leaves its calls alone.
func TestGRPCCloseLeavesCallsInFlight(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	recorder := &grpcRecorder{answer: func(context.Context, string, proto.Message) (proto.Message, error) {
		close(arrived)
		<-release
		return &crmpb.GetDeploymentStatusResponse{Message: proto.String("Available")}, nil
	}}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	result := make(chan error, 1)
	go func() {
		_, err := client.Status(t.Context(), Origin{Term: 1}, "u1")
		result <- err
	}()
	<-arrived
	client.Close()
	client.Close()
	_, err := client.Status(t.Context(), Origin{Term: 1}, "u1")
	var call *CallError
	if !errors.As(err, &call) || call.Class != ClassRetryable || !call.NotSent {
		t.Errorf("after close: got %v, want retryable, not sent", err)
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("call in flight: %v", err)
	}
}

func TestOriginLeavesOutWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	from := Origin{CorrelationID: "a\nb", TraceParent: "ü", IdempotencyKey: strings.Repeat("x", 9<<10), Term: 1}
	if diff := cmp.Diff([]header{{headerTerm, "1"}}, from.headers(), cmp.AllowUnexported(header{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	recorder := &grpcRecorder{answer: always(&crmpb.GetDeploymentStatusResponse{Message: proto.String("Available")}, nil)}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	if _, err := client.Status(t.Context(), from, "u1"); err != nil {
		t.Error(err)
	}
}
