package crm

import (
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// PhaseOf maps the condition that a CRM reports of a unit to the unit's phase, ""
// when it says nothing. What is gone has none: see Gone.
func PhaseOf(condition string) model.UnitPhase {
	switch strings.ToLower(condition) {
	case "running", "scaling":
		return model.UnitRunning
	case "pending", "provisioning", "deploying":
		return model.UnitDeploying
	case "down", "failed":
		return model.UnitDown
	}
	return ""
}

// Gone tells whether a condition says that the CRM remembers a unit and does not
// run it any more.
func Gone(condition string) bool {
	return strings.EqualFold(condition, "deleted") || strings.EqualFold(condition, "terminated")
}
