package crm

import (
	"fmt"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// Words of conditions and phases, as HTTP clients and CRMs write them.
const (
	conditionPending   = "Pending"
	conditionDeploying = "Deploying"
	conditionRunning   = "Running"
	conditionDown      = "Down"
	conditionDeleted   = "Deleted"
	conditionUnknown   = "Unknown"

	phaseProvisioning = "RESOURCE_PROVISIONING"
	phaseRunning      = "RUNNING"
	phaseFailed       = "FAILED"
	phaseUnknown      = "UNKNOWN"
)

// unitState is what the answer to a status call says of a unit. known is false
// where it only says that the CRM has the unit: CRMs of the field answer OK for
// each of these, also for one that they have not begun with.
func unitState(answer *crmpb.GetDeploymentStatusResponse) (condition, phase string, known bool) {
	switch answer.GetStatus() {
	case crmpb.StatusCode_OK:
		return stateFromMessage(answer.GetMessage())
	case crmpb.StatusCode_NOT_FOUND, crmpb.StatusCode_INVALID_REQUEST, crmpb.StatusCode_ERROR, crmpb.StatusCode_INTERNAL_ERROR:
		return conditionDown, phaseFailed, true
	}
	return conditionPending, phaseUnknown, true
}

// runningMessages are the whole messages that prove that a unit runs. A longer
// text that begins so may go on to say the contrary.
var runningMessages = map[string]bool{"available": true, "running": true}

// idleWords are the first words of messages that say that a unit does not run
// although the status is OK.
var idleWords = map[string]struct{ condition, phase string }{
	"progressing":  {conditionDeploying, phaseProvisioning},
	"deploying":    {conditionDeploying, phaseProvisioning},
	"provisioning": {conditionDeploying, phaseProvisioning},
	"pending":      {conditionPending, phaseProvisioning},
	"degraded":     {conditionDown, phaseFailed},
	"down":         {conditionDown, phaseFailed},
	"failed":       {conditionDown, phaseFailed},
	"deleted":      {conditionDeleted, phaseUnknown},
	"deleting":     {conditionDeleted, phaseUnknown},
	"terminated":   {conditionDeleted, phaseUnknown},
}

func stateFromMessage(message string) (condition, phase string, known bool) {
	word := strings.ToLower(strings.TrimSpace(message))
	if runningMessages[word] {
		return conditionRunning, phaseRunning, true
	}
	if end := strings.IndexFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }); end >= 0 {
		word = word[:end]
	}
	if state, idle := idleWords[word]; idle {
		return state.condition, state.phase, true
	}
	return conditionUnknown, phaseUnknown, false
}

// statusFromProto says how a unit is; known as for unitState.
func statusFromProto(answer *crmpb.GetDeploymentStatusResponse, id string, now time.Time) (status model.CRMStatus, known bool) {
	condition, phase, known := unitState(answer)
	return model.CRMStatus{
		ID: id, Status: condition, Phase: phase, Message: printablePointer(answer.Message),
		LastUpdated: now.UTC().Format(time.RFC3339Nano),
	}, known
}

// statusFromRecord completes a status that says nothing with the unit's record,
// which may be nil.
func statusFromRecord(status model.CRMStatus, record *crmpb.ClassRuntimeSummary) model.CRMStatus {
	state := record.GetStatus()
	if condition := conditionFromProto(state.GetCondition()); condition != conditionUnknown {
		status.Status, status.Phase = condition, phaseFromProto(state.GetPhase())
		if text := recordMessage(state); text != "" {
			status.Message = &text
		}
		return status
	}
	said := "no state"
	if status.Message != nil && *status.Message != "" {
		said = fmt.Sprintf("for a state only %q", *status.Message)
	}
	text := Printable("nothing tells whether it runs: no record, and " + said)
	status.Message = &text
	return status
}

// recordMessage is what a record says of a unit, with the first function that is
// not ready where one says why.
func recordMessage(state *crmpb.ClassRuntimeStatus) string {
	texts := []string{state.GetMessage()}
	for _, function := range state.GetFunctions() {
		if function == nil || function.Ready == nil || function.GetReady() {
			continue
		}
		if function.GetReason() == "" && (function.GetMessage() == "" || function.GetMessage() == state.GetMessage()) {
			continue // it says nothing more
		}
		texts = append(texts, function.GetFunctionKey(), function.GetReason(), function.GetMessage())
		break
	}
	var said []string
	for _, text := range texts {
		if text = Printable(text); text != "" && (len(said) == 0 || said[len(said)-1] != text) {
			said = append(said, text)
		}
	}
	return Printable(strings.Join(said, ": "))
}

func conditionFromProto(condition crmpb.DeploymentCondition) string {
	switch condition {
	case crmpb.DeploymentCondition_PENDING:
		return conditionPending
	case crmpb.DeploymentCondition_DEPLOYING:
		return conditionDeploying
	case crmpb.DeploymentCondition_RUNNING:
		return conditionRunning
	case crmpb.DeploymentCondition_DOWN:
		return conditionDown
	case crmpb.DeploymentCondition_DELETED:
		return conditionDeleted
	case crmpb.DeploymentCondition_DEPLOYMENT_CONDITION_UNKNOWN:
	}
	return conditionUnknown
}

func phaseFromProto(phase crmpb.DeploymentPhase) string {
	switch phase {
	case crmpb.DeploymentPhase_RESOURCE_PROVISIONING:
		return phaseProvisioning
	case crmpb.DeploymentPhase_PHASE_RUNNING:
		return phaseRunning
	case crmpb.DeploymentPhase_FAILED:
		return phaseFailed
	case crmpb.DeploymentPhase_DEPLOYMENT_PHASE_UNKNOWN:
	}
	return phaseUnknown
}
