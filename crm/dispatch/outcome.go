package dispatch

import (
	"errors"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

// The calls of the dispatcher.
const (
	callDeploy = crm.CallDeploy
	callStatus = crm.CallStatus
	callDelete = crm.CallDelete
)

// outcome is what a call to a CRM gave.
type outcome struct {
	call string
	err  error
	// crmID is the CRM's id of a deployed unit.
	crmID string
	// condition and message are a status call's; retell: the message may take the
	// place of one that is recorded.
	condition string
	message   string
	retell    bool
	// attempt counts the calls that failed in a row, this one included, retryAt
	// is when the next one is made; of a failed call.
	attempt uint32
	retryAt time.Time
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
	case o.call != nextCall(record, true, true):
		return next, false
	case o.err != nil:
		return applyFailure(next, o, now), false
	case o.call == callDelete:
		return next, !o.uncertain
	case o.call == callDeploy:
		next = enter(next, model.UnitDeploying, "", now)
	case o.call == callStatus:
		next = applyCondition(next, o, now)
	}
	next.LastError, next.Attempts, next.NextRetryAt = "", 0, nil
	return next, false
}

func applyFailure(record model.UnitStatus, o outcome, now time.Time) model.UnitStatus {
	class := crm.ClassOf(o.err)
	switch {
	case class == crm.ClassCanceled:
		return record
	case o.call == callStatus && class == crm.ClassNotFound:
		record = enter(record, model.UnitPending, lostText, now)
		record.CRMID = ""
		return record
	case o.call == callDeploy && crm.Refused(o.err):
		record = enter(record, model.UnitDown, "refused", now)
	}
	if settled(record) {
		// It is only looked at; a cluster that does not answer is no news each time.
		if !o.repeated || record.LastError == "" {
			record.LastError = failureText(o)
		}
		return record
	}
	record.LastError, record.Attempts = failureText(o), o.attempt
	if !o.retryAt.IsZero() {
		record.NextRetryAt = &o.retryAt
	}
	return record
}

// fencedText explains the refusal of a leader that nobody deposed: if one had, the
// run would have ended.
const fencedText = "the cluster has seen a newer term than that of this leader, of another control plane or of this one before it was rebuilt"

const lostText = "cluster no longer knew the unit"

// settled tells whether a unit is not on its way to anything.
func settled(record model.UnitStatus) bool {
	return record.Phase == model.UnitRunning || record.Phase == model.UnitDown && record.CRMID != ""
}

// failureText words a failure for a record: the same text for the same failure.
func failureText(o outcome) string {
	var call *crm.CallError
	switch {
	case crm.ClassOf(o.err) == crm.ClassFenced && errors.As(o.err, &call):
		return o.call + ": " + call.Reason + ": " + fencedText
	case errors.As(o.err, &call):
		return o.call + ": " + call.Reason
	}
	return o.call + ": " + crm.Printable(o.err.Error())
}

// applyCondition takes over the state that a CRM reports. Of a unit that does not
// run, the first text is taken and later ones as often as retell allows: a text
// that ticks must not be a write per tick.
func applyCondition(record model.UnitStatus, o outcome, now time.Time) model.UnitStatus {
	switch phase := crm.PhaseOf(o.condition); {
	case phase == "": // unknown to the CRM or to us: what was last known stays
	case phase != record.Phase:
		return enter(record, phase, o.message, now)
	case phase != model.UnitRunning && says(o) && (record.Message == "" || o.retell):
		record.Message = o.message
	}
	return record
}

// says tells whether a CRM's text says more than its condition does.
func says(o outcome) bool { return o.message != "" && !strings.EqualFold(o.message, o.condition) }

// answered is the outcome of a look at a unit. A CRM that only remembers that it
// once had the unit has lost it.
func answered(cluster, condition, message string) outcome {
	o := outcome{call: callStatus, condition: condition, message: crm.Printable(message)}
	if crm.Gone(condition) {
		o.err = missing(cluster, "says that the unit is "+strings.ToLower(condition))
	}
	return o
}

// missing is the error of a look at a unit that the cluster no longer has.
func missing(cluster, reason string) error {
	return &crm.CallError{Cluster: cluster, Call: callStatus, Class: crm.ClassNotFound, Reason: reason}
}
