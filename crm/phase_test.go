package crm

import (
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestPhaseOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		phase model.UnitPhase
		gone  bool
	}{
		"Running": {phase: model.UnitRunning}, "RUNNING": {phase: model.UnitRunning}, "scaling": {phase: model.UnitRunning},
		"Pending": {phase: model.UnitDeploying}, "Provisioning": {phase: model.UnitDeploying}, "DEPLOYING": {phase: model.UnitDeploying},
		"Down": {phase: model.UnitDown}, "failed": {phase: model.UnitDown},
		"Deleted": {gone: true}, "TERMINATED": {gone: true},
		"Unknown": {}, "": {}, "running well": {},
	}
	for condition, want := range cases {
		if got := PhaseOf(condition); got != want.phase {
			t.Errorf("PhaseOf(%q): got %q, want %q", condition, got, want.phase)
		}
		if got := Gone(condition); got != want.gone {
			t.Errorf("Gone(%q): got %v, want %v", condition, got, want.gone)
		}
	}
}
