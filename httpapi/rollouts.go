package httpapi

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// deploymentChange is a change to a stored deployment: d is to be modified. r is
// the view that d was read in.
type deploymentChange func(r storage.Reader, d *model.Deployment) error

// changeDeployment reads a deployment, changes it and stores it, over again when
// somebody else changes it in between. what names the change: repeated with the
// same Idempotency-Key, it is made once.
func (rq request) changeDeployment(what string, change deploymentChange) (model.Deployment, storage.Result, error) {
	var d model.Deployment
	name, err := rq.pathParam("key")
	if err != nil {
		return d, storage.Result{}, err
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return d, storage.Result{}, err
	}
	for attempt := 1; ; attempt++ {
		if d, err = rq.changedDeployment(name, change); err != nil {
			return d, storage.Result{}, pre.explain(err)
		}
		version := d.ResourceVersion
		if pre.version != 0 {
			version = pre.version
		}
		cmd, err := storage.NewPutDeployment(d, storage.Update, version)
		if err != nil {
			return d, storage.Result{}, err
		}
		res, err := rq.apply(cmd, changeID(key, what, version))
		if err == nil {
			rq.setETag(res.ResourceVersion)
			return d, res, nil
		}
		if pre.version != 0 || attempt == maxChanges || model.CodeOf(err) != model.CodeFailedPrecondition {
			return d, res, pre.explain(err)
		}
	}
}

// changedDeployment returns a stored deployment as it would be after a change.
func (rq request) changedDeployment(name string, change deploymentChange) (model.Deployment, error) {
	var d model.Deployment
	_, err := rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		var found bool
		var err error
		if d, found, err = readDeployment(r, name); err != nil {
			return err
		}
		switch {
		case !found:
			return deploymentMissing(name)
		case d.DeletionRequestedAt != nil:
			// A put would take the delete back.
			return model.Errorf(model.CodeConflict, "deployment %q is being deleted", name)
		}
		return change(r, &d)
	})
	return d, err
}

func (s *Server) handlePauseDeployment(rq request) error {
	return rq.pause(true, "paused")
}

// handleResumeDeployment ends a pause. A rollout that failed is tried again: its
// failure belongs to a generation, and pausing in between makes the next.
func (s *Server) handleResumeDeployment(rq request) error {
	failed, err := rq.rolloutFailed()
	if err != nil {
		return err
	}
	if failed {
		_, _, err := rq.changeDeployment("retry", func(_ storage.Reader, d *model.Deployment) error {
			if failedRollout(d) {
				setPaused(d, true)
			}
			return nil
		})
		if err != nil {
			return err
		}
		// The version that the client looked at was there; now there is another.
		rq.ctx.Request.Header.Del(fasthttp.HeaderIfMatch)
	}
	return rq.pause(false, "resumed")
}

// rolloutFailed tells whether the rollout of the present generation failed.
func (rq request) rolloutFailed() (failed bool, err error) {
	name, err := rq.pathParam("key")
	if err != nil {
		return false, err
	}
	_, err = rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		d, found, err := readDeployment(r, name)
		failed = found && failedRollout(&d)
		return err
	})
	return failed, err
}

func failedRollout(d *model.Deployment) bool {
	return d.RolloutStatus != nil && d.RolloutStatus.Phase == model.RolloutFailed &&
		d.RolloutStatus.Generation == d.Generation && (d.Rollout == nil || !d.Rollout.Paused)
}

func (rq request) pause(paused bool, word string) error {
	d, res, err := rq.changeDeployment(word, func(_ storage.Reader, d *model.Deployment) error {
		setPaused(d, paused)
		return nil
	})
	if err != nil {
		return err
	}
	if res.Outcome == storage.Unchanged {
		word = outcomeWord(res.Outcome)
	}
	return rq.answerChange(d.Key, word, "Rollout "+word, res, 0)
}

// setPaused leaves no empty rollout behind, so that pausing and resuming ends
// where it began.
func setPaused(d *model.Deployment, paused bool) {
	var rollout model.Rollout
	if d.Rollout != nil {
		rollout = *d.Rollout
	}
	rollout.Paused = paused
	d.Rollout = &rollout
	if rollout == (model.Rollout{}) {
		d.Rollout = nil
	}
}

// handleRollbackDeployment puts an earlier revision in the place of the present
// one. Settings that say how changes are made (rollout, failover) stay, except
// that a pause ends: who asks to go back wants to get there.
func (s *Server) handleRollbackDeployment(rq request) error {
	wanted, err := rq.wantedRevision()
	if err != nil {
		return err
	}
	var to model.Revision
	d, res, err := rq.changeDeployment("rollback "+strconv.FormatUint(wanted, 10), func(r storage.Reader, d *model.Deployment) error {
		revisions, err := storage.DecodeRevisions(r, d.Key)
		if err != nil {
			return err
		}
		if to, err = returnTo(*d, revisions, wanted); err != nil {
			return err
		}
		if isAt(*d, to) {
			setPaused(d, false)
			return nil
		}
		back := to.Deployment
		back.Meta, back.DeploymentObserved = d.Meta, d.DeploymentObserved
		back.Rollout, back.Failover, back.RollbackOnPartial = d.Rollout, d.Failover, d.RollbackOnPartial
		same, err := sameDocument(*d, back)
		if err != nil {
			return err
		}
		*d = back
		setPaused(d, false)
		if !same {
			d.MarkReturn(to.Revision)
		}
		return nil
	})
	if err != nil {
		return err
	}
	word, message := "rolled_back", fmt.Sprintf("Deployment returns to revision %d", to.Revision)
	if res.Outcome == storage.Unchanged {
		word, message = "unchanged", fmt.Sprintf("Deployment is at revision %d", to.Revision)
	}
	return rq.answerChange(d.Key, word, message, res, to.Revision)
}

// isAt reports whether a deployment runs a revision, or comes to. To return there
// would only nail it to the functions of that revision: a deployment that names
// none follows its package. One that failed is worth another try.
func isAt(d model.Deployment, r model.Revision) bool {
	s := d.RolloutStatus
	return s != nil && s.Revision == r.Revision && s.Generation == d.Generation && d.ObservedGeneration == d.Generation &&
		s.Phase != model.RolloutFailed && s.Phase != model.RolloutRolledBack
}

// sameDocument reports whether two deployments ask for the same.
func sameDocument(a, b model.Deployment) (bool, error) {
	one, err := model.EncodeDeployment(a)
	if err != nil {
		return false, fmt.Errorf("encode deployment: %w", err)
	}
	other, err := model.EncodeDeployment(b)
	if err != nil {
		return false, fmt.Errorf("encode deployment: %w", err)
	}
	return bytes.Equal(one, other), nil
}

// wantedRevision reads the body {"revision": 3}; none, or 0, lets the server
// choose.
func (rq request) wantedRevision() (uint64, error) {
	if len(bytes.TrimSpace(rq.ctx.PostBody())) == 0 {
		return 0, nil
	}
	body, err := decodeBody(rq, model.DecodeRollback)
	return body.Revision, err
}

// answerChange answers a change of a deployment; revision 0 is left out.
func (rq request) answerChange(id, word, message string, res storage.Result, revision uint64) error {
	body := appendOutcome(nil, id, word, message)
	body = append(body, `,"generation":`...)
	body = strconv.AppendUint(body, res.Generation, 10)
	if revision != 0 {
		body = append(body, `,"revision":`...)
		body = strconv.AppendUint(body, revision, 10)
	}
	return rq.answerJSON(fasthttp.StatusOK, append(body, '}', '\n'))
}
