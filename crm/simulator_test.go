package crm

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// The gRPC client does with a simulated CRM what the HTTP client does.
func TestGRPCClientAgainstSimulator(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	s := sim.New(sim.Config{Name: "edge", Nodes: 2})
	serving, stop := context.WithCancel(context.Background())
	var server sync.WaitGroup
	server.Go(func() {
		if err := s.Serve(serving, sim.Endpoints{GRPC: listener}); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() { stop(); server.Wait() })
	client := newTestGRPCClient(t, "http://"+listener.Addr().String(), nil)
	ctx, from := t.Context(), Origin{Term: 3, Generation: 5, CorrelationID: "c1", IdempotencyKey: "k1"}

	health, err := client.Health(ctx)
	if err != nil || health.Status != model.ClusterHealthy || *health.NodeCount != 2 {
		t.Fatalf("health: got %+v, %v, want Healthy with 2 nodes", health, err)
	}
	for range 2 { // the second changes nothing
		response, err := client.Deploy(ctx, from, testUnit("cart-1"))
		if err != nil || response.ID != "cart-1" || response.Status != "accepted" {
			t.Fatalf("deploy: got %+v, %v, want cart-1 accepted", response, err)
		}
	}
	until(t, "the unit runs", func() bool {
		status, err := client.Status(ctx, from, "cart-1")
		return err == nil && status.ID == "cart-1" && status.Status == "Running"
	})
	record, err := client.Record(ctx, Origin{}, "cart-1")
	if err != nil || record.PackageName != "shop" || record.Status.Condition != "Running" {
		t.Fatalf("record: got %+v, %v, want one of shop, Running", record, err)
	}
	records, err := client.Records(ctx, Origin{}, RecordFilter{})
	if err != nil || len(records) != 1 || records[0].ID != "cart-1" {
		t.Fatalf("records: got %+v, %v, want cart-1", records, err)
	}
	if _, err := client.Topology(ctx); err != nil {
		t.Errorf("topology: %v", err)
	}
	if _, err := client.Deploy(ctx, Origin{Term: 2}, testUnit("cart-2")); ClassOf(err) != ClassFenced {
		t.Errorf("call of an older term: got %v, want class fenced", err)
	}
	for range 2 { // the second finds nothing, which is a success
		if err := client.Delete(ctx, from, "cart-1"); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if _, err := client.Status(ctx, from, "cart-1"); ClassOf(err) != ClassNotFound {
		t.Errorf("status of a deleted unit: got %v, want class not_found", err)
	}

	type seen struct {
		Name, Deployment, Key, Correlation string
		Term, Generation                   uint64
		Effect                             sim.Effect
	}
	var got []seen
	for _, c := range s.Calls(0) {
		if (c.Name == "deploy" || c.Name == "delete") && c.Term == 3 {
			got = append(got, seen{c.Name, c.Deployment, c.IdempotencyKey, c.CorrelationID, c.Term, c.Generation, c.Effect})
		}
	}
	want := []seen{
		{"deploy", "cart", "k1", "c1", 3, 5, sim.EffectCreated},
		{"deploy", "cart", "k1", "c1", 3, 5, sim.EffectUnchanged},
		{"delete", "cart", "k1", "c1", 3, 5, sim.EffectDeleted},
		{"delete", "", "k1", "c1", 3, 5, sim.EffectAbsent},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A unit that never runs is not taken for one that does, however its CRM words it
// and whatever of its calls the CRM lacks.
func TestGRPCUnitThatNeverRunsAgainstSimulator(t *testing.T) {
	t.Parallel()
	s := sim.StartFor(t, sim.Config{Name: "edge"})
	client := newTestGRPCClient(t, s.GRPCURL(), nil)
	if _, err := client.Deploy(t.Context(), Origin{Term: 1}, testUnit("cart-1")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		message string
		lacks   []string
		want    string
	}{
		"not begun with":       {"", nil, "Pending"},
		"odd words":            {"looking for the image", nil, "Pending"},
		"without a record":     {"looking for the image", []string{"record"}, "Pending"},
		"without all records":  {"looking for the image", []string{"record", "records"}, "Unknown"},
		"without known words":  {"", []string{"record", "records"}, "Unknown"},
		"more than known ones": {"Available: 0 of 1", nil, "Pending"},
	} {
		s.SetFaults(sim.Faults{Unimplemented: test.lacks, Units: []sim.UnitFault{{Condition: "Pending", Message: test.message}}})
		got, err := client.Status(t.Context(), Origin{Term: 1}, "cart-1")
		if err != nil || got.Status != test.want || got.Message == nil {
			t.Errorf("%s: got %+v, %v, want %s with a message", name, got, err, test.want)
		}
	}
	s.SetFaults(sim.Faults{Unimplemented: []string{"record", "records"}})
	if got, err := client.Status(t.Context(), Origin{Term: 1}, "cart-1"); err != nil || got.Status != "Running" {
		t.Errorf("when it runs: got %+v, %v, want Running", got, err)
	}
}
