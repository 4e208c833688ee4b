package dispatch

import (
	"fmt"
	"testing"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

func TestObserve(t *testing.T) {
	t.Parallel()
	d := model.Deployment{Key: "d"}
	d.Generation = 4
	failing := rec("b", "u2", model.UnitPending)
	failing.LastError = "deploy: reason"
	waiting := rec("b", "u2", model.UnitPending)
	waiting.Message = waitingText
	refused := rec("b", "u2", model.UnitDown)
	refused.CRMID, refused.LastError = "", "deploy: refused"
	both := wish{plan: planOf("a", "u1", "b", "u2")}
	short, stranded := both, both
	short.plan.Shortfall = "one is missing"
	stranded.plan.Stranded, stranded.stuck = []string{"b"}, []string{"a", "b"}
	phase := func(p model.RolloutPhase, message string) *model.RolloutStatus {
		return &model.RolloutStatus{Phase: p, Generation: 4, Revision: 2, Message: message}
	}
	runA, runB := rec("a", "u1", model.UnitRunning), rec("b", "u2", model.UnitRunning)
	cases := map[string]struct {
		wish      wish
		units     []model.UnitStatus
		rollout   *model.RolloutStatus
		condition model.DeploymentCondition
		verdicts  string
		lastError string
	}{
		"all run": {wish: both, units: []model.UnitStatus{runA, runB}, rollout: phase(model.RolloutComplete, ""),
			condition: "RUNNING", verdicts: "True/Planned True/Accepted True/Running True/Complete"},
		"one deploys": {wish: both, units: []model.UnitStatus{runA, rec("b", "u2", model.UnitDeploying)},
			condition: "DEPLOYING", verdicts: "True/Planned True/Accepted False/UnitsNotRunning True/RollingOut"},
		"one fails": {wish: both, units: []model.UnitStatus{runA, failing},
			condition: "PENDING", verdicts: "True/Planned False/Dispatching False/UnitsNotRunning True/RollingOut", lastError: "b: deploy: reason"},
		"one waits for its cluster": {wish: both, units: []model.UnitStatus{runA, waiting},
			condition: "PENDING", verdicts: "True/Planned False/WaitingForCluster False/UnitsNotRunning True/RollingOut"},
		"one is refused": {wish: both, units: []model.UnitStatus{rec("a", "u1", model.UnitDeploying), refused},
			condition: "DOWN", verdicts: "True/Planned False/Refused False/UnitsNotRunning True/RollingOut", lastError: "b: deploy: refused"},
		"one is down": {wish: both, units: []model.UnitStatus{runA, rec("b", "u2", model.UnitDown)},
			condition: "DOWN", verdicts: "True/Planned True/Accepted False/UnitsNotRunning True/RollingOut"},
		"one is not begun": {wish: both, units: []model.UnitStatus{runA, rec("b", "old", model.UnitRunning)},
			condition: "DEPLOYING", verdicts: "True/Planned False/RollingOut False/UnitsNotRunning True/RollingOut"},
		"paused": {wish: both, units: []model.UnitStatus{runA, rec("b", "old", model.UnitRunning)}, rollout: phase(model.RolloutPaused, "paused"),
			condition: "DEPLOYING", verdicts: "True/Planned False/RollingOut False/UnitsNotRunning False/Paused"},
		"rollout failed": {wish: both, units: []model.UnitStatus{runA, rec("b", "u2", model.UnitDeploying)}, rollout: phase(model.RolloutFailed, "not running within 1m in b"),
			condition: "DEPLOYING", verdicts: "True/Planned True/Accepted False/UnitsNotRunning False/Failed", lastError: "not running within 1m in b"},
		"given up": {wish: both, units: nil, rollout: phase(model.RolloutRolledBack, "refused by b"),
			condition: "DOWN", verdicts: "True/Planned False/RolledBack False/RolledBack False/RolledBack", lastError: "refused by b"},
		"unknown target": {
			wish:  wish{plan: plan.Plan{Units: planOf("a", "u1").Units, UnknownEnvs: []string{"z"}}},
			units: []model.UnitStatus{runA}, condition: "DOWN",
			verdicts: "False/UnknownEnvironment True/Accepted False/UnitsNotRunning True/RollingOut", lastError: "not registered: z"},
		"too few clusters fit": {wish: short, units: []model.UnitStatus{runA, runB}, rollout: phase(model.RolloutComplete, ""),
			condition: "RUNNING", verdicts: "False/NoFit True/Accepted True/Running True/Complete"},
		"stranded": {wish: stranded, units: []model.UnitStatus{runA, runB}, rollout: phase(model.RolloutComplete, ""),
			condition: "RUNNING", verdicts: "True/Stranded True/Accepted True/Running True/Complete"},
		"no plan": {wish: wish{unplanned: true, planErr: plan.Errorf(plan.ReasonClassNotFound, "no class")},
			units: []model.UnitStatus{runA}, condition: "DOWN",
			verdicts: "False/ClassNotFound False/NotPlanned False/NotPlanned False/NotPlanned", lastError: "no class"},
		"deleting": {wish: wish{deleting: true}, units: []model.UnitStatus{rec("a", "u1", model.UnitDeleting)},
			condition: "DELETED", verdicts: "True/Deleting False/Deleting False/Deleting False/Deleting"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.rollout == nil {
				c.rollout = phase(model.RolloutProgressing, "")
			}
			q := question{s: situation{deployment: d}, w: c.wish, now: before, known: yes, silence: none}
			v := view{records: c.units, progress: c.rollout, revision: 2}
			got := q.observe(v)
			var verdicts string
			for _, v := range got.Conditions[:4] { // the last one is TestReachable's
				verdicts += fmt.Sprintf(" %s/%s", v.Status, v.Reason)
			}
			if verdicts != " "+c.verdicts {
				t.Errorf("conditions: got%s, want %s", verdicts, c.verdicts)
			}
			if got.Condition != c.condition || got.Status.LastError != c.lastError || got.ObservedGeneration != 4 || got.Revision != 2 {
				t.Errorf("got %s, error %q, generation %d, revision %d; want %s, %q, 4, 2",
					got.Condition, got.Status.LastError, got.ObservedGeneration, got.Revision, c.condition, c.lastError)
			}
			q.s.deployment.DeploymentObserved, q.now = got, later
			if again := q.observe(v); !sameObserved(got, again) {
				t.Errorf("a second look differs: got %+v, want %+v", again, got)
			}
		})
	}
}

func TestAvailabilityIsNotRewrittenForWavering(t *testing.T) {
	t.Parallel()
	old := 0.999
	q := question{w: wish{plan: planOf("a", "u1")}}
	q.s.deployment.Status = &model.DeploymentStatusSummary{AchievedQuorumAvailability: &old}
	for achieved, want := range map[float64]float64{0.999: 0.999, 0.9991: 0.999, 0.9989: 0.999, 0.9995: 0.9995, 0.99: 0.99, 1: 1} {
		q.w.plan.Requirements.AchievedAvailability = achieved
		if got := (observer{question: q}).availability(); *got != want {
			t.Errorf("plan reaches %v: got %v, want %v", achieved, *got, want)
		}
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
