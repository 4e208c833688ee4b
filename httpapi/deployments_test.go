package httpapi_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func observed(generation uint64, condition model.DeploymentCondition) *model.DeploymentObserved {
	return &model.DeploymentObserved{ObservedGeneration: generation, Condition: condition}
}

func unit(id, deployment, cluster, crmID string, generation uint64, phase model.UnitPhase) model.UnitStatus {
	return model.UnitStatus{
		ID: id, DeploymentKey: deployment, Cluster: cluster, CRMID: crmID, Generation: generation, Phase: phase,
		LastTransitionTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestDeploymentLifecycle(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)

	created := a.putDeployment("shop.K", "shop", "edge-2", "edge-1")
	want := `{"id":"shop.K","status":"created","message":"Deployment created successfully","generation":1}` + "\n"
	if diff := cmp.Diff(want, string(created.body)); diff != "" {
		t.Errorf("create answer (-want +got):\n%s", diff)
	}
	got := decode[model.Deployment](t, a.must(a.get(deps+"/shop.K"), 200).body)
	if got.Condition != model.DeploymentPending || got.Functions == nil || got.Generation != 1 {
		t.Errorf("stored deployment: %+v", got)
	}
	again := a.putDeployment("shop.K", "shop", "edge-2", "edge-1")
	want = `{"id":"shop.K","status":"unchanged","message":"Deployment unchanged successfully","generation":1}` + "\n"
	if diff := cmp.Diff(want, string(again.body)); diff != "" {
		t.Errorf("answer to the same again (-want +got):\n%s", diff)
	}
	a.must(a.do(call{"PUT", deps + "/shop.K", deploymentJSON("shop.K", "shop", "edge-1"), nil}), 200)
	a.must(a.do(call{"PUT", deps + "/shop.L", deploymentJSON("shop.L", "shop", "edge-1", "edge-2"), nil}), 201)

	deleted := a.must(a.do(call{"DELETE", deps + "/shop.L", "", nil}), 200)
	want = `{"message":"Deployment deleted across environments","id":"shop.L","deleted_envs":["edge-1","edge-2"]}` + "\n"
	if diff := cmp.Diff(want, string(deleted.body)); diff != "" {
		t.Errorf("delete answer (-want +got):\n%s", diff)
	}
	a.must(a.get(deps+"/shop.L"), 404)
	a.must(a.do(call{"DELETE", deps + "/shop.L", "", nil}), 404)
}

func TestUnitsAndMappings(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("cart", "shop", "edge-1", "edge-2")
	units := []model.UnitStatus{
		unit("u1", "cart", "edge-1", "cart-old", 1, model.UnitDeleting),
		unit("u2", "cart", "edge-1", "cart-new", 1, model.UnitRunning),
		unit("u3", "cart", "edge-2", "cart-2", 1, model.UnitRunning),
		unit("u4", "cart", "edge-3", "", 1, model.UnitPending),
	}
	a.record(storage.RecordUnitStatus{Deployment: "cart", Generation: 1, Put: units})

	got := decode[[]model.UnitStatus](t, a.must(a.get(deps+"/cart/units"), 200).body)
	if diff := cmp.Diff(units, got); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	for _, name := range []string{"cluster-mappings", "env-mappings"} {
		want := `{"deployment_key":"cart","cluster_ids":{"edge-1":"cart-new","edge-2":"cart-2"},"env_ids":{"edge-1":"cart-new","edge-2":"cart-2"}}` + "\n"
		if diff := cmp.Diff(want, string(a.must(a.get(deps+"/cart/"+name), 200).body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		want = `{"deployment_key":"no\"ne","cluster_ids":{},"env_ids":{}}` + "\n"
		if diff := cmp.Diff(want, string(a.must(a.get(deps+"/no%22ne/"+name), 200).body)); diff != "" {
			t.Errorf("%s of an unknown deployment (-want +got):\n%s", name, diff)
		}
	}
	a.must(a.get(deps+"/none/units"), 404)

	// deleted_envs are where units are, the targets notwithstanding.
	deleted := decode[struct {
		Envs []string `json:"deleted_envs"`
	}](t, a.must(a.do(call{"DELETE", deps + "/cart", "", nil}), 200).body)
	if diff := cmp.Diff([]string{"edge-1", "edge-2", "edge-3"}, deleted.Envs); diff != "" {
		t.Errorf("deleted_envs (-want +got):\n%s", diff)
	}
	still := decode[model.Deployment](t, a.must(a.get(deps+"/cart"), 200).body)
	if still.DeletionRequestedAt == nil {
		t.Error("a deployment with units must be marked, not gone")
	}
}

// TestWaitForDeployment plays the dispatcher while a client waits.
func TestWaitForDeployment(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		acts      []storage.RecordUnitStatus
		wait      string
		status    int
		word      string
		condition string
	}{
		{"running", []storage.RecordUnitStatus{
			{Observed: observed(1, model.DeploymentDeploying)}, {Observed: observed(1, model.DeploymentRunning)},
		}, "10s", 200, "running", "RUNNING"},
		{"down", []storage.RecordUnitStatus{{Observed: observed(1, model.DeploymentDown)}}, "10", 200, "down", "DOWN"},
		{"failed, while what ran before serves", []storage.RecordUnitStatus{
			{Observed: observed(1, model.DeploymentDeploying)}, {Observed: inPhase(model.RolloutFailed, model.DeploymentDeploying)},
		}, "10s", 200, "failed", "DEPLOYING"},
		{"given up", []storage.RecordUnitStatus{{Observed: inPhase(model.RolloutRolledBack, model.DeploymentDeploying)}}, "10s", 200, "failed", "DEPLOYING"},
		{"failed and down", []storage.RecordUnitStatus{{Observed: inPhase(model.RolloutFailed, model.DeploymentDown)}}, "10s", 200, "down", "DOWN"},
		{"too slow", []storage.RecordUnitStatus{{Observed: observed(1, model.DeploymentDeploying)}}, "300ms", 202, "deploying", "DEPLOYING"},
		{"nobody acts", nil, "50ms", 202, "deploying", "PENDING"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, options{})
			a.must(a.putPackage("shop"), 201)
			acted := make(chan error, 1)
			go func() { acted <- a.playDispatcher("d", tt.acts) }()
			got := a.must(a.do(call{"POST", deps + "?wait=" + tt.wait, deploymentJSON("d", "shop", "e1"), nil}), tt.status)
			body := decode[map[string]any](t, got.body)
			if body["id"] != "d" || body["status"] != tt.word || body["condition"] != tt.condition {
				t.Errorf("answer %s, want status %q and condition %q", got.body, tt.word, tt.condition)
			}
			if err := <-acted; err != nil {
				t.Errorf("dispatcher: %v", err)
			}
		})
	}
}

// inPhase is observed of a first generation whose rollout is in a phase.
func inPhase(phase model.RolloutPhase, condition model.DeploymentCondition) *model.DeploymentObserved {
	o := observed(1, condition)
	o.RolloutStatus = &model.RolloutStatus{Phase: phase, Generation: 1, Revision: 1}
	return o
}

// TestWaitSeesReturn: what runs after a return to an earlier revision is not what
// was waited for.
func TestWaitSeesReturn(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("d", "shop", "e1")
	a.record(storage.RecordUnitStatus{Deployment: "d", Generation: 1, Observed: observed(1, model.DeploymentRunning)})
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(call{"POST", deps + "?wait=10s", deploymentJSON("d", "shop", "e2"), nil})
		if err != nil {
			t.Errorf("put: %v", err)
		}
		done <- got
	}()
	waitFor(t, "the update is stored", func() (bool, string) {
		got := a.get(deps + "/d")
		return decode[model.Deployment](t, got.body).Generation == 2, string(got.body)
	})
	a.putDeployment("d", "shop", "e1")
	got := a.must(<-done, 200)
	if body := decode[map[string]any](t, got.body); body["status"] != "replaced" {
		t.Errorf("answer %s, want status replaced", got.body)
	}
}

// TestWaitSeesDeletion: what a deployment reported before an update that was
// never acted on, because it was deleted, is not the update's outcome.
func TestWaitSeesDeletion(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("d", "shop", "e1")
	a.record(storage.RecordUnitStatus{
		Deployment: "d", Generation: 1, Observed: observed(1, model.DeploymentRunning),
		Put: []model.UnitStatus{unit("u", "d", "e1", "x", 1, model.UnitRunning)},
	})
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(call{"POST", deps + "?wait=10s", deploymentJSON("d", "shop", "e2"), nil})
		if err != nil {
			t.Errorf("put: %v", err)
		}
		done <- got
	}()
	waitFor(t, "the update is stored", func() (bool, string) {
		got := a.get(deps + "/d")
		return decode[model.Deployment](t, got.body).Generation == 2, string(got.body)
	})
	a.must(a.do(call{"DELETE", deps + "/d", "", nil}), 200)
	got := a.must(<-done, 200)
	if body := decode[map[string]any](t, got.body); body["status"] != "deleted" {
		t.Errorf("answer %s, want status deleted", got.body)
	}
}

// playDispatcher acts on a deployment once it exists.
func (a *api) playDispatcher(key string, acts []storage.RecordUnitStatus) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	watcher, err := a.store.Watch(ctx, storage.WatchOptions{Kinds: []storage.Kind{storage.KindDeployment}})
	if err != nil {
		return err
	}
	defer watcher.Close()
	exists := false
	if _, err := a.store.View(ctx, storage.ReadOptions{}, func(r storage.Reader) error {
		doc, err := r.Get(storage.DeploymentKey(key))
		exists = doc != nil
		return err
	}); err != nil {
		return err
	}
	if !exists {
		if _, _, err := watcher.Next(ctx); err != nil {
			return err
		}
	}
	for i, act := range acts {
		act.Deployment, act.Generation = key, 1
		if _, err := a.store.Apply(ctx, storage.Request{Command: act}); err != nil {
			return fmt.Errorf("act %d: %w", i, err)
		}
	}
	return nil
}

func TestWaitForDeletion(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	for _, key := range []string{"d", "e"} {
		a.putDeployment(key, "shop", "e1")
		a.record(storage.RecordUnitStatus{Deployment: key, Generation: 1, Put: []model.UnitStatus{unit("u", key, "e1", "x", 1, model.UnitRunning)}})
	}
	got := a.must(a.do(call{"DELETE", deps + "/e?wait=50ms", "", nil}), 202)
	if body := decode[map[string]any](t, got.body); body["message"] != "Deployment is being deleted across environments" {
		t.Errorf("answer %s", got.body)
	}
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(call{"DELETE", deps + "/d?wait=10s", "", nil})
		if err != nil {
			t.Errorf("delete: %v", err)
		}
		done <- got
	}()
	var marked model.Deployment
	waitFor(t, "the deployment is marked deleted", func() (bool, string) {
		got := a.get(deps + "/d")
		marked = decode[model.Deployment](t, got.body)
		return marked.DeletionRequestedAt != nil, string(got.body)
	})
	a.record(storage.RecordUnitStatus{Deployment: "d", Generation: marked.Generation, Remove: []storage.UnitRef{{Cluster: "e1", Unit: "u"}}, Forget: true})
	a.must(<-done, 200)
}

func TestWaitEndsWithShutdown(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(call{"POST", deps + "?wait=4m", deploymentJSON("d", "shop", "e1"), nil})
		if err != nil {
			t.Errorf("post: %v", err)
		}
		done <- got
	}()
	waitFor(t, "the deployment is stored", func() (bool, string) {
		got := a.get(deps + "/d")
		return got.status == 200, string(got.body)
	})
	a.stop()
	a.must(<-done, 202)
}

func TestEmbeddedDeployments(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	yaml := []string{"Content-Type: application/yaml"}
	a.must(a.do(call{"POST", pkgs, exampleYAML(t), yaml}), 201)
	if got := decode[model.Package](t, a.get(pkgs+"/echo").body); len(got.Deployments) != 0 || *got.Version != "1.0" {
		t.Errorf("stored package: %+v", got)
	}
	a.must(a.get(deps+"/Echo"), 404)

	got := a.must(a.do(call{"POST", pkgs + "/echo?apply_deployments=true", exampleYAML(t), yaml}), 200)
	want := `{"id":"echo","status":"unchanged","message":"Package unchanged successfully","deployments":[{"id":"Echo","status":"created"}]}` + "\n"
	if diff := cmp.Diff(want, string(got.body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if got := got.header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag %s, want that of the package", got)
	}
	stored := decode[model.Deployment](t, a.must(a.get(deps+"/Echo"), 200).body)
	if diff := cmp.Diff([]string{"oaas-1", "oaas-2"}, stored.TargetEnvs); diff != "" || stored.PackageName != "echo" {
		t.Errorf("stored deployment %+v", stored)
	}

	// A bad deployment stops everything, the package too.
	bad := `{"name":"half","classes":[{"key":"A"}],"deployments":[{"key":"h1","class_key":"A"},{"key":"h2","class_key":"Z"}]}`
	failed := a.must(a.do(call{"POST", pkgs + "?apply_deployments=true", bad, nil}), 400)
	body := decode[errorBody](t, failed.body)
	if body.Code != "invalid" {
		t.Errorf("error %s", failed.body)
	}
	a.must(a.get(pkgs+"/half"), 404)
	a.must(a.get(deps+"/h1"), 404)
}

func TestRuntimeStates(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	doc := `{"key":"r1","class_key":"K","deployment_id":"d1","status":"RUNNING","health":"HEALTHY","metrics":{"cpu_usage":0.5}}`
	created := a.must(a.do(call{"PUT", rts + "/r1", doc, nil}), 201)
	if body := decode[map[string]any](t, created.body); body["id"] != "r1" || body["status"] != "created" {
		t.Errorf("answer %s", created.body)
	}
	a.must(a.do(call{"PUT", rts + "/r1", doc, []string{"If-Match: " + created.header.Get("ETag")}}), 200)
	a.must(a.do(call{"PUT", rts + "/r1", doc, []string{`If-Match: "77"`}}), 412)
	got := decode[model.RuntimeState](t, a.must(a.get(rts+"/r1"), 200).body)
	if got.Metrics.CPUUsage != 0.5 || got.DeploymentID != "d1" {
		t.Errorf("stored state %+v", got)
	}
	if diff := cmp.Diff([]string{"r1"}, names(t, a.must(a.get(rts), 200).body)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	a.must(a.get(rts+"/none"), 404)
}

// TestDeleteCascadeByDefault: a node can be set up to cascade where the request
// does not say.
func TestDeleteCascadeByDefault(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.DeleteCascade = true }})
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("shop.K", "shop", "edge-1")
	a.must(a.do(call{"DELETE", pkgs + "/shop?cascade=false", "", nil}), 409)
	a.must(a.do(call{"DELETE", pkgs + "/shop", "", nil}), 204)
	a.must(a.get(deps+"/shop.K"), 404)
}
