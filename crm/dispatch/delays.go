package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
)

// backoff returns the time after which to try again to read or record. What was
// rejected is not only tried but planned again, whatever the reason: what it was
// planned from is not how things are any more. Another cluster, or one less, may
// be what it waits for.
func (r *run) backoff(key string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.knowledgeOf(key)
	k.failures++
	k.plan = nil
	r.wanting[key] = true
	return r.growing(k.failures)
}

// usualFailures is how often in a row a deployment may change between a look and
// what is recorded, as it may, before that is worth a warning.
const usualFailures = 3

// tellFailure tells of a look that came to nothing.
func (r *run) tellFailure(ctx context.Context, key string, again time.Duration, err error) {
	r.metrics.errors.Inc()
	r.mu.Lock()
	failures := r.knowledgeOf(key).failures
	r.mu.Unlock()
	level := slog.LevelWarn
	switch model.CodeOf(err) {
	case model.CodeConflict, model.CodeFailedPrecondition, model.CodeNotFound:
		if failures <= usualFailures {
			level = slog.LevelDebug
		}
	}
	r.deps.Logger.Log(ctx, level, "reconcile will be repeated", "deployment", key, "after", again, "failures", failures, "error", err)
}

// patientAfter is how many failures in a row are repeated soon.
const patientAfter = 10

// growing is the time before a repetition: doubling, bounded, with jitter so
// that what failed together does not come back together.
func (r *run) growing(failures int) time.Duration {
	delay := doubled(r.cfg.BackoffMin, r.cfg.BackoffMax, failures-1)
	if failures > patientAfter {
		delay = doubled(r.cfg.BackoffMax, r.cfg.BackoffLong, failures-patientAfter)
	}
	return wait.Jitter(delay, 0.3)
}

// doubled is low doubled times times, at most high.
func doubled(low, high time.Duration, times int) time.Duration {
	for range times {
		if low >= high/2 {
			return high
		}
		low *= 2
	}
	return low
}

// learn takes in the outcome of a call for a record and returns the time until
// the next one is due. news tells that the outcome must be recorded. The caller
// holds mu.
func (r *run) learn(t *track, record model.UnitStatus, o *outcome) (wait time.Duration, news bool) {
	now := time.Now()
	t.busy = false
	wait = r.delay(t, o, now)
	if t.phase != record.Phase {
		wait = 0 // the wish changed during the call: no delay of the old one holds
	}
	t.due = now.Add(wait)
	if o.err != nil {
		o.attempt, o.retryAt = record.Attempts+1, r.now().Add(wait)
		failed := failureKind(o)
		o.repeated, t.failed = failed == t.failed, failed
	} else {
		t.failed = ""
	}
	o.retell = now.Sub(t.told) >= doubled(textMin, textMax, t.retold)
	next, gone := applyOutcome(record, *o, r.now())
	t.listen(record, next, *o, now)
	return wait, gone || !sameUnit(record, next)
}

// textMin and textMax bound the time after which another text of a cluster is
// recorded of a unit that does not get on: it doubles, so that one that counts or
// ticks is hardly ever written.
const (
	textMin = time.Minute
	textMax = time.Hour
)

// listen notes what a cluster says of a unit, and when that is recorded.
func (t *track) listen(record, next model.UnitStatus, o outcome, now time.Time) {
	if o.call == callStatus && o.err == nil {
		t.heard = ""
		if says(o) {
			t.heard = o.message
		}
	}
	if next.Phase != record.Phase || next.Message == record.Message {
		return
	}
	t.told = now
	if record.Message != "" {
		t.retold++
	}
}

// delay is the time until the next call, by how the last one went.
func (r *run) delay(t *track, o *outcome, now time.Time) time.Duration {
	switch class := crm.ClassOf(o.err); {
	case crm.Refused(o.err):
		t.failures++
		return wait.Jitter(r.cfg.RefusedRetryInterval, 0.1)
	case class == crm.ClassFenced:
		t.failures++
		return min(r.growing(t.failures), fencedMax)
	case class == crm.ClassNotFound:
		// The first time the unit is simply deployed again; a CRM that keeps
		// losing it is treated as one that fails.
		t.lost++
		if t.lost == 1 {
			return 0
		}
		return r.growing(t.lost)
	case class != crm.ClassOK:
		t.failures++
		if o.call == callDeploy && crm.MayArrive(o.err) {
			t.uncertainUntil = now.Add(r.cfg.UncertainPeriod)
		}
		return r.growing(t.failures)
	}
	return r.delayAfterSuccess(t, o, now)
}

func (r *run) delayAfterSuccess(t *track, o *outcome, now time.Time) time.Duration {
	switch o.call {
	case callDeploy:
		t.polls, t.failures = 0, 0
		if t.lost > 0 {
			return r.cfg.PollMin + r.growing(t.lost)/2
		}
		return r.cfg.PollMin
	case callDelete:
		t.failures = 0
		o.uncertain = now.Before(t.uncertainUntil)
		return max(0, t.uncertainUntil.Sub(now))
	}
	t.failures, t.lost = 0, 0
	t.polls++
	switch crm.PhaseOf(o.condition) {
	case model.UnitRunning:
		return wait.Jitter(r.cfg.SettledPollInterval, 0.2)
	case model.UnitDown:
		return wait.Jitter(doubled(r.cfg.PollMin, r.cfg.SettledPollInterval, t.polls), 0.2)
	}
	return wait.Jitter(r.pollWait(t.polls), 0.1)
}

// eagerPolls is how many status calls for a unit on its way are made soon after
// one another; one that takes longer than that is in no hurry.
const eagerPolls = 30

func (r *run) pollWait(polls int) time.Duration {
	if polls > eagerPolls {
		return doubled(r.cfg.PollMax, max(r.cfg.PollMax, r.cfg.SettledPollInterval), polls-eagerPolls)
	}
	return doubled(r.cfg.PollMin, r.cfg.PollMax, polls)
}

// fencedMax bounds the time before a call is repeated that was refused as of a
// leader of the past. The store says that this one leads, so there is something
// for a person to mend, who wants to see it go on then.
const fencedMax = time.Minute

// failureKind tells failures apart as far as it is worth recording anew.
func failureKind(o *outcome) string {
	var call *crm.CallError
	if errors.As(o.err, &call) {
		return fmt.Sprintf("%s %s %d", o.call, call.Class, call.Status)
	}
	return o.call
}
