package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

var (
	before = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later  = before.Add(time.Minute)
)

// rec makes a record of unit id in cluster; accepted unless pending.
func rec(cluster, id string, phase model.UnitPhase) model.UnitStatus {
	r := model.UnitStatus{ID: id, DeploymentKey: "d", Cluster: cluster, Generation: 1, Phase: phase, LastTransitionTime: before}
	if phase != model.UnitPending {
		r.CRMID = id
	}
	return r
}

func ofGeneration(generation uint64, r model.UnitStatus) model.UnitStatus {
	r.Generation = generation
	return r
}

func neverAccepted(r model.UnitStatus) model.UnitStatus {
	r.CRMID = ""
	return r
}

// planOf makes a plan of units given as cluster, id, cluster, id...
func planOf(pairs ...string) Plan {
	var plan Plan
	for i := 0; i < len(pairs); i += 2 {
		plan.Units = append(plan.Units, model.DeploymentUnit{
			ID: pairs[i+1], DeploymentKey: "d", TargetCluster: pairs[i], TargetEnv: pairs[i], Generation: 2,
		})
	}
	return plan
}

// brief shows records as "cluster/id PHASE".
func brief(records []model.UnitStatus) []string {
	var texts []string
	for _, r := range records {
		texts = append(texts, fmt.Sprintf("%s/%s %s", r.Cluster, r.ID, r.Phase))
	}
	return texts
}

func TestDiff(t *testing.T) {
	t.Parallel()
	const (
		pending, deploying, running, down, deleting = model.UnitPending, model.UnitDeploying, model.UnitRunning, model.UnitDown, model.UnitDeleting
	)
	cases := map[string]struct {
		wish wish
		have []model.UnitStatus
		want []string
	}{
		"nothing": {},
		"new": {
			wish: wish{plan: planOf("b", "u2", "a", "u1")},
			want: []string{"a/u1 PENDING", "b/u2 PENDING"},
		},
		"steady": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", running)},
			want: []string{"a/u1 RUNNING"},
		},
		"down stays wanted": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", down)},
			want: []string{"a/u1 DOWN"},
		},
		"changed: the new one is made first": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{rec("a", "u1", running)},
			want: []string{"a/u1 RUNNING", "a/u2 PENDING"},
		},
		"changed: the old one stays while the new one comes up": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u2", deploying)},
			want: []string{"a/u1 RUNNING", "a/u2 DEPLOYING"},
		},
		"changed: the old one stays when the new one is down": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u2", down)},
			want: []string{"a/u1 RUNNING", "a/u2 DOWN"},
		},
		"changed: the old one goes when the new one runs": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u2", running)},
			want: []string{"a/u1 DELETING", "a/u2 RUNNING"},
		},
		"changed: a new one elsewhere does not count": {
			wish: wish{plan: planOf("a", "u2", "b", "u3")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u3", running)},
			want: []string{"a/u1 RUNNING", "a/u2 PENDING", "b/u3 RUNNING"},
		},
		"changed before it was accepted": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{rec("a", "u1", pending)},
			want: []string{"a/u1 DELETING", "a/u2 PENDING"},
		},
		"changed again: of the old ones the one that runs stays": {
			wish: wish{plan: planOf("a", "u4")},
			have: []model.UnitStatus{rec("a", "u1", down), rec("a", "u2", running), rec("a", "u3", deploying)},
			want: []string{"a/u1 DELETING", "a/u2 RUNNING", "a/u3 DELETING", "a/u4 PENDING"},
		},
		"changed again: when no old one runs, the oldest stays": {
			wish: wish{plan: planOf("a", "u3", "b", "u5")},
			have: []model.UnitStatus{
				ofGeneration(2, rec("a", "u1", deploying)), ofGeneration(1, rec("a", "u2", down)), rec("b", "u4", down),
			},
			want: []string{"a/u1 DELETING", "a/u2 DOWN", "a/u3 PENDING", "b/u4 DOWN", "b/u5 PENDING"},
		},
		"changed after it was refused": {
			wish: wish{plan: planOf("a", "u2")},
			have: []model.UnitStatus{neverAccepted(rec("a", "u1", down))},
			want: []string{"a/u1 DELETING", "a/u2 PENDING"},
		},
		"target removed": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", running)},
			want: []string{"a/u1 RUNNING", "b/u2 DELETING"},
		},
		"target no longer configured": {
			wish: wish{plan: Plan{Units: planOf("a", "u1").Units, UnknownEnvs: []string{"z"}}},
			have: []model.UnitStatus{rec("a", "u1", running), rec("z", "u2", running)},
			want: []string{"a/u1 RUNNING", "z/u2 RUNNING"},
		},
		"no plan: everything stays": {
			wish: wish{unplanned: true},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", pending), rec("c", "u3", deleting)},
			want: []string{"a/u1 RUNNING", "b/u2 PENDING", "c/u3 DELETING"},
		},
		"deleting": {
			wish: wish{deleting: true},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", pending), rec("c", "u3", deleting)},
			want: []string{"a/u1 DELETING", "b/u2 DELETING", "c/u3 DELETING"},
		},
		"wanted again": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", deleting)},
			want: []string{"a/u1 PENDING"},
		},
		"back to the old content": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", deleting), rec("a", "u2", running)},
			want: []string{"a/u1 PENDING", "a/u2 RUNNING"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.wish.configured = map[string]bool{"a": true, "b": true, "c": true}
			got := diff(c.wish, c.have, later)
			if !slices.Equal(brief(got), c.want) {
				t.Errorf("got %v, want %v", brief(got), c.want)
			}
			again := diff(c.wish, got, later.Add(time.Hour))
			if put, remove := changes(got, again); len(put)+len(remove) != 0 {
				t.Errorf("a second look changes %v and removes %v, want nothing", brief(put), remove)
			}
			for _, r := range got {
				if old, exists := findUnit(c.have, refOf(r)); exists && old.Phase == r.Phase && !r.LastTransitionTime.Equal(before) {
					t.Errorf("%s: transition time moved without a transition", r.ID)
				}
			}
		})
	}
}

func TestDiffNamesMissingCluster(t *testing.T) {
	t.Parallel()
	got := diff(wish{deleting: true}, []model.UnitStatus{rec("z", "u1", model.UnitRunning)}, later)
	if got[0].LastError != notConfigured || got[0].Phase != model.UnitDeleting {
		t.Errorf("got %+v, want DELETING and an error", got[0])
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	have := []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitRunning), rec("b", "u3", model.UnitRunning)}
	next := []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitDown), rec("c", "u4", model.UnitPending)}
	put, remove := changes(have, next)
	if got, want := brief(put), []string{"b/u2 DOWN", "c/u4 PENDING"}; !slices.Equal(got, want) {
		t.Errorf("put: got %v, want %v", got, want)
	}
	if len(remove) != 1 || remove[0].Unit != "u3" {
		t.Errorf("remove: got %v, want u3", remove)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	whole := storage.RecordUnitStatus{Deployment: "d", Generation: 3, Observed: &model.DeploymentObserved{}}
	for i := range 2*maxRecords + 7 {
		whole.Put = append(whole.Put, rec("a", fmt.Sprint(i), model.UnitPending))
		whole.Remove = append(whole.Remove, storage.UnitRef{Cluster: "b", Unit: fmt.Sprint(i)})
	}
	var joined storage.RecordUnitStatus
	parts := split(whole)
	for i, part := range parts {
		if n := len(part.Put) + len(part.Remove); n > maxRecords || n == 0 {
			t.Errorf("part %d: got %d records, want 1 to %d", i, n, maxRecords)
		}
		if last := i == len(parts)-1; (part.Observed != nil) != last || part.Deployment != "d" || part.Generation != 3 {
			t.Errorf("part %d: got %+v, want the observed state in the last alone", i, part.Observed)
		}
		joined.Put, joined.Remove = append(joined.Put, part.Put...), append(joined.Remove, part.Remove...)
	}
	if !slices.Equal(joined.Put, whole.Put) || !slices.Equal(joined.Remove, whole.Remove) {
		t.Error("the parts are not the whole")
	}
	if got := split(storage.RecordUnitStatus{Deployment: "d", Forget: true}); len(got) != 1 || !got[0].Forget {
		t.Errorf("small: got %+v, want it as it is", got)
	}
}

// TestOutcomesAreSafeToRepeat: when only a part of a command was committed, the
// same outcomes meet records that they have moved already.
func TestOutcomesAreSafeToRepeat(t *testing.T) {
	t.Parallel()
	outcomes := []outcome{
		{call: callDeploy, crmID: "u"},
		{call: callDeploy, err: &CallError{Class: ClassRetryable, Reason: "r"}},
		{call: callDeploy, err: &CallError{Class: ClassTerminal, Reason: "r"}},
		{call: callStatus, condition: "Running"},
		{call: callStatus, condition: "Failed"},
		{call: callStatus, err: &CallError{Class: ClassNotFound, Reason: "r"}},
		{call: callDelete, err: &CallError{Class: ClassRetryable, Reason: "r"}},
	}
	phases := []model.UnitPhase{model.UnitPending, model.UnitDeploying, model.UnitRunning, model.UnitDown, model.UnitDeleting}
	for _, phase := range phases {
		for _, o := range outcomes {
			once, _ := applyOutcome(rec("a", "u", phase), o, later)
			twice, gone := applyOutcome(once, o, later.Add(time.Hour))
			if gone || !sameUnit(once, twice) {
				t.Errorf("%s, %s %s %v: got %+v after two, %+v after one", phase, o.call, o.condition, o.err, twice, once)
			}
		}
	}
}

func TestNextCall(t *testing.T) {
	t.Parallel()
	refused := rec("a", "u", model.UnitDown)
	refused.CRMID = ""
	cases := []struct {
		record model.UnitStatus
		wanted bool
		want   string
	}{
		{rec("a", "u", model.UnitPending), true, callDeploy},
		{rec("a", "u", model.UnitPending), false, ""},
		{rec("a", "u", model.UnitDeploying), false, callStatus},
		{rec("a", "u", model.UnitRunning), true, callStatus},
		{rec("a", "u", model.UnitDown), true, callStatus},
		{refused, true, callDeploy},
		{refused, false, ""},
		{rec("a", "u", model.UnitDeleting), true, callDelete},
	}
	for _, c := range cases {
		if got := nextCall(c.record, c.wanted); got != c.want {
			t.Errorf("%s, wanted %v: got %q, want %q", c.record.Phase, c.wanted, got, c.want)
		}
	}
}

func TestApplyOutcome(t *testing.T) {
	t.Parallel()
	failed := func(class Class) error { return &CallError{Class: class, Reason: "reason"} }
	withError := func(r model.UnitStatus, text string) model.UnitStatus { r.LastError = text; return r }
	pending, running := rec("a", "u", model.UnitPending), rec("a", "u", model.UnitRunning)
	deploying, deleting := rec("a", "u", model.UnitDeploying), rec("a", "u", model.UnitDeleting)
	cases := map[string]struct {
		record  model.UnitStatus
		outcome outcome
		phase   model.UnitPhase
		err     string
		crmID   string
		gone    bool
	}{
		"accepted": {record: withError(pending, "x"), outcome: outcome{call: callDeploy, crmID: "c7"}, phase: "DEPLOYING", crmID: "c7"},
		"deploy fails": {record: pending, outcome: outcome{call: callDeploy, err: failed(ClassRetryable)},
			phase: "PENDING", err: "deploy: reason"},
		"deploy fails as before": {record: withError(pending, "old text"),
			outcome: outcome{call: callDeploy, err: failed(ClassRetryable), repeated: true}, phase: "PENDING", err: "old text"},
		"deploy is refused": {record: pending, outcome: outcome{call: callDeploy, err: failed(ClassTerminal)},
			phase: "DOWN", err: "deploy: reason"},
		"deploy is fenced": {record: pending, outcome: outcome{call: callDeploy, err: failed(ClassFenced)},
			phase: "PENDING", err: "deploy: reason"},
		"deploy is canceled": {record: pending, outcome: outcome{call: callDeploy, err: failed(ClassCanceled)}, phase: "PENDING"},
		"foreign error":      {record: pending, outcome: outcome{call: callDeploy, err: errors.New("odd")}, phase: "PENDING", err: "deploy: odd"},
		"runs":               {record: deploying, outcome: outcome{call: callStatus, condition: "Running"}, phase: "RUNNING", crmID: "u"},
		"still on its way":   {record: deploying, outcome: outcome{call: callStatus, condition: "Pending"}, phase: "DEPLOYING", crmID: "u"},
		"scales":             {record: deploying, outcome: outcome{call: callStatus, condition: "SCALING"}, phase: "RUNNING", crmID: "u"},
		"fails":              {record: running, outcome: outcome{call: callStatus, condition: "Failed"}, phase: "DOWN", crmID: "u"},
		"unknown condition":  {record: running, outcome: outcome{call: callStatus, condition: "Unknown"}, phase: "RUNNING", crmID: "u"},
		"recovers":           {record: withError(running, "x"), outcome: outcome{call: callStatus, condition: "Running"}, phase: "RUNNING", crmID: "u"},
		"cannot be asked": {record: running, outcome: outcome{call: callStatus, err: failed(ClassRetryable)},
			phase: "RUNNING", err: "status: reason", crmID: "u"},
		"was lost": {record: running, outcome: outcome{call: callStatus, err: failed(ClassNotFound)}, phase: "PENDING"},
		"deleted":  {record: deleting, outcome: outcome{call: callDelete}, phase: "DELETING", crmID: "u", gone: true},
		"deleted, but a deploy may arrive": {record: deleting, outcome: outcome{call: callDelete, uncertain: true},
			phase: "DELETING", crmID: "u"},
		"delete fails": {record: deleting, outcome: outcome{call: callDelete, err: failed(ClassRetryable)},
			phase: "DELETING", err: "delete: reason", crmID: "u"},
		"delete is refused": {record: deleting, outcome: outcome{call: callDelete, err: failed(ClassTerminal)},
			phase: "DELETING", err: "delete: reason", crmID: "u"},
		"accepted when no longer wanted": {record: deleting, outcome: outcome{call: callDeploy, crmID: "c7"}, phase: "DELETING", crmID: "c7"},
		"deleted when wanted again":      {record: pending, outcome: outcome{call: callDelete}, phase: "PENDING"},
		"asked when no longer wanted":    {record: deleting, outcome: outcome{call: callStatus, condition: "Failed"}, phase: "DELETING", crmID: "u"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, gone := applyOutcome(c.record, c.outcome, later)
			if got.Phase != c.phase || got.LastError != c.err || got.CRMID != c.crmID || gone != c.gone {
				t.Errorf("got %s, error %q, crm id %q, gone %v; want %s, %q, %q, %v",
					got.Phase, got.LastError, got.CRMID, gone, c.phase, c.err, c.crmID, c.gone)
			}
			if moved := got.LastTransitionTime.Equal(later); moved != (got.Phase != c.record.Phase) {
				t.Errorf("transition time: moved %v with phases %s to %s", moved, c.record.Phase, got.Phase)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	d := model.Deployment{Key: "d"}
	d.Generation = 4
	failing := rec("b", "u2", model.UnitPending)
	failing.LastError = "deploy: reason"
	refused := rec("b", "u2", model.UnitDown)
	refused.CRMID, refused.LastError = "", "deploy: refused"
	both := wish{plan: planOf("a", "u1", "b", "u2")}
	cases := map[string]struct {
		wish      wish
		planErr   *PlanError
		units     []model.UnitStatus
		condition model.DeploymentCondition
		verdicts  string
		lastError string
	}{
		"all run": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitRunning)},
			condition: "RUNNING", verdicts: "True/Planned True/Accepted True/Running"},
		"one deploys": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitDeploying)},
			condition: "DEPLOYING", verdicts: "True/Planned True/Accepted False/UnitsNotRunning"},
		"one waits": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitRunning), failing},
			condition: "PENDING", verdicts: "True/Planned False/Dispatching False/UnitsNotRunning", lastError: "b: deploy: reason"},
		"one is refused": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitDeploying), refused},
			condition: "DOWN", verdicts: "True/Planned False/Refused False/UnitsNotRunning", lastError: "b: deploy: refused"},
		"one is down": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitDown)},
			condition: "DOWN", verdicts: "True/Planned True/Accepted False/UnitsNotRunning"},
		"unknown target": {
			wish:  wish{plan: Plan{Units: planOf("a", "u1").Units, UnknownEnvs: []string{"z"}}},
			units: []model.UnitStatus{rec("a", "u1", model.UnitRunning)}, condition: "DOWN",
			verdicts: "False/UnknownEnvironment True/Accepted False/UnitsNotRunning", lastError: "not configured: z"},
		"no plan": {wish: wish{unplanned: true}, planErr: planErrorf(ReasonClassNotFound, "no class"),
			units: []model.UnitStatus{rec("a", "u1", model.UnitRunning)}, condition: "DOWN",
			verdicts: "False/ClassNotFound False/NotPlanned False/NotPlanned", lastError: "no class"},
		"deleting": {wish: wish{deleting: true}, units: []model.UnitStatus{rec("a", "u1", model.UnitDeleting)},
			condition: "DELETED", verdicts: "True/Deleting False/Deleting False/Deleting"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := observe(d, c.wish, c.planErr, c.units, before)
			var verdicts string
			for _, v := range got.Conditions {
				verdicts += fmt.Sprintf(" %s/%s", v.Status, v.Reason)
			}
			if verdicts != " "+c.verdicts {
				t.Errorf("conditions: got%s, want %s", verdicts, c.verdicts)
			}
			if got.Condition != c.condition || got.Status.LastError != c.lastError || got.ObservedGeneration != 4 {
				t.Errorf("got %s, error %q, generation %d; want %s, %q, 4",
					got.Condition, got.Status.LastError, got.ObservedGeneration, c.condition, c.lastError)
			}
			observed := d
			observed.DeploymentObserved = got
			again := observe(observed, c.wish, c.planErr, c.units, later)
			if !sameObserved(got, again) {
				t.Errorf("a second look differs: got %+v, want %+v", again, got)
			}
		})
	}
}

func TestTransitionTimeMovesWithStatusOnly(t *testing.T) {
	t.Parallel()
	old := []model.Condition{{Type: ConditionReady, Status: model.ConditionFalse, Reason: "A", LastTransitionTime: before}}
	same := model.Condition{Type: ConditionReady, Status: model.ConditionFalse, Reason: "B"}
	if got := transitionTime(old, same, later); !got.Equal(before) {
		t.Errorf("same status: got %v, want %v", got, before)
	}
	other := model.Condition{Type: ConditionReady, Status: model.ConditionTrue}
	if got := transitionTime(old, other, later); !got.Equal(later) {
		t.Errorf("other status: got %v, want %v", got, later)
	}
}
