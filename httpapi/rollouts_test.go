package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// recordRevision keeps what the deployment asks for now as a revision, as the
// dispatcher does.
func (a *api) recordRevision(key string, number uint64, template string, good bool) {
	a.t.Helper()
	d := decode[model.Deployment](a.t, a.must(a.get(deps+"/"+key), 200).body)
	at := time.Date(2026, 1, 2, 3, 0, int(number), 0, time.UTC)
	r := model.Revision{Revision: number, DeploymentKey: key, Generation: d.Generation, Template: template, CreatedAt: at, Deployment: d}
	if good {
		r.GoodSince = &at
	}
	a.apply(storage.RecordUnitStatus{Deployment: key, Generation: d.Generation, Revision: &r, KeepRevisionsFrom: 1,
		Observed: &model.DeploymentObserved{ObservedGeneration: d.Generation, Condition: model.DeploymentRunning, Revision: number}})
}

// throughput makes a deployment whose wish is told apart by one number.
func throughput(key string, rps int) string {
	return fmt.Sprintf(`{"key":%q,"package_name":"shop","class_key":"K","target_envs":["edge-1"],"nfr_requirements":{"min_throughput_rps":%d}}`, key, rps)
}

func (a *api) wish(key string) (rps uint32, paused bool) {
	a.t.Helper()
	d := decode[model.Deployment](a.t, a.must(a.get(deps+"/"+key), 200).body)
	return *d.NFRRequirements.MinThroughputRPS, d.Rollout != nil && d.Rollout.Paused
}

// threeRevisions stores a deployment whose revisions 1 and 3 ran, 2 did not, and
// 4, the present one, does not either.
func (a *api) threeRevisions(key string) {
	for i, good := range []bool{true, false, true, false} {
		a.must(a.do(call{"PUT", deps + "/" + key, throughput(key, (i+1)*10), nil}), []int{201, 200, 200, 200}[i])
		a.recordRevision(key, uint64(i+1), fmt.Sprintf("t%d", i+1), good)
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.threeRevisions("d")
	list := decode[[]model.Revision](t, a.must(a.get(deps+"/d/revisions"), 200).body)
	if len(list) != 4 || list[0].Revision != 1 || list[3].Revision != 4 || list[2].GoodSince == nil || list[3].GoodSince != nil {
		t.Errorf("revisions: %+v", list)
	}
	one := decode[model.Revision](t, a.must(a.get(deps+"/d/revisions/3"), 200).body)
	if one.Revision != 3 || *one.Deployment.NFRRequirements.MinThroughputRPS != 30 {
		t.Errorf("revision 3: %+v", one)
	}
	a.must(a.get(deps+"/d/revisions/9"), 404)
	a.must(a.get(deps+"/none/revisions"), 404)
	a.must(a.get(deps+"/none/revisions/1"), 404)
}

func TestRollback(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	for i, test := range []struct {
		name, body       string
		status           int
		rps              uint32
		word             string
		revision, rounds int
	}{
		{"to the last good one", "", 200, 30, "rolled_back", 3, 1},
		{"to the last good one, in words", `{"revision":0}`, 200, 30, "rolled_back", 3, 1},
		{"to one by number", `{"revision":2}`, 200, 20, "rolled_back", 2, 1},
		{"to the present one", `{"revision":4}`, 200, 40, "unchanged", 4, 1},
		{"to one that is not kept", `{"revision":9}`, 404, 40, "", 0, 1},
		{"twice by number", `{"revision":1}`, 200, 10, "unchanged", 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := fmt.Sprintf("d%d", i)
			a.threeRevisions(key)
			var got answer
			for range test.rounds {
				got = a.must(a.do(call{"POST", deps + "/" + key + "/rollback", test.body, nil}), test.status)
			}
			if rps, _ := a.wish(key); rps != test.rps {
				t.Errorf("asks for %d, want %d", rps, test.rps)
			}
			if test.status == 200 {
				subset(t, "answer", map[string]any{"id": key, "status": test.word, "revision": float64(test.revision)}, decode[any](t, got.body))
			}
		})
	}
	a.must(a.do(call{"POST", deps + "/none/rollback", "", nil}), 404)
	a.must(a.do(call{"PUT", deps + "/fresh", throughput("fresh", 1), nil}), 201)
	if got := a.must(a.do(call{"POST", deps + "/fresh/rollback", "", nil}), 409); !strings.Contains(string(got.body), "no earlier revision") {
		t.Errorf("rollback without revisions: %s", got.body)
	}
}

// A rollback keeps how changes are made, and ends a pause.
func TestRollbackKeepsSettings(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"PUT", deps + "/d", throughput("d", 10), nil}), 201)
	a.recordRevision("d", 1, "t1", true)
	changed := strings.TrimSuffix(throughput("d", 20), "}") + `,"rollout":{"wave":"25%","paused":true},"failover":{"enabled":true}}`
	a.must(a.do(call{"PUT", deps + "/d", changed, nil}), 200)
	a.must(a.do(call{"POST", deps + "/d/rollback", "", nil}), 200)
	d := decode[model.Deployment](t, a.must(a.get(deps+"/d"), 200).body)
	if *d.NFRRequirements.MinThroughputRPS != 10 || d.Rollout == nil || d.Rollout.Paused || *d.Rollout.Wave != "25%" || d.Failover == nil || !d.Failover.Enabled {
		t.Errorf("afterwards: %+v rollout %+v failover %+v", d.NFRRequirements, d.Rollout, d.Failover)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"PUT", deps + "/d", throughput("d", 10), nil}), 201)
	before := decode[map[string]any](t, a.get(deps+"/d").body)
	for _, step := range []struct {
		action, word string
		paused       bool
	}{{"pause", "paused", true}, {"pause", "unchanged", true}, {"resume", "resumed", false}, {"resume", "unchanged", false}} {
		got := a.must(a.do(call{"POST", deps + "/d/" + step.action, "", nil}), 200)
		if word := decode[map[string]any](t, got.body)["status"]; word != step.word {
			t.Errorf("%s: %v, want %s", step.action, word, step.word)
		}
		if _, paused := a.wish("d"); paused != step.paused {
			t.Errorf("after %s: paused %v", step.action, paused)
		}
	}
	after := decode[map[string]any](t, a.get(deps+"/d").body)
	if diff := cmp.Diff(before["rollout"], after["rollout"]); diff != "" {
		t.Errorf("rollout (-before +after):\n%s", diff)
	}
	a.must(a.do(call{"POST", deps + "/none/pause", "", nil}), 404)
	a.must(a.do(call{"POST", deps + "/d/pause", "", []string{`If-Match: "1"`}}), 412)
	// A change would take a delete back.
	a.apply(storage.RecordUnitStatus{Deployment: "d", Generation: 3, Put: []model.UnitStatus{{ID: "u", DeploymentKey: "d", Cluster: "edge-1", Phase: model.UnitRunning}}})
	a.must(a.do(call{"DELETE", deps + "/d", "", nil}), 200)
	a.must(a.do(call{"POST", deps + "/d/pause", "", nil}), 409)
	a.must(a.do(call{"POST", deps + "/d/rollback", "", nil}), 409)
}

// A rollout that failed stays failed for its generation: to resume it makes
// another one, with the same content.
func TestResumeTriesAFailedRolloutAgain(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.must(a.do(call{"PUT", deps + "/d", throughput("d", 10), nil}), 201)
	fail := func() model.Deployment {
		d := decode[model.Deployment](t, a.must(a.get(deps+"/d"), 200).body)
		a.apply(storage.RecordUnitStatus{Deployment: "d", Generation: d.Generation, Observed: &model.DeploymentObserved{
			ObservedGeneration: d.Generation, Condition: model.DeploymentDeploying,
			RolloutStatus: &model.RolloutStatus{Phase: model.RolloutFailed, Generation: d.Generation, Revision: 1, Total: 1},
		}})
		return decode[model.Deployment](t, a.must(a.get(deps+"/d"), 200).body)
	}
	for _, condition := range []string{"", "the present version"} {
		before := fail()
		var headers []string
		if condition != "" {
			headers = []string{fmt.Sprintf("If-Match: \"%d\"", before.ResourceVersion)}
		}
		got := a.must(a.do(call{"POST", deps + "/d/resume", "", headers}), 200)
		if word := decode[map[string]any](t, got.body)["status"]; word != "resumed" {
			t.Errorf("if-match %q: %v, want resumed", condition, word)
		}
		after := decode[model.Deployment](t, a.must(a.get(deps+"/d"), 200).body)
		if rps, paused := a.wish("d"); rps != 10 || paused || after.Generation <= before.Generation {
			t.Errorf("if-match %q: throughput %d, paused %v, generation %d after %d", condition, rps, paused, after.Generation, before.Generation)
		}
	}
	// What failed was another generation: there is nothing to try again.
	got := a.must(a.do(call{"POST", deps + "/d/resume", "", nil}), 200)
	if word := decode[map[string]any](t, got.body)["status"]; word != "unchanged" {
		t.Errorf("again: %v, want unchanged", word)
	}
	fail()
	a.must(a.do(call{"POST", deps + "/d/resume", "", []string{`If-Match: "1"`}}), 412)
}

// TestDeleteFromOneCluster takes a deployment off one of its targets.
func TestDeleteFromOneCluster(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		a.must(a.do(call{"POST", clusters, fmt.Sprintf(`{"name":%q,"base_url":"http://crm:8088"}`, name), nil}), 201)
	}
	a.must(a.do(call{"PUT", deps + "/d", `{"key":"d","package_name":"shop","class_key":"K","target_envs":["edge-1","edge-2","edge-3"],
	  "env_templates":{"edge-1":"dev","edge-2":"edge"},"odgm":{"env_node_ids":{"edge-1":[1],"edge-2":[2]}}}`, nil}), 201)
	got := a.must(a.do(call{"DELETE", deps + "/d?cluster=edge-1", "", nil}), 200)
	want := `{"message":"Deployment deleted from cluster edge-1","id":"d","deleted_envs":["edge-1"]}` + "\n"
	if diff := cmp.Diff(want, string(got.body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	d := decode[model.Deployment](t, a.must(a.get(deps+"/d"), 200).body)
	if diff := cmp.Diff([]string{"edge-2", "edge-3"}, d.TargetEnvs); diff != "" || d.EnvTemplates["edge-1"] != "" || d.ODGM.EnvNodeIDs["edge-1"] != nil {
		t.Errorf("afterwards: %v %v %v", d.TargetEnvs, d.EnvTemplates, d.ODGM.EnvNodeIDs)
	}
	// Again: it is not there, which is what was asked for.
	a.must(a.do(call{"DELETE", deps + "/d?cluster=edge-1", "", nil}), 200)
	a.must(a.do(call{"DELETE", deps + "/d?env=edge-2", "", nil}), 200)
	a.must(a.do(call{"POST", clusters, `{"name":"edge-9","base_url":"http://crm:9","environments":["edge"]}`, nil}), 201)
	a.putDeployment("byenv", "shop", "edge", "edge-2")
	for _, test := range []struct{ name, path, says string }{
		{"the only target", deps + "/d?cluster=edge-3", "only target"},
		{"a target by environment", deps + "/byenv?cluster=edge-9", "does not name cluster"},
		{"a deployment that names no targets", deps + "/free?cluster=edge-1", "does not name cluster"},
	} {
		a.do(call{"PUT", deps + "/free", `{"key":"free","package_name":"shop","class_key":"K"}`, nil})
		if got := a.must(a.do(call{"DELETE", test.path, "", nil}), 409); !strings.Contains(string(got.body), test.says) {
			t.Errorf("%s: %s", test.name, got.body)
		}
	}
	a.must(a.do(call{"DELETE", deps + "/none?cluster=edge-1", "", nil}), 404)
	// A typing error is not success.
	a.must(a.do(call{"DELETE", deps + "/d?cluster=egde-1", "", nil}), 404)
	a.must(a.do(call{"DELETE", deps + "/d?cluster=a&env=b", "", nil}), 400)
}

// With ?wait= the answer comes when the unit is gone, or says that it is not.
func TestDeleteFromOneClusterWaits(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("d", "shop", "edge-1", "edge-2")
	a.apply(storage.RecordUnitStatus{Deployment: "d", Generation: 1, Put: []model.UnitStatus{
		{ID: "u1", DeploymentKey: "d", Cluster: "edge-1", Phase: model.UnitRunning}, {ID: "u2", DeploymentKey: "d", Cluster: "edge-2", Phase: model.UnitRunning},
	}})
	a.must(a.do(call{"DELETE", deps + "/d?cluster=edge-1&wait=50ms", "", nil}), 202)
	done := make(chan answer, 1)
	go func() { done <- a.do(call{"DELETE", deps + "/d?cluster=edge-1&wait=10s", "", nil}) }()
	waitFor(t, "a waiting request", func() (bool, string) {
		n := a.metric("oprc_http_waiters")
		return n == "1", n
	})
	a.apply(storage.RecordUnitStatus{Deployment: "d", Generation: 2, Remove: []storage.UnitRef{{Cluster: "edge-1", Unit: "u1"}}})
	a.must(<-done, 200)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.addCluster("edge-1", "http://crm:1")
	a.must(a.putPackage("shop"), 201)
	a.putDeployment("d", "shop", "edge-1")
	old := time.Now().Add(-2 * time.Hour).UTC()
	a.apply(storage.RecordEvents{Events: []model.Event{
		{At: old, Type: model.EventNormal, Kind: "deployment", Name: "d", Reason: "Placed"},
		{At: old, Type: model.EventWarning, Kind: "cluster", Name: "edge-1", Reason: "ClusterUnhealthy"},
		{At: old.Add(time.Hour), Type: model.EventAlarm, Kind: "cluster", Name: "edge-1", Reason: "FailoverBraked"},
		{At: old.Add(110 * time.Minute), Type: model.EventNormal, Kind: "deployment", Name: "gone", Reason: "DeploymentDeleted"},
	}})
	const events = "/api/v1/events"
	for path, want := range map[string]string{
		events:                               "1 2 3 4",
		events + "?limit=2":                  "3 4",
		events + "?kind=cluster":             "2 3",
		events + "?kind=cluster&name=edge-1": "2 3",
		events + "?name=d":                   "1",
		events + "?type=Alarm":               "3",
		events + "?reason=Placed":            "1",
		events + "?since=2":                  "3 4",
		events + "?since=90m":                "3 4",
		events + "?since=" + old.Add(time.Second).Format(time.RFC3339): "3 4",
		deps + "/d/events":                              "1",
		deps + "/gone/events":                           "4",
		clusters + "/edge-1/events":                     "2 3",
		clusters + "/edge-1/events?type=Alarm&limit=10": "3",
		clusters + "/edge-1/events?reason=None":         "",
	} {
		var got []string
		for _, e := range decode[[]model.Event](t, a.must(a.get(path), 200).body) {
			got = append(got, fmt.Sprint(e.Sequence))
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	a.must(a.get(deps+"/never/events"), 404)
	a.must(a.get(clusters+"/never/events"), 404)
}

// A return to the revision that runs changes nothing but a pause: the functions
// of a deployment that follows its package are not written into it. One that has
// failed is tried again.
func TestRollbackToWhatRuns(t *testing.T) {
	t.Parallel()
	a := start(t, options{})
	a.must(a.putPackage("shop"), 201)
	for _, test := range []struct {
		phase  model.RolloutPhase
		paused bool
		word   string
		nailed bool
	}{
		{model.RolloutComplete, false, "unchanged", false},
		{model.RolloutProgressing, false, "unchanged", false},
		{model.RolloutPaused, true, "rolled_back", false},
		{model.RolloutFailed, false, "rolled_back", true},
		{model.RolloutRolledBack, false, "rolled_back", true},
	} {
		t.Run(string(test.phase), func(t *testing.T) {
			key := string(test.phase)
			wish := strings.TrimSuffix(throughput(key, 10), "}") + fmt.Sprintf(`,"rollout":{"wave":"1","paused":%v}}`, test.paused)
			a.must(a.do(call{"PUT", deps + "/" + key, wish, nil}), 201)
			d := decode[model.Deployment](t, a.must(a.get(deps+"/"+key), 200).body)
			kept := d
			kept.Functions = []model.FunctionDeploymentSpec{{FunctionKey: "f"}}
			a.apply(storage.RecordUnitStatus{Deployment: key, Generation: d.Generation, KeepRevisionsFrom: 1,
				Revision: &model.Revision{Revision: 1, DeploymentKey: key, Generation: d.Generation, Template: "t", Deployment: kept},
				Observed: &model.DeploymentObserved{ObservedGeneration: d.Generation, Condition: model.DeploymentRunning, Revision: 1,
					RolloutStatus: &model.RolloutStatus{Phase: test.phase, Generation: d.Generation, Revision: 1}}})
			got := a.must(a.do(call{"POST", deps + "/" + key + "/rollback", `{"revision":1}`, nil}), 200)
			subset(t, "answer", map[string]any{"status": test.word, "revision": 1.0}, decode[any](t, got.body))
			d = decode[model.Deployment](t, a.must(a.get(deps+"/"+key), 200).body)
			if nailed := len(d.Functions) > 0; nailed != test.nailed || d.Rollout == nil || d.Rollout.Paused {
				t.Errorf("functions %v, rollout %+v", d.Functions, d.Rollout)
			}
		})
	}
}
