package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// grpcClients are connections of gRPC to one simulator.
type grpcClients struct {
	conn        *grpc.ClientConn
	deployments crmpb.DeploymentServiceClient
	info        crmpb.CrmInfoServiceClient
	health      crmpb.HealthServiceClient
	topology    crmpb.TopologyServiceClient
}

func dialGRPC(t *testing.T, v *Server, options ...grpc.DialOption) grpcClients {
	t.Helper()
	if len(options) == 0 {
		options = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
	conn, err := grpc.NewClient(v.addrs.GRPC, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpcClients{conn, crmpb.NewDeploymentServiceClient(conn), crmpb.NewCrmInfoServiceClient(conn),
		crmpb.NewHealthServiceClient(conn), crmpb.NewTopologyServiceClient(conn)}
}

func protoUnit(id string) *crmpb.DeploymentUnit {
	image, node, partitions := "cart:1", uint64(7), uint32(4)
	return &crmpb.DeploymentUnit{
		Id: id, PackageName: "shop", ClassKey: "Cart", TargetEnv: "edge",
		Functions: []*crmpb.FunctionDeploymentSpec{{
			FunctionKey: "add", ProvisionConfig: &crmpb.ProvisionConfig{ContainerImage: &image}, Config: map[string]string{"k": "v"},
		}},
		FunctionBindings: []*crmpb.ClassFunctionBinding{{Name: "add", FunctionKey: "add"}},
		OdgmConfig: &crmpb.OdgmConfig{
			Collections: []string{"shop.Cart"}, OdgmNodeId: &node, PartitionCount: &partitions,
			EnvNodeIds: map[string]*crmpb.OdgmNodeIds{"edge": {Ids: []uint64{7}}},
		},
	}
}

func (c grpcClients) deploy(t *testing.T, id string, beside ...string) error {
	t.Helper()
	_, err := c.deployments.Deploy(metadata.AppendToOutgoingContext(t.Context(), beside...),
		&crmpb.DeployRequest{DeploymentUnit: protoUnit(id)})
	return err
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
}

// TestBothProtocolsShareOneState: what one protocol does the other sees, in one
// journal.
func TestBothProtocolsShareOneState(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	c := dialGRPC(t, v)
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-oprc-term", "3", "x-oprc-generation", "2", "x-oprc-deployment", "cart",
		"x-correlation-id", "abc", "idempotency-key", "once", "traceparent", "00-1-2-01")
	answer, err := c.deployments.Deploy(ctx, &crmpb.DeployRequest{DeploymentUnit: protoUnit("u1")}, grpc.Header(&header))
	if err != nil || answer.GetDeploymentId() != "u1" || answer.GetStatus() != crmpb.StatusCode_OK {
		t.Fatalf("deploy: got %v, %v", answer, err)
	}
	if got := header.Get("x-correlation-id"); !slices.Equal(got, []string{"abc"}) {
		t.Errorf("correlation id in the answer: got %v, want abc", got)
	}
	if code, body := call(t, v.Sim, "GET", "/api/v1/deployments/u1", ""); code != 200 || body["status"] != "Running" {
		t.Errorf("over HTTP: got %d %v, want 200 Running", code, body)
	}
	deploy(t, v.Sim, "u2")
	if list, err := c.deployments.ListClassRuntimes(t.Context(), &crmpb.ListClassRuntimesRequest{}); err != nil || len(list.GetItems()) != 2 {
		t.Errorf("over gRPC: got %v, %v, want both units", list, err)
	}
	got := v.Calls(0)[0]
	want := Call{
		Seq: 1, At: got.At, Name: "deploy", Protocol: "grpc", Unit: "u1", Deployment: "cart", Term: 3, Generation: 2,
		CorrelationID: "abc", IdempotencyKey: "once", Traceparent: "00-1-2-01", Status: 200, Effect: EffectCreated,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	unit := v.Units()[0].Unit
	if unit.DeploymentKey != "cart" || unit.Generation != 2 || unit.ODGM == nil || unit.ODGM.NodeID != 7 ||
		*unit.Functions[0].ProvisionConfig.ContainerImage != "cart:1" {
		t.Errorf("unit: got %+v", unit)
	}
}

// TestGRPCBehavesAsTheFieldDoes pins what clients of the reference CRM meet.
func TestGRPCBehavesAsTheFieldDoes(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	v := StartFor(t, Config{Name: "edge", TimeToRunning: time.Minute, Now: clock.Now})
	c := dialGRPC(t, v)
	for range 2 { // create-only: the second is accepted and changes nothing
		if err := c.deploy(t, "Cart_1"); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "an id of the same resource name", c.deploy(t, "cart-1"), codes.AlreadyExists)
	wantCode(t, "an id without a letter", c.deploy(t, "__"), codes.InvalidArgument)
	_, err := c.deployments.GetDeploymentStatus(t.Context(), &crmpb.GetDeploymentStatusRequest{DeploymentId: "none"})
	wantCode(t, "status of an unknown id", err, codes.NotFound)
	_, err = c.deployments.DeleteDeployment(t.Context(), &crmpb.DeleteDeploymentRequest{DeploymentId: "none"})
	wantCode(t, "delete of an unknown id", err, codes.NotFound)
	_, err = c.deployments.GetClassRuntime(t.Context(), &crmpb.GetClassRuntimeRequest{DeploymentId: "none"})
	wantCode(t, "record of an unknown id", err, codes.NotFound)

	got, err := c.deployments.GetDeploymentStatus(t.Context(), &crmpb.GetDeploymentStatusRequest{DeploymentId: "Cart_1"})
	if err != nil || got.GetStatus() != crmpb.StatusCode_OK || got.GetMessage() != "found" {
		t.Errorf("accepted: got %v, %v, want OK and found", got, err)
	}
	if unit := got.GetDeployment(); unit.GetPackageName() != "" || unit.GetClassKey() != "cart-1" || unit.GetTargetEnv() != "edge" || unit.OdgmConfig != nil {
		t.Errorf("the unit of a status: got %v, want the resource name as class and nothing of the grid", unit)
	}
	accepted, err := c.deployments.GetClassRuntime(t.Context(), &crmpb.GetClassRuntimeRequest{DeploymentId: "Cart_1"})
	if s := accepted.GetDeployment().GetStatus(); err != nil || s.GetCondition() != crmpb.DeploymentCondition_PENDING || s.GetMessage() != "Pending" {
		t.Errorf("record of an accepted one: got %v, %v, want pending", accepted, err)
	}
	clock.advance(30 * time.Second)
	if got, err = c.deployments.GetDeploymentStatus(t.Context(), &crmpb.GetDeploymentStatusRequest{DeploymentId: "Cart_1"}); err != nil || got.GetMessage() != "Progressing" {
		t.Errorf("on its way: got %v, %v, want Progressing", got, err)
	}
	clock.advance(30 * time.Second)
	if got, err = c.deployments.GetDeploymentStatus(t.Context(), &crmpb.GetDeploymentStatusRequest{DeploymentId: "Cart_1"}); err != nil || got.GetMessage() != "Available" {
		t.Errorf("running: got %v, %v, want Available", got, err)
	}
	record, err := c.deployments.GetClassRuntime(t.Context(), &crmpb.GetClassRuntimeRequest{DeploymentId: "Cart_1"})
	if s := record.GetDeployment(); err != nil || s.GetClassKey() != "shop.Cart" || s.GetPackageName() != "shop" || s.GetTargetEnvironment() != "edge" ||
		s.GetStatus().GetCondition() != crmpb.DeploymentCondition_RUNNING || s.GetStatus().GetPhase() != crmpb.DeploymentPhase_PHASE_RUNNING || s.GetPartitionCount() != 4 {
		t.Errorf("record: got %v, %v", record, err)
	}
	if _, err := c.deployments.DeleteDeployment(t.Context(), &crmpb.DeleteDeploymentRequest{DeploymentId: "Cart_1"}); err != nil || len(v.Units()) != 0 {
		t.Errorf("delete: got %v and %d units, want none left", err, len(v.Units()))
	}
}

// A unit that never runs, with a status that says OK in words of its own.
func TestGRPCStatusInOddWords(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	c := dialGRPC(t, v)
	v.SetFaults(Faults{Units: []UnitFault{{Image: "cart:1", Condition: "Pending", Message: "looking for the image"}}})
	if err := c.deploy(t, "u1"); err != nil {
		t.Fatal(err)
	}
	state, err := c.deployments.GetDeploymentStatus(t.Context(), &crmpb.GetDeploymentStatusRequest{DeploymentId: "u1"})
	if err != nil || state.GetStatus() != crmpb.StatusCode_OK || state.GetMessage() != "looking for the image" {
		t.Errorf("status: got %v, %v, want OK and the odd words", state, err)
	}
	record, err := c.deployments.GetClassRuntime(t.Context(), &crmpb.GetClassRuntimeRequest{DeploymentId: "u1"})
	if s := record.GetDeployment().GetStatus(); err != nil || s.GetCondition() != crmpb.DeploymentCondition_PENDING || s.GetMessage() != "looking for the image" {
		t.Errorf("record: got %v, %v, want pending with the same words", record, err)
	}
}

func TestListClassRuntimesIgnoresFiltersButPages(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	c := dialGRPC(t, v)
	for _, id := range []string{"u1", "u2", "u3"} {
		if err := c.deploy(t, id); err != nil {
			t.Fatal(err)
		}
	}
	v.SetFaults(Faults{Units: []UnitFault{{ID: "u3", Condition: "Down"}}})
	text := func(s string) *string { return &s }
	number := func(n uint32) *uint32 { return &n }
	for name, tt := range map[string]struct {
		request *crmpb.ListClassRuntimesRequest
		want    []string
	}{
		"all":          {&crmpb.ListClassRuntimesRequest{}, []string{"u1", "u2", "u3"}},
		"other filter": {&crmpb.ListClassRuntimesRequest{PackageName: text("none"), ClassKey: text("none"), TargetEnv: text("none")}, []string{"u1", "u2", "u3"}},
		"message":      {&crmpb.ListClassRuntimesRequest{Status: text("Available")}, []string{"u1", "u2"}},
		"page":         {&crmpb.ListClassRuntimesRequest{Offset: number(1), Limit: number(1)}, []string{"u2"}},
		"past the end": {&crmpb.ListClassRuntimesRequest{Offset: number(9)}, nil},
		"empty page":   {&crmpb.ListClassRuntimesRequest{Limit: number(0)}, nil},
	} {
		list, err := c.deployments.ListClassRuntimes(t.Context(), tt.request)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, item := range list.GetItems() {
			got = append(got, item.GetId())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func TestGRPCHealthAndTopology(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	v := StartFor(t, Config{Name: "edge", Version: "2", Now: clock.Now})
	c := dialGRPC(t, v)
	if err := c.deploy(t, "u1"); err != nil {
		t.Fatal(err)
	}
	vitals := v.Vitals()
	vitals.Status, vitals.ReadyNodes, vitals.Nodes = model.ClusterDegraded, 1, -1
	v.SetVitals(vitals)
	ready, version, availability := uint32(1), "2", 0.99
	want := &crmpb.CrmEnvHealth{
		EnvName: "edge", Status: "Degraded", CrmVersion: &version, ReadyNodes: &ready, Availability: &availability,
		LastSeen: &crmpb.Timestamp{Seconds: clock.now.Unix(), Nanos: 6},
	}
	got, err := c.info.GetEnvHealth(t.Context(), &crmpb.CrmEnvRequest{})
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("health: %v (-want +got):\n%s", err, diff)
	}
	for status, want := range map[string]crmpb.HealthCheckResponse_ServingStatus{
		model.ClusterDegraded: crmpb.HealthCheckResponse_SERVING, model.ClusterUnhealthy: crmpb.HealthCheckResponse_NOT_SERVING,
		model.ClusterUnknown: crmpb.HealthCheckResponse_UNKNOWN,
	} {
		vitals.Status = status
		v.SetVitals(vitals)
		if got, err := c.health.Check(t.Context(), &crmpb.HealthCheckRequest{}); err != nil || got.GetStatus() != want {
			t.Errorf("check when %s: got %v, %v, want %v", status, got, err, want)
		}
	}
	snapshot, err := c.topology.GetTopology(t.Context(), &crmpb.TopologyRequest{})
	if err != nil || len(snapshot.GetNodes()) != 3 || len(snapshot.GetEdges()) != 2 || snapshot.GetNodes()[0].GetId() != "router::edge" {
		t.Errorf("topology: got %v, %v, want a router, a grid node and a function", snapshot, err)
	}
}

// TestGRPCFaults: each fault as a client of gRPC meets it.
func TestGRPCFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg    Config
		faults Faults
		want   codes.Code
		units  int
	}{
		"5xx":               {faults: Faults{Status: 500}, want: codes.Internal},
		"5xx rate":          {faults: Faults{ErrorRate: 1}, want: codes.Unavailable},
		"wrong term":        {faults: Faults{StaleTerm: true}, want: codes.FailedPrecondition},
		"unimplemented":     {cfg: Config{Unimplemented: []string{"deploy"}}, want: codes.Unimplemented},
		"another call":      {faults: Faults{Status: 500, Calls: []string{"delete"}}, want: codes.OK, units: 1},
		"garbage":           {faults: Faults{Garbage: true}, want: codes.Internal, units: 1},
		"lost after accept": {faults: Faults{DropReply: true}, want: codes.Unavailable, units: 1},
		"a unit refused":    {faults: Faults{Units: []UnitFault{{Class: "shop.*", Refuse: 422}}}, want: codes.InvalidArgument},
		"another unit":      {faults: Faults{Units: []UnitFault{{Image: "other:*", Refuse: 422}}}, want: codes.OK, units: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Name = "edge"
			v := StartFor(t, tt.cfg)
			if tt.cfg.Unimplemented == nil {
				v.SetFaults(tt.faults)
			}
			wantCode(t, "deploy", dialGRPC(t, v).deploy(t, "u1", "x-oprc-term", "1"), tt.want)
			if got := len(v.Units()); got != tt.units {
				t.Errorf("units: got %d, want %d", got, tt.units)
			}
		})
	}
}

// TestStaleTermIsRefusedInBothProtocols: one memory of terms.
func TestStaleTermIsRefusedInBothProtocols(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	c := dialGRPC(t, v)
	if err := c.deploy(t, "u1", "x-oprc-term", "5"); err != nil {
		t.Fatal(err)
	}
	err := c.deploy(t, "u2", "x-oprc-term", "4")
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message()[:len("stale_term")] != "stale_term" {
		t.Errorf("gRPC: got %v, want FAILED_PRECONDITION stale_term", err)
	}
	wantCode(t, "malformed term", c.deploy(t, "u2", "x-oprc-term", "x"), codes.InvalidArgument)
	if code, body := call(t, v.Sim, "DELETE", "/api/v1/deployments/u1", "", "X-Oprc-Term", "4"); code != 409 || body["code"] != "stale_term" {
		t.Errorf("HTTP: got %d %v, want 409 stale_term", code, body)
	}
	last := v.Calls(0)[1]
	if last.Effect != EffectRefused || last.Term != 4 || last.Status != 409 || last.Protocol != "grpc" {
		t.Errorf("journal: got %+v, want the call of term 4 refused", last)
	}
	if err := v.SetTerm(9); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "after another leader", c.deploy(t, "u2", "x-oprc-term", "5"), codes.FailedPrecondition)
}

func TestGRPCCapacity(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge", Capacity: 1})
	c := dialGRPC(t, v)
	wantCode(t, "the first", c.deploy(t, "u1"), codes.OK)
	wantCode(t, "the second", c.deploy(t, "u2"), codes.ResourceExhausted)
	vitals := v.Vitals()
	vitals.Capacity = 2
	v.SetVitals(vitals)
	wantCode(t, "with more room", c.deploy(t, "u2"), codes.OK)
}

func TestGRPCReflection(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	stream, err := reflectionpb.NewServerReflectionClient(dialGRPC(t, v).conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		got = append(got, service.GetName())
	}
	for _, want := range []string{"oaas.deployment.DeploymentService", "oaas.health.CrmInfoService", "oaas.health.HealthService", "oaas.topology.TopologyService"} {
		if !slices.Contains(got, want) {
			t.Errorf("services: got %v, want %s among them", got, want)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}
