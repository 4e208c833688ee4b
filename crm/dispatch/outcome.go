package dispatch

import (
	"errors"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// outcome is what a call to a CRM gave.
type outcome struct {
	call string
	err  error
	// crmID is the CRM's id of a deployed unit.
	crmID string
	// condition and message are a status call's.
	condition string
	message   string
	// attempt counts the deploy calls for the unit in this leader run.
	attempt uint32
	// repeated: the call failed as the one before did, so that its error is
	// recorded already.
	repeated bool
	// uncertain: an earlier deploy call may still arrive, so that a deletion
	// proves nothing yet.
	uncertain bool
}

// applyOutcome moves a record by what a call gave; gone tells that the unit no
// longer exists and the record can go. It is pure. An outcome that does not fit
// the record's phase, because the wish changed in the meantime, changes nothing
// but what was learnt.
func applyOutcome(record model.UnitStatus, o outcome, now time.Time) (next model.UnitStatus, gone bool) {
	next = record
	if o.err == nil && o.call == callDeploy {
		next.CRMID = o.crmID
	}
	switch {
	case o.call != nextCall(record, true):
		return next, false
	case o.err != nil:
		next = applyFailure(next, o, now)
	case o.call == callDelete:
		return next, !o.uncertain
	case o.call == callDeploy:
		next = enter(next, model.UnitDeploying, "", now)
		next.LastError = ""
	case o.call == callStatus:
		next = applyCondition(next, o, now)
		next.LastError = ""
	}
	if o.call == callDeploy && !sameUnit(record, next) {
		next.Attempts = o.attempt
	}
	return next, false
}

func applyFailure(record model.UnitStatus, o outcome, now time.Time) model.UnitStatus {
	class := ClassOf(o.err)
	if class == ClassCanceled {
		return record
	}
	switch {
	case o.call == callStatus && class == ClassNotFound:
		record = enter(record, model.UnitPending, "cluster no longer knew the unit", now)
		record.CRMID = ""
		return record
	case o.call == callDeploy && class == ClassTerminal:
		record = enter(record, model.UnitDown, "refused", now)
	}
	if !o.repeated || record.LastError == "" {
		record.LastError = failureText(o)
	}
	return record
}

// failureText words a failure for a record: the same text for the same failure.
func failureText(o outcome) string {
	var call *CallError
	if errors.As(o.err, &call) {
		return o.call + ": " + call.Reason
	}
	return o.call + ": " + printable(o.err.Error())
}

// applyCondition takes over the state that a CRM reports. The message is taken
// with a new phase only: a text that ticks must not be a write per tick.
func applyCondition(record model.UnitStatus, o outcome, now time.Time) model.UnitStatus {
	if phase := phaseOf(o.condition); phase != "" {
		return enter(record, phase, o.message, now)
	}
	return record // unknown to the CRM or to us: what was last known stays
}

// phaseOf maps a CRM's condition to a unit's phase, "" when it says nothing.
func phaseOf(condition string) model.UnitPhase {
	switch strings.ToLower(condition) {
	case "running", "scaling":
		return model.UnitRunning
	case "pending", "provisioning", "deploying":
		return model.UnitDeploying
	case "down", "failed", "terminated", "deleted":
		return model.UnitDown
	}
	return ""
}
