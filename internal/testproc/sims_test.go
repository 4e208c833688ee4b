package testproc

import (
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestSimKeepsItsState: a simulated cluster that is killed comes back at the same
// addresses with what it held, and can be spoken to while it refuses all calls.
func TestSimKeepsItsState(t *testing.T) {
	t.Parallel()
	s := NewSim(t, "edge", model.ProtocolHTTP)
	if err := s.Inject(model.DeploymentUnit{ID: "u1", DeploymentKey: "cart"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Inject(model.DeploymentUnit{ID: "u2", DeploymentKey: "cart"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Lose("u2"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := s.Units(); err == nil {
		t.Error("a killed cluster answers")
	}
	s.Start(t)
	if err := s.SetFaults(`{"refuse":true}`); err != nil {
		t.Fatal(err)
	}
	units, err := s.Units()
	if err != nil || len(units) != 1 || units[0].Unit.ID != "u1" {
		t.Errorf("got %+v, %v, want u1 alone", units, err)
	}
	if calls, err := s.Calls(0); err != nil || len(calls) != 0 {
		t.Errorf("got calls %v, %v, want none: a journal does not outlive its process", calls, err)
	}
	s.Stop(t, 10*time.Second)
}
