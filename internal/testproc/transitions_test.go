package testproc

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestTransitionsByProcess goes through what can happen to deployments besides
// being created, changed, moved and deleted: rollouts, returns, drift, failover,
// the brake and a drain, over one set of processes.
func TestTransitionsByProcess(t *testing.T) {
	t.Parallel()
	s := newStrategySuite(t)
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a unit that is gone is deployed again", s.unitGone},
		{"a unit that changed is seen", s.unitChanged},
		{"a unit that nobody recorded is reported", s.unitUnknown},
		{"partial failure is visible", s.partialFailure},
		{"rollback_on_partial removes what cannot be brought up", s.rollbackOnPartial},
		{"a rollout in waves is paused and resumed", s.pauseAndResume},
		{"a rollout that fails returns to the last good generation", s.automaticReturn},
		{"a person returns to an earlier revision", s.returnByHand},
		{"a package is updated: its deployments are rolled", s.packageUpdate},
		{"a package is deleted with its deployments", s.packageDelete},
		{"a cluster is drained", s.drain},
		{"nothing else fits: a drained cluster is kept", s.noFit},
		{"a cluster that returns within the toleration is kept", s.returnInTime},
		{"a killed cluster is left and returned to, make before break", s.failover},
		{"most clusters are killed: nothing is evicted", s.brake},
	} {
		if !t.Run(step.name, step.run) {
			break // the rest would only show the same again
		}
	}
}

// becomes waits until a deployment is as it is to be.
func (s *strategySuite) becomes(t *testing.T, key, what string, is func(d model.Deployment, units []model.UnitStatus) bool) {
	t.Helper()
	waitFor(t, strategyLimit, key+" "+what, func() error {
		d, err := s.deployment(key)
		if err != nil {
			return err
		}
		units, err := s.units(key)
		if err != nil {
			return err
		}
		if !is(d, units) {
			return fmt.Errorf("%s in %v, generation %d of %d, %+v, units %+v", d.Condition, placesOf(d), d.ObservedGeneration, d.Generation, d.Conditions, units)
		}
		return nil
	})
}

// told waits for an event, and returns how many there are.
func (s *strategySuite) told(t *testing.T, kind, name, reason string) (count int) {
	t.Helper()
	waitFor(t, strategyLimit, "an event "+reason+" about "+name, func() (err error) {
		count, err = s.events(kind, name, reason)
		if err == nil && count == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	return count
}

func (s *strategySuite) events(kind, name, reason string) (count int, err error) {
	var events []model.Event
	err = s.GetJSON(s.Nodes[0], "/api/v1/events?limit=1000&kind="+kind+"&name="+name, &events)
	for _, e := range events {
		if e.Reason == reason {
			count++
		}
	}
	return count, err
}

func (s *strategySuite) status(t *testing.T, cluster, want string) {
	t.Helper()
	waitFor(t, strategyLimit, cluster+" is "+want, func() error {
		var health model.ClusterHealth
		if err := s.GetJSON(s.Nodes[0], "/api/v1/clusters/"+cluster+"/health", &health); err != nil {
			return err
		}
		if health.Status != want {
			return fmt.Errorf("it is %s: %s", health.Status, health.Message)
		}
		return nil
	})
}

func (s *strategySuite) unitGone(t *testing.T) {
	s.create(t, "gone", fields{"target_envs": []string{"http-1", "grpc-1"}})
	s.settled(t)
	units, err := s.units("gone")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if err := s.byName[u.Cluster].Lose(u.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.told(t, model.EventAboutDeployment, "gone", "UnitLost")
	s.settled(t)
}

func (s *strategySuite) unitChanged(t *testing.T) {
	s.fail(t, `{"units":[{"id":"*","condition":"Down","message":"out of memory"}]}`, "", "http-1")
	s.becomes(t, "gone", "shows that a unit is down", func(_ model.Deployment, units []model.UnitStatus) bool {
		return slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == "http-1" && u.Phase == model.UnitDown })
	})
	s.fail(t, "{}", "", "http-1")
	s.settled(t)
}

func (s *strategySuite) unitUnknown(t *testing.T) {
	const id = "cart-aaaaaaaaaaaaaaa2"
	if err := s.byName["http-1"].Inject(model.DeploymentUnit{ID: id, PackageName: "shop", ClassKey: "A"}); err != nil {
		t.Fatal(err)
	}
	if got := s.told(t, model.EventAboutCluster, "http-1", "OrphanFound"); got != 1 {
		t.Errorf("got %d events, want one", got)
	}
	if err := s.byName["http-1"].Lose(id); err != nil {
		t.Errorf("it was not left alone: %v", err)
	}
	s.settled(t)
}

func (s *strategySuite) partialFailure(t *testing.T) {
	s.fail(t, `{"units":[{"id":"*","refuse":422}]}`, "", "http-1")
	s.create(t, "partial", fields{"target_envs": []string{"home", "http-1"}})
	s.becomes(t, "partial", "shows what failed, and runs where it can", func(d model.Deployment, units []model.UnitStatus) bool {
		runs := slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == "home" && u.Phase == model.UnitRunning })
		return runs && d.Condition != model.DeploymentRunning && slices.ContainsFunc(units, func(u model.UnitStatus) bool {
			return u.Cluster == "http-1" && u.Phase == model.UnitDown && u.LastError != "" && u.Attempts > 0 && u.NextRetryAt != nil
		})
	})
}

func (s *strategySuite) rollbackOnPartial(t *testing.T) {
	s.create(t, "all-or-nothing", fields{"target_envs": []string{"home", "http-1"}, "rollback_on_partial": true})
	s.becomes(t, "all-or-nothing", "stays, without units", func(d model.Deployment, units []model.UnitStatus) bool {
		return len(units) == 0 && d.RolloutStatus != nil && d.RolloutStatus.Phase == model.RolloutRolledBack
	})
	s.fail(t, "{}", "", "http-1")
	s.remove(t, "all-or-nothing")
	s.remove(t, "partial")
	s.settled(t)
}

func (s *strategySuite) pauseAndResume(t *testing.T) {
	wish := fields{"target_envs": []string{"home", "other", "backup"}, "rollout": fields{"wave": 1, "soak": "1s"}}
	s.create(t, "waves", wish)
	s.settled(t)
	before, err := s.units("waves")
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(units []model.UnitStatus) (count int) {
		for _, u := range units {
			if u.Phase == model.UnitRunning && !slices.ContainsFunc(before, func(old model.UnitStatus) bool { return old.ID == u.ID }) {
				count++
			}
		}
		return count
	}
	s.update(t, "waves", changed(wish))
	s.becomes(t, "waves", "has changed in one cluster", func(_ model.Deployment, units []model.UnitStatus) bool { return fresh(units) == 1 })
	s.send(t, http.MethodPost, "/api/v1/deployments/waves/pause", "")
	s.becomes(t, "waves", "is paused", func(d model.Deployment, _ []model.UnitStatus) bool {
		return d.RolloutStatus != nil && d.RolloutStatus.Phase == model.RolloutPaused
	})
	units, err := s.units("waves")
	if got := fresh(units); err != nil || got == 3 {
		t.Errorf("got %d clusters changed, %v, want it paused before all were", got, err)
	}
	s.send(t, http.MethodPost, "/api/v1/deployments/waves/resume", "")
	s.becomes(t, "waves", "has changed everywhere", func(d model.Deployment, units []model.UnitStatus) bool {
		return fresh(units) == 3 && len(units) == 3 && d.RolloutStatus.Phase == model.RolloutComplete
	})
	s.settled(t)
}

// changed is a wish whose units are others.
func changed(wish fields) fields {
	other := fields{"functions": []fields{{"function_key": "A.f", "config": fields{"V": "2"}}}}
	for name, value := range wish {
		other[name] = value
	}
	return other
}

func (s *strategySuite) automaticReturn(t *testing.T) {
	wish := fields{"target_envs": []string{"home", "http-1"}, "rollout": fields{"wave": 1, "on_failure": "rollback"}}
	s.create(t, "returning", wish)
	s.settled(t)
	units, err := s.units("returning")
	if err != nil {
		t.Fatal(err)
	}
	before := unitIDs(units)
	s.fail(t, `{"units":[{"id":"*","refuse":422}]}`, "", "http-1")
	s.update(t, "returning", changed(wish))
	s.told(t, model.EventAboutDeployment, "returning", "RolledBack")
	s.becomes(t, "returning", "runs as it did", func(d model.Deployment, units []model.UnitStatus) bool {
		return slices.Equal(unitIDs(units), before) && d.Condition == model.DeploymentRunning && d.ObservedGeneration == d.Generation
	})
	s.fail(t, "{}", "", "http-1")
	s.settled(t)
}

func (s *strategySuite) returnByHand(t *testing.T) {
	wish := fields{"target_envs": []string{"home", "grpc-1"}}
	s.create(t, "returned", wish)
	s.settled(t)
	first, err := s.units("returned")
	if err != nil {
		t.Fatal(err)
	}
	s.update(t, "returned", changed(wish))
	s.settled(t)
	second, err := s.units("returned")
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(unitIDs(first), unitIDs(second)) {
		t.Errorf("got units %v before and after the change, want others", unitIDs(first))
	}
	var revisions []model.Revision
	if err := s.GetJSON(s.Nodes[0], "/api/v1/deployments/returned/revisions", &revisions); err != nil || len(revisions) != 2 {
		t.Fatalf("got revisions %+v, %v, want two", revisions, err)
	}
	oldest := min(revisions[0].Revision, revisions[1].Revision)
	s.send(t, http.MethodPost, "/api/v1/deployments/returned/rollback", fmt.Sprintf(`{"revision":%d}`, oldest))
	s.settled(t)
	s.becomes(t, "returned", "runs as it first did", func(_ model.Deployment, units []model.UnitStatus) bool {
		return slices.Equal(unitIDs(units), unitIDs(first))
	})
}

func (s *strategySuite) drain(t *testing.T) {
	s.create(t, "drained", fields{"placement": fields{"clusters": 1, "selector": fields{"right": "y"}}})
	s.settled(t)
	d, err := s.deployment("drained")
	if err != nil {
		t.Fatal(err)
	}
	from := placesOf(d)[0]
	s.send(t, http.MethodPost, "/api/v1/clusters/"+from+"/drain", "")
	s.becomes(t, "drained", "has left "+from, func(d model.Deployment, units []model.UnitStatus) bool {
		return len(units) == 1 && units[0].Cluster != from && units[0].Phase == model.UnitRunning
	})
	s.send(t, http.MethodPost, "/api/v1/clusters/"+from+"/uncordon", "")
	s.settled(t)
}

// noFit drains the only cluster that a deployment can be in.
func (s *strategySuite) noFit(t *testing.T) {
	s.create(t, "bound", fields{"placement": fields{"clusters": 1, "requirements": []fields{{"key": "zone", "operator": "In", "values": []string{"a"}}}}})
	s.settled(t)
	s.send(t, http.MethodPost, "/api/v1/clusters/home/drain", "")
	s.told(t, model.EventAboutDeployment, "bound", "NoFit")
	d, err := s.deployment("bound")
	if err != nil || !slices.Equal(placesOf(d), []string{"home"}) || d.Condition != model.DeploymentRunning {
		t.Errorf("got it %s in %v, %v, want it to run where it was", d.Condition, placesOf(d), err)
	}
	s.send(t, http.MethodPost, "/api/v1/clusters/home/uncordon", "")
	s.settled(t)
}

// returnInTime loses a cluster for less than the toleration.
func (s *strategySuite) returnInTime(t *testing.T) {
	s.create(t, "tolerant", fields{"target_envs": []string{"http-1"}, "failover": optedIn("5m")})
	s.settled(t)
	before, err := s.units("tolerant")
	if err != nil {
		t.Fatal(err)
	}
	s.fail(t, `{"refuse":true}`, "", "http-1")
	s.status(t, "http-1", model.ClusterUnhealthy)
	s.fail(t, "{}", "", "http-1")
	s.status(t, "http-1", model.ClusterHealthy)
	s.settled(t)
	after, err := s.units("tolerant")
	if err != nil || !slices.Equal(unitIDs(after), unitIDs(before)) {
		t.Errorf("got units %v, %v, want still %v", unitIDs(after), err, unitIDs(before))
	}
	if count, err := s.events(model.EventAboutDeployment, "tolerant", "Evicted"); err != nil || count > 0 {
		t.Errorf("got %d evictions, %v, want none", count, err)
	}
}

// failover kills the processes of two clusters and starts them again.
func (s *strategySuite) failover(t *testing.T) {
	for _, protocol := range suiteProtocols {
		s.create(t, "opted-"+protocol, fields{"target_envs": []string{protocol + "-1"}, "failover": optedIn("2s")})
		s.create(t, "kept-"+protocol, fields{"target_envs": []string{protocol + "-1"}})
	}
	s.settled(t)
	for _, protocol := range suiteProtocols {
		s.byName[protocol+"-1"].Kill()
	}
	killed := time.Now()
	for _, protocol := range suiteProtocols {
		s.becomes(t, "opted-"+protocol, "runs in its backup", func(d model.Deployment, units []model.UnitStatus) bool {
			return slices.Equal(placesOf(d), []string{"backup"}) && slices.ContainsFunc(units, func(u model.UnitStatus) bool {
				return u.Cluster == "backup" && u.Phase == model.UnitRunning
			})
		})
	}
	if took := time.Since(killed); took < 2*time.Second || took > 2*time.Second+10*time.Second {
		t.Errorf("the move took %v, want the toleration of 2s, and at most 10s more", took)
	}
	for _, protocol := range suiteProtocols {
		if d, err := s.deployment("kept-" + protocol); err != nil || !slices.Equal(placesOf(d), []string{protocol + "-1"}) {
			t.Errorf("who did not opt in: got it in %v, %v, want it left alone", placesOf(d), err)
		}
	}
	for _, protocol := range suiteProtocols {
		s.byName[protocol+"-1"].Start(s.top)
	}
	for _, protocol := range suiteProtocols {
		s.becomes(t, "opted-"+protocol, "is back", func(d model.Deployment, units []model.UnitStatus) bool {
			return slices.Equal(placesOf(d), []string{protocol + "-1"}) && len(units) == 1 && units[0].Phase == model.UnitRunning
		})
	}
	s.settled(t)
	s.madeBeforeBroken(t, "opted-http", "http-1", "backup")
	s.madeBeforeBroken(t, "opted-grpc", "grpc-1", "backup")
}

// madeBeforeBroken asserts that a deployment's unit in its backup went only after
// its target had it, which was restarted: its journal begins then.
func (s *strategySuite) madeBeforeBroken(t *testing.T, key, target, backup string) {
	t.Helper()
	made, broken := time.Time{}, time.Time{}
	for _, name := range []string{target, backup} {
		calls, err := s.byName[name].Calls(0)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, call := range calls {
			switch {
			case call.Effect == "created" && (call.Deployment == key || name == target):
				ids[call.Unit] = true
				if name == target && call.Deployment == key || name == target && made.IsZero() {
					made = call.At
				}
			case call.Effect == "deleted" && name == backup && ids[call.Unit]:
				broken = call.At
			}
		}
	}
	if made.IsZero() || broken.IsZero() || broken.Before(made) {
		t.Errorf("%s: the unit in %s went at %v, the one in %s came at %v, want it before", key, backup, broken, target, made)
	}
}

func (s *strategySuite) brake(t *testing.T) {
	dead := []string{"other", "http-1", "grpc-1"}
	s.fail(t, `{"refuse":true}`, "", dead...)
	for _, name := range dead {
		s.status(t, name, model.ClusterUnhealthy)
	}
	s.told(t, model.EventAboutCluster, "*", "FailoverBraked")
	down := time.Now()
	waitFor(t, strategyLimit, "three times the toleration has passed", func() error {
		if passed := time.Since(down); passed < 6*time.Second {
			return fmt.Errorf("%v have", passed)
		}
		return nil
	})
	for _, protocol := range suiteProtocols {
		d, err := s.deployment("opted-" + protocol)
		if err != nil || !slices.Equal(placesOf(d), []string{protocol + "-1"}) || len(d.AvoidedClusters) > 0 {
			t.Errorf("got it in %v, avoiding %v, %v, want it left where it is", placesOf(d), d.AvoidedClusters, err)
		}
	}
	s.fail(t, "{}", "", dead...)
	for _, name := range dead {
		s.status(t, name, model.ClusterHealthy)
	}
	s.settled(t)
	if count, err := s.events(model.EventAboutCluster, "*", "FailoverBraked"); err != nil || count != 1 {
		t.Errorf("got %d alarms, %v, want one", count, err)
	}
}
