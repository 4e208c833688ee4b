package crm

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

var updateWire = flag.Bool("update-wire", false, "write the golden bytes of messages anew; only for a new message or field")

// wireMessages are all types of message that the client sends or receives, with
// every field set.
func wireMessages() map[string]proto.Message {
	text := proto.String
	return map[string]proto.Message{
		"deploy_request":         &crmpb.DeployRequest{DeploymentUnit: unitToProto(fullUnit(), testNow)},
		"deploy_response":        &crmpb.DeployResponse{Status: crmpb.StatusCode_INVALID_REQUEST, DeploymentId: "cart-1", Message: text("m")},
		"status_request":         &crmpb.GetDeploymentStatusRequest{DeploymentId: "cart-1"},
		"status_response":        &crmpb.GetDeploymentStatusResponse{Status: crmpb.StatusCode_ERROR, Deployment: &crmpb.DeploymentUnit{Id: "cart-1"}, Message: text("m"), StatusResourceRefs: fullSummary().GetResourceRefs()},
		"delete_request":         &crmpb.DeleteDeploymentRequest{DeploymentId: "cart-1"},
		"delete_response":        &crmpb.DeleteDeploymentResponse{Status: crmpb.StatusCode_NOT_FOUND, Message: text("m")},
		"list_request":           filterToProto(RecordFilter{Package: "shop", Class: "Cart", Environment: "edge", Status: "Running", Limit: 7, Offset: 300}),
		"list_response":          &crmpb.ListClassRuntimesResponse{Items: []*crmpb.ClassRuntimeSummary{fullSummary()}},
		"runtime_request":        &crmpb.GetClassRuntimeRequest{DeploymentId: "cart-1"},
		"runtime_response":       &crmpb.GetClassRuntimeResponse{Deployment: fullSummary()},
		"env_health_request":     &crmpb.CrmEnvRequest{Env: "edge"},
		"env_health":             &crmpb.CrmEnvHealth{EnvName: "edge", Status: "Healthy", CrmVersion: text("0.1.0"), LastSeen: &crmpb.Timestamp{Seconds: 1767323045, Nanos: 1}, NodeCount: proto.Uint32(3), ReadyNodes: proto.Uint32(2), Availability: proto.Float64(0.99)},
		"health_check_request":   &crmpb.HealthCheckRequest{Service: "s"},
		"health_check_response":  &crmpb.HealthCheckResponse{Status: crmpb.HealthCheckResponse_SERVICE_UNKNOWN},
		"topology_request":       &crmpb.TopologyRequest{Source: "s"},
		"topology":               &crmpb.TopologySnapshot{Nodes: []*crmpb.TopologyNode{{Id: "n", NodeType: "t", Status: "s", Metadata: map[string]string{"k": "v"}, DeployedClasses: []string{"c"}}}, Edges: []*crmpb.TopologyEdge{{FromId: "a", ToId: "b", Metadata: map[string]string{"k": "v"}}}, Timestamp: &crmpb.Timestamp{Seconds: 1, Nanos: 2}},
		"what_is_never_sent":     &crmpb.OdgmConfig{Options: map[string]string{"k": "v"}, Invocations: &crmpb.InvocationRoutes{FnRoutes: map[string]*crmpb.FunctionRoute{"f": {Url: "u", ActiveGroup: []uint64{1, 2}}}, DisabledFn: []string{"d"}}},
		"unit_of_as_little":      unitToProto(model.DeploymentUnit{ID: "u", Functions: []model.FunctionDeploymentSpec{{FunctionKey: "f"}}}, testNow),
		"list_request_for_all":   filterToProto(RecordFilter{}),
		"presence_of_zero_value": &crmpb.ProvisionConfig{ContainerImage: text(""), Port: proto.Uint32(0), MinScale: proto.Uint32(0)},
	}
}

// The bytes on the wire are fixed: they pin the number, the type and the presence
// of every field, in both directions.
func TestWireBytes(t *testing.T) {
	t.Parallel()
	messages := wireMessages()
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "wire", name+".hex")
			encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			if *updateWire {
				if err := os.WriteFile(path, []byte(lines(hex.EncodeToString(encoded))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), lines(hex.EncodeToString(encoded))); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			data, err := hex.DecodeString(strings.ReplaceAll(string(golden), "\n", ""))
			if err != nil {
				t.Fatal(err)
			}
			decoded := message.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(data, decoded); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message, decoded, protocmp.Transform()); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/wire/*.hex")
	if err != nil || len(files) != len(messages) {
		t.Errorf("got %d golden files, %v, want %d", len(files), err, len(messages))
	}
}

// Some written out by hand, so that the golden files are not their own witness.
func TestWireBytesByHand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		message proto.Message
		want    string
	}{
		"list request":    {&crmpb.ListClassRuntimesRequest{Status: proto.String("R"), Limit: proto.Uint32(7), Offset: proto.Uint32(300)}, "220152" + "5007" + "58ac02"},
		"requirements":    {&crmpb.NfrRequirements{MinThroughputRps: proto.Uint32(1), Availability: proto.Float64(1)}, "1001" + "19000000000000f03f"},
		"image and scale": {&crmpb.ProvisionConfig{ContainerImage: proto.String("i"), MaxScale: proto.Uint32(2), WasmModuleUrl: proto.String("w")}, "0a0169" + "5002" + "5a0177"},
		"unit": {&crmpb.DeploymentUnit{
			Id: "u", TargetEnv: "e", SelectedTemplate: proto.String("t"), Telemetry: &crmpb.TelemetrySpec{Enabled: true}, OdgmConfig: &crmpb.OdgmConfig{OdgmNodeId: proto.Uint64(5)},
		}, "0a0175" + "320165" + "4a024805" + "5a0174" + "62020801"},
		"function":    {&crmpb.FunctionDeploymentSpec{FunctionKey: "f", Description: proto.String("d"), Config: map[string]string{"k": "v"}}, "0a0166" + "2a0164" + "4a060a016b120176"},
		"shards":      {&crmpb.ShardAssignmentSpec{Primary: proto.Uint64(1), Replica: []uint64{10, 300}, ShardIds: []uint64{1, 2}}, "0801" + "12030aac02" + "1a020102"},
		"summary":     {&crmpb.ClassRuntimeSummary{ClusterName: proto.String("c"), CreatedAt: "n", PartitionCount: 4}, "320163" + "52016e" + "6004"},
		"env health":  {&crmpb.CrmEnvHealth{LastSeen: &crmpb.Timestamp{Seconds: 1, Nanos: 2}, ReadyNodes: proto.Uint32(0)}, "220408011002" + "3000"},
		"edge":        {&crmpb.TopologyEdge{FromId: "a", ToId: "b"}, "0a0161" + "120162"},
		"grid routes": {&crmpb.FunctionRoute{Stateless: proto.Bool(true), Standby: proto.Bool(false), FunctionKey: proto.String("f")}, "1001" + "1800" + "2a0166"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(test.message)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(encoded); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// lines breaks a long text into lines of 80.
func lines(text string) string {
	var out strings.Builder
	for len(text) > 80 {
		out.WriteString(text[:80] + "\n")
		text = text[80:]
	}
	return out.String() + text + "\n"
}

// The unit as CRMs get it: what is filled in and what is left out.
func TestUnitToProto(t *testing.T) {
	t.Parallel()
	got := unitToProto(fullUnit(), testNow)
	nfr := &crmpb.NfrRequirements{MinThroughputRps: proto.Uint32(100), Availability: proto.Float64(0.995), CpuUtilizationTarget: proto.Float64(0.5)}
	want := &crmpb.DeploymentUnit{
		Id: "cart-1", PackageName: "shop", ClassKey: "Cart", TargetEnv: "edge",
		CreatedAt: &crmpb.Timestamp{Seconds: testNow.Unix(), Nanos: 800},
		Functions: []*crmpb.FunctionDeploymentSpec{{
			FunctionKey: "Cart.add", Description: proto.String("adds"), AvailableLocation: proto.String("here"), NfrRequirements: nfr,
			ProvisionConfig: &crmpb.ProvisionConfig{
				ContainerImage: proto.String("registry.local/cart:1"), WasmModuleUrl: proto.String("http://wasm"), Port: proto.Uint32(80),
				MaxConcurrency: 9, NeedHttp2: true, CpuRequest: proto.String("500m"), MemoryRequest: proto.String("1Gi"),
				CpuLimit: proto.String("2"), MemoryLimit: proto.String("2Gi"), MinScale: proto.Uint32(2), MaxScale: proto.Uint32(7),
			},
			Config: map[string]string{"HTTP_PORT": "80"},
		}, {FunctionKey: "Cart.bare", NfrRequirements: nfr, ProvisionConfig: &crmpb.ProvisionConfig{}}},
		FunctionBindings: []*crmpb.ClassFunctionBinding{
			{Name: "add", FunctionKey: "Cart.add", AccessModifier: proto.String("Public"), Stateless: proto.Bool(true), Parameters: []string{"item"}},
			{Name: "sum", FunctionKey: "Cart.bare", AccessModifier: proto.String("Internal"), Stateless: proto.Bool(false)},
			{Name: "wipe", FunctionKey: "Cart.bare", AccessModifier: proto.String("Private"), Stateless: proto.Bool(false)},
		},
		OdgmConfig: &crmpb.OdgmConfig{
			Collections: []string{"shop.Cart"}, PartitionCount: proto.Uint32(1), ReplicaCount: proto.Uint32(2), ShardType: proto.String("mst"), Log: proto.String("info"),
			EnvNodeIds: map[string]*crmpb.OdgmNodeIds{"edge": {Ids: []uint64{10, 300}}}, OdgmNodeId: proto.Uint64(10),
			CollectionAssignments: map[string]*crmpb.CollectionShardAssignments{"shop.Cart": {Assignments: []*crmpb.ShardAssignmentSpec{
				{Primary: proto.Uint64(1), Replica: []uint64{10, 300}, ShardIds: []uint64{1, 2}},
			}}},
			Invocations: &crmpb.InvocationRoutes{FnRoutes: map[string]*crmpb.FunctionRoute{
				"add": {Stateless: proto.Bool(true), Standby: proto.Bool(false), FunctionKey: proto.String("Cart.add")},
			}},
		},
		Telemetry: &crmpb.TelemetrySpec{
			Enabled: true, Traces: proto.Bool(true), Metrics: proto.Bool(false), Logs: proto.Bool(true), SamplingRate: proto.Float64(0.25),
			ServiceName: proto.String("cart"), ResourceAttributes: map[string]string{"team": "a"},
		},
		SelectedTemplate: proto.String("knative"),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	bare := unitToProto(model.DeploymentUnit{Telemetry: &model.TelemetryConfig{}, ODGM: &model.UnitODGM{}}, testNow)
	if !bare.GetTelemetry().GetEnabled() {
		t.Error("telemetry without enabled: got disabled, want enabled")
	}
	if bare.SelectedTemplate != nil || bare.GetOdgmConfig().OdgmNodeId != nil || bare.GetOdgmConfig().Invocations != nil {
		t.Errorf("got %v, want no template, node id or routes", bare)
	}
	if none := unitToProto(model.DeploymentUnit{}, testNow); none.Telemetry != nil || none.OdgmConfig != nil {
		t.Errorf("got %v, want neither telemetry nor grid", none)
	}
	off := unitToProto(model.DeploymentUnit{Telemetry: &model.TelemetryConfig{Enabled: pointer(false)}}, testNow)
	if off.GetTelemetry().GetEnabled() {
		t.Error("telemetry that is disabled: got enabled")
	}
}

// Nothing that a CRM can send brings the client down or leaves it with a record
// that cannot be shown.
func FuzzAnswers(f *testing.F) {
	for _, message := range wireMessages() {
		data, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		unmarshal := func(into proto.Message) bool { return proto.Unmarshal(data, into) == nil }
		var records []model.DeploymentRecord
		if list := (&crmpb.ListClassRuntimesResponse{}); unmarshal(list) {
			for _, item := range list.GetItems() {
				records = append(records, recordFromProto(item))
			}
		}
		if one := (&crmpb.ClassRuntimeSummary{}); unmarshal(one) {
			records = append(records, recordFromProto(one))
		}
		if state := (&crmpb.GetDeploymentStatusResponse{}); unmarshal(state) {
			records = append(records, recordFromStatus(state, "u1", testNow))
			if got, _ := statusFromProto(state, "u1", testNow); got.ID != "u1" || got.Status == "" {
				t.Errorf("status: got %+v", got)
			}
		}
		for _, record := range records {
			if record.ResourceRefs == nil || record.PartitionCount == 0 || record.Status.Condition == "" || record.Status.Phase == "" {
				t.Errorf("record is incomplete: %+v", record)
			}
			if m := record.Status.Message; m != nil && (len([]rune(*m)) > 203 || strings.ContainsAny(*m, "\n\r\x00")) {
				t.Errorf("message is not fit for a record: %q", *m)
			}
		}
		if health := (&crmpb.CrmEnvHealth{}); unmarshal(health) {
			got := healthFromProto(health, "edge", testNow)
			if year := got.LastSeen.Year(); year < 1 || year > 9999 || got.ClusterName == "" && health.GetEnvName() == "" {
				t.Errorf("health: got %+v", got)
			}
			if a := got.Availability; a != nil && !(*a >= 0 && *a <= 1) {
				t.Errorf("availability: got %v", *a)
			}
		}
		if topology := (&crmpb.TopologySnapshot{}); unmarshal(topology) {
			got := topologyFromProto(topology)
			if got.Nodes == nil || got.Edges == nil {
				t.Errorf("topology: got %+v", got)
			}
		}
	})
}
