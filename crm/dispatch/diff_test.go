package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/plan"
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
func planOf(pairs ...string) plan.Plan {
	var p plan.Plan
	for i := 0; i < len(pairs); i += 2 {
		p.Placed = append(p.Placed, model.PlacedCluster{Cluster: pairs[i]})
		p.Units = append(p.Units, model.DeploymentUnit{
			ID: pairs[i+1], DeploymentKey: "d", TargetCluster: pairs[i], TargetEnv: pairs[i], Generation: 2,
		})
	}
	return p
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
	replacing := func(cluster, replaces string) []model.PlacedCluster {
		return []model.PlacedCluster{{Cluster: cluster, Replaces: replaces}}
	}
	cases := map[string]struct {
		wish           wish
		places         []model.PlacedCluster
		held           []string
		hold, withdraw bool
		have           []model.UnitStatus
		want           []string
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
			wish: wish{plan: plan.Plan{Units: planOf("a", "u1").Units, UnknownEnvs: []string{"z"}}},
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
		"moved: the old one stays until the stand-in runs": {
			wish: wish{plan: planOf("b", "u2")}, places: replacing("b", "a"),
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", deploying)},
			want: []string{"a/u1 RUNNING", "b/u2 DEPLOYING"},
		},
		"moved: the old one goes when the stand-in runs": {
			wish: wish{plan: planOf("b", "u2")}, places: replacing("b", "a"),
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", running)},
			want: []string{"a/u1 DELETING", "b/u2 RUNNING"},
		},
		"moved: another one that runs is no stand-in": {
			wish:   wish{plan: planOf("b", "u2", "c", "u3")},
			places: append(replacing("b", "a"), model.PlacedCluster{Cluster: "c"}),
			have:   []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", pending), rec("c", "u3", running)},
			want:   []string{"a/u1 RUNNING", "b/u2 PENDING", "c/u3 RUNNING"},
		},
		"moved: what was never accepted goes at once": {
			wish: wish{plan: planOf("b", "u2")}, places: replacing("b", "a"),
			have: []model.UnitStatus{rec("a", "u1", pending)},
			want: []string{"a/u1 DELETING", "b/u2 PENDING"},
		},
		"moved and back before it was done": {
			wish: wish{plan: planOf("a", "u1")},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", deploying)},
			want: []string{"a/u1 RUNNING", "b/u2 DELETING"},
		},
		"rollout: a place that is not begun keeps what it has": {
			wish: wish{plan: planOf("a", "u3", "b", "u4")}, held: []string{"b"},
			have: []model.UnitStatus{rec("a", "u1", running), rec("b", "u2", running)},
			want: []string{"a/u1 RUNNING", "a/u3 PENDING", "b/u2 RUNNING"},
		},
		"rollout: a place that was begun goes on": {
			wish: wish{plan: planOf("a", "u3", "b", "u4")}, held: []string{"a", "b"},
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u3", pending), rec("b", "u2", running)},
			want: []string{"a/u1 RUNNING", "a/u3 PENDING", "b/u2 RUNNING"},
		},
		"given up, to return: everything stays": {
			wish: wish{plan: planOf("a", "u3", "b", "u4")}, hold: true,
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u3", deploying), rec("b", "u2", running)},
			want: []string{"a/u1 RUNNING", "a/u3 DEPLOYING", "b/u2 RUNNING"},
		},
		"given up for good: what it made goes, what ran before stays": {
			wish: wish{plan: planOf("a", "u3", "b", "u4")}, withdraw: true,
			have: []model.UnitStatus{rec("a", "u1", running), rec("a", "u3", deploying), rec("b", "u4", running), rec("b", "u5", pending)},
			want: []string{"a/u1 RUNNING", "a/u3 DELETING", "b/u4 DELETING", "b/u5 DELETING"},
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
			s := stepOf(c.wish)
			s.places = c.places
			if c.held != nil {
				for _, cluster := range c.held {
					delete(s.start, cluster)
				}
			}
			s.withdraw, s.hold = c.withdraw, c.hold
			got := diff(s, c.have, later)
			if !slices.Equal(brief(got), c.want) {
				t.Errorf("got %v, want %v", brief(got), c.want)
			}
			again := diff(s, got, later.Add(time.Hour))
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

// stepOf is a step in which every place may be made and every cluster called.
func stepOf(w wish) step {
	s := step{wish: w, start: map[string]bool{}, known: yes, open: yes}
	for _, cluster := range w.selected() {
		s.start[cluster] = true
	}
	return s
}

func yes(string) bool { return true }
func no(string) bool  { return false }

func TestDiffNamesMissingCluster(t *testing.T) {
	t.Parallel()
	s := stepOf(wish{deleting: true})
	s.known = no
	got := diff(s, []model.UnitStatus{rec("z", "u1", model.UnitRunning)}, later)
	if got[0].LastError != notRegistered || got[0].Phase != model.UnitDeleting {
		t.Errorf("got %+v, want DELETING and an error", got[0])
	}
	s.known = yes
	if got := diff(s, got, later); got[0].LastError != "" {
		t.Errorf("back again: got error %q, want none", got[0].LastError)
	}
}

func TestDiffSaysWhatWaitsForItsCluster(t *testing.T) {
	t.Parallel()
	s := stepOf(wish{plan: planOf("a", "u1", "b", "u2")})
	s.open = func(cluster string) bool { return cluster != "a" }
	have := []model.UnitStatus{rec("a", "u0", model.UnitDeleting), rec("b", "u2", model.UnitPending)}
	got := diff(s, have, later)
	for i, want := range []string{waitingText, waitingText, ""} {
		if got[i].Message != want {
			t.Errorf("%s: got message %q, want %q", brief(got[i:i+1]), got[i].Message, want)
		}
	}
	s.open = yes
	for _, unit := range diff(s, got, later) {
		if unit.Message != "" {
			t.Errorf("%s: got message %q, want none: the cluster may be called", unit.ID, unit.Message)
		}
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
		{call: callDeploy, err: &crm.CallError{Class: crm.ClassRetryable, Reason: "r"}},
		{call: callDeploy, err: &crm.CallError{Class: crm.ClassTerminal, Reason: "r"}},
		{call: callStatus, condition: "Running"},
		{call: callStatus, condition: "Failed"},
		{call: callStatus, err: &crm.CallError{Class: crm.ClassNotFound, Reason: "r"}},
		{call: callDelete, err: &crm.CallError{Class: crm.ClassRetryable, Reason: "r"}},
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
		polled bool
		want   string
	}{
		{rec("a", "u", model.UnitPending), true, false, callDeploy},
		{rec("a", "u", model.UnitPending), false, true, ""},
		{rec("a", "u", model.UnitDeploying), false, false, callStatus},
		{rec("a", "u", model.UnitRunning), true, false, ""},
		{rec("a", "u", model.UnitRunning), true, true, callStatus},
		{rec("a", "u", model.UnitDown), true, false, callStatus},
		{refused, true, false, callDeploy},
		{refused, false, true, ""},
		{rec("a", "u", model.UnitDeleting), true, false, callDelete},
	}
	for _, c := range cases {
		if got := nextCall(c.record, c.wanted, c.polled); got != c.want {
			t.Errorf("%s, wanted %v: got %q, want %q", c.record.Phase, c.wanted, got, c.want)
		}
	}
}

func TestApplyOutcome(t *testing.T) {
	t.Parallel()
	failed := func(class crm.Class) error { return &crm.CallError{Class: class, Reason: "reason"} }
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
		"deploy fails": {record: pending, outcome: outcome{call: callDeploy, err: failed(crm.ClassRetryable)},
			phase: "PENDING", err: "deploy: reason"},
		"deploy fails again, otherwise": {record: withError(pending, "old text"),
			outcome: outcome{call: callDeploy, err: failed(crm.ClassRetryable), repeated: true}, phase: "PENDING", err: "deploy: reason"},
		"cannot be asked as before": {record: withError(running, "old text"),
			outcome: outcome{call: callStatus, err: failed(crm.ClassRetryable), repeated: true}, phase: "RUNNING", err: "old text", crmID: "u"},
		"deploy is not supported": {record: pending, outcome: outcome{call: callDeploy, err: failed(crm.ClassNotSupported)},
			phase: "DOWN", err: "deploy: reason"},
		"deploy is refused": {record: pending, outcome: outcome{call: callDeploy, err: failed(crm.ClassTerminal)},
			phase: "DOWN", err: "deploy: reason"},
		"deploy cannot be made from here": {record: pending, outcome: outcome{call: callDeploy, err: &crm.CallError{Class: crm.ClassTerminal, NotSent: true, Reason: "reason"}},
			phase: "PENDING", err: "deploy: reason"},
		"caller of deploy is refused": {record: pending, outcome: outcome{call: callDeploy, err: &crm.CallError{Class: crm.ClassTerminal, Status: 401, Reason: "reason"}},
			phase: "PENDING", err: "deploy: reason"},
		"deploy is fenced": {record: pending, outcome: outcome{call: callDeploy, err: failed(crm.ClassFenced)},
			phase: "PENDING", err: "deploy: reason: " + fencedText},
		"deploy is canceled": {record: pending, outcome: outcome{call: callDeploy, err: failed(crm.ClassCanceled)}, phase: "PENDING"},
		"foreign error":      {record: pending, outcome: outcome{call: callDeploy, err: errors.New("odd")}, phase: "PENDING", err: "deploy: odd"},
		"runs":               {record: deploying, outcome: outcome{call: callStatus, condition: "Running"}, phase: "RUNNING", crmID: "u"},
		"still on its way":   {record: deploying, outcome: outcome{call: callStatus, condition: "Pending"}, phase: "DEPLOYING", crmID: "u"},
		"scales":             {record: deploying, outcome: outcome{call: callStatus, condition: "SCALING"}, phase: "RUNNING", crmID: "u"},
		"fails":              {record: running, outcome: outcome{call: callStatus, condition: "Failed"}, phase: "DOWN", crmID: "u"},
		"unknown condition":  {record: running, outcome: outcome{call: callStatus, condition: "Unknown"}, phase: "RUNNING", crmID: "u"},
		"recovers":           {record: withError(running, "x"), outcome: outcome{call: callStatus, condition: "Running"}, phase: "RUNNING", crmID: "u"},
		"cannot be asked": {record: running, outcome: outcome{call: callStatus, err: failed(crm.ClassRetryable)},
			phase: "RUNNING", err: "status: reason", crmID: "u"},
		"is only remembered":                       {record: running, outcome: answered("a", "Terminated", ""), phase: "PENDING"},
		"is only remembered when no longer wanted": {record: deleting, outcome: answered("a", "Deleted", ""), phase: "DELETING", crmID: "u"},
		"was lost": {record: running, outcome: outcome{call: callStatus, err: failed(crm.ClassNotFound)}, phase: "PENDING"},
		"deleted":  {record: deleting, outcome: outcome{call: callDelete}, phase: "DELETING", crmID: "u", gone: true},
		"deleted, but a deploy may arrive": {record: deleting, outcome: outcome{call: callDelete, uncertain: true},
			phase: "DELETING", crmID: "u"},
		"delete fails": {record: deleting, outcome: outcome{call: callDelete, err: failed(crm.ClassRetryable)},
			phase: "DELETING", err: "delete: reason", crmID: "u"},
		"delete is refused": {record: deleting, outcome: outcome{call: callDelete, err: failed(crm.ClassTerminal)},
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

func TestFailedCallsAreCounted(t *testing.T) {
	t.Parallel()
	at := later.Add(time.Minute)
	failure := func(call string, class crm.Class) outcome {
		return outcome{call: call, err: &crm.CallError{Class: class, Reason: "r"}, attempt: 3, retryAt: at}
	}
	failing := func(phase model.UnitPhase) model.UnitStatus {
		r := rec("a", "u", phase)
		r.Attempts, r.NextRetryAt, r.LastError = 2, &before, "deploy: r"
		return r
	}
	refused := failing(model.UnitDown)
	refused.CRMID = ""
	cases := map[string]struct {
		record   model.UnitStatus
		outcome  outcome
		attempts uint32
		retryAt  *time.Time
	}{
		"deploy":                {failing(model.UnitPending), failure(callDeploy, crm.ClassRetryable), 3, &at},
		"deploy, refused":       {failing(model.UnitPending), failure(callDeploy, crm.ClassTerminal), 3, &at},
		"deploy, refused again": {refused, failure(callDeploy, crm.ClassTerminal), 3, &at},
		"deploy, fenced":        {failing(model.UnitPending), failure(callDeploy, crm.ClassFenced), 3, &at},
		"status on the way":     {failing(model.UnitDeploying), failure(callStatus, crm.ClassRetryable), 3, &at},
		"status of one that runs is only looked at": {failing(model.UnitRunning), failure(callStatus, crm.ClassRetryable), 2, &before},
		"delete":      {failing(model.UnitDeleting), failure(callDelete, crm.ClassRetryable), 3, &at},
		"canceled":    {failing(model.UnitPending), failure(callDeploy, crm.ClassCanceled), 2, &before},
		"accepted":    {failing(model.UnitPending), outcome{call: callDeploy, crmID: "u"}, 0, nil},
		"still waits": {failing(model.UnitDeploying), outcome{call: callStatus, condition: "Pending"}, 0, nil},
		"lost":        {failing(model.UnitDeploying), failure(callStatus, crm.ClassNotFound), 0, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := applyOutcome(c.record, c.outcome, later)
			if got.Attempts != c.attempts || !sameTime(got.NextRetryAt, c.retryAt) {
				t.Errorf("got %d attempts, next at %v; want %d, %v", got.Attempts, got.NextRetryAt, c.attempts, c.retryAt)
			}
		})
	}
}

// What a call tells the circuit breaker: a refusal is an answer, a call that was
// not made is none.
func TestCallsTellOfTheirCluster(t *testing.T) {
	t.Parallel()
	lost := &crm.CallError{Class: crm.ClassRetryable}
	for name, test := range map[string]struct {
		err, want error
		says      bool
	}{
		"success":              {nil, nil, true},
		"no answer":            {lost, lost, true},
		"refusal":              {&crm.CallError{Class: crm.ClassTerminal, Status: 422}, nil, true},
		"unit is unknown":      {&crm.CallError{Class: crm.ClassNotFound, Status: 404}, nil, true},
		"term is old":          {&crm.CallError{Class: crm.ClassFenced, Status: 409}, nil, true},
		"caller gave up":       {&crm.CallError{Class: crm.ClassCanceled}, nil, false},
		"unusable credentials": {&crm.CallError{Class: crm.ClassTerminal, NotSent: true}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says, got := aboutCluster(test.err)
			if !errors.Is(got, test.want) || says != test.says {
				t.Errorf("got %v, %v; want %v, %v", got, says, test.want, test.says)
			}
		})
	}
}
