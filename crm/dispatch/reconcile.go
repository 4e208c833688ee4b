package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// situation is all that is recorded of a deployment.
type situation struct {
	deployment model.Deployment
	// pkg is nil when the package is gone.
	pkg   *model.Package
	units []model.UnitStatus // sorted
}

// reconcile looks at one deployment, records what is to be and what was
// learnt, and then lets the calls begin that are due. It does not wait for
// them: each one's outcome queues the deployment again. So a hung cluster holds
// up neither the worker nor what is recorded about the others.
//
// again is the time after which to look anew if nothing happens before; 0 means
// not until something does.
func (r *run) reconcile(ctx context.Context, key string) (again time.Duration, err error) {
	r.metrics.reconciles.Inc()
	s, exists, err := r.load(ctx, key)
	if err != nil {
		return r.backoff(key), err
	}
	if !exists {
		r.forget(key)
		return 0, nil
	}
	now := r.now()
	w, planErr := r.wish(s)
	learnt := r.takeOutcomes(key)
	after := diff(w, learnt.apply(s.units, now), now)
	command := r.command(s, w, planErr, after, now)
	if command != nil {
		for _, part := range split(*command) {
			if err := r.record(ctx, part); err != nil {
				// What was learnt is kept for the next time.
				return r.backoff(key), err
			}
		}
		if command.Forget {
			r.forget(key)
			r.deps.Logger.Info("deployment removed", "deployment", key)
			return 0, nil
		}
	}
	learnt.settle()
	return r.dispatch(ctx, s, w, after), nil
}

// wish decides what should be.
func (r *run) wish(s situation) (wish, *PlanError) {
	w := wish{configured: r.configured}
	if s.deployment.DeletionRequestedAt != nil {
		w.deleting = true
		return w, nil
	}
	if s.pkg == nil {
		w.unplanned = true
		return w, planErrorf(ReasonPackageNotFound, "package %s does not exist", s.deployment.PackageName)
	}
	plan, err := MakePlan(s.deployment, *s.pkg, r.clusters)
	w.plan = plan
	var planErr *PlanError
	if errors.As(err, &planErr) {
		w.unplanned = true
	}
	return w, planErr
}

// command says what to record, or nil when all of it is recorded.
func (r *run) command(s situation, w wish, planErr *PlanError, after []model.UnitStatus, now time.Time) *storage.RecordUnitStatus {
	command := storage.RecordUnitStatus{Deployment: s.deployment.Key, Generation: s.deployment.Generation}
	command.Put, command.Remove = changes(s.units, after)
	if w.deleting && len(after) == 0 {
		command.Forget = true
		return &command
	}
	observed := observe(s.deployment, w, planErr, after, now)
	if !sameObserved(observed, s.deployment.DeploymentObserved) {
		command.Observed = &observed
	}
	if len(command.Put) == 0 && len(command.Remove) == 0 && command.Observed == nil {
		return nil
	}
	return &command
}

// maxRecords bounds the unit records of one command: a log entry has a limit, and
// a deployment may have more units than fit into one.
const maxRecords = 500

// split cuts a command into parts of at most maxRecords. The last one says what
// is true of all together. Being cut off between two parts is like being cut off
// before the whole: the next reconcile does the rest.
func split(command storage.RecordUnitStatus) []storage.RecordUnitStatus {
	var parts []storage.RecordUnitStatus
	for len(command.Put)+len(command.Remove) > maxRecords {
		part := storage.RecordUnitStatus{Deployment: command.Deployment, Generation: command.Generation}
		puts := min(maxRecords, len(command.Put))
		removes := min(maxRecords-puts, len(command.Remove))
		part.Put, command.Put = command.Put[:puts], command.Put[puts:]
		part.Remove, command.Remove = command.Remove[:removes], command.Remove[removes:]
		parts = append(parts, part)
	}
	return append(parts, command)
}

// record commits a command as this leader run. A conflict means that the
// deployment has changed, or that another leads: look again.
func (r *run) record(ctx context.Context, command storage.RecordUnitStatus) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.StoreTimeout)
	defer cancel()
	r.metrics.writes.Inc()
	_, err := r.deps.Store.Apply(ctx, storage.Request{Command: command, LeaderTerm: r.term})
	if err != nil {
		return fmt.Errorf("record state of deployment %s: %w", command.Deployment, err)
	}
	return nil
}

// load reads all that is recorded of a deployment in one view. It decodes after
// the view has ended.
func (r *run) load(ctx context.Context, key string) (s situation, exists bool, err error) {
	var deployment, pkg []byte
	var units [][]byte
	err = r.view(ctx, func(reader storage.Reader) error {
		pkg, units = nil, nil
		document, err := reader.Get(storage.DeploymentKey(key))
		if document == nil || err != nil {
			deployment = nil
			return err
		}
		deployment = bytes.Clone(document)
		err = storage.ScanPrefix(reader, storage.UnitsOf(key), func(_, value []byte) (bool, error) {
			units = append(units, bytes.Clone(value))
			return true, nil
		})
		if err != nil {
			return err
		}
		// The name of the package is inside the deployment.
		if s.deployment, err = model.ParseDeployment(deployment); err != nil {
			return fmt.Errorf("decode deployment: %w", err)
		}
		document, err = reader.Get(storage.PackageKey(s.deployment.PackageName))
		pkg = bytes.Clone(document)
		return err
	})
	if err != nil || deployment == nil {
		return situation{}, false, wrapLoad(key, err)
	}
	if pkg != nil {
		decoded, err := model.ParsePackage(pkg)
		if err != nil {
			return situation{}, false, wrapLoad(key, fmt.Errorf("decode package: %w", err))
		}
		s.pkg = &decoded
	}
	for _, document := range units {
		unit, err := model.ParseUnit(document)
		if err != nil {
			return situation{}, false, wrapLoad(key, fmt.Errorf("decode unit: %w", err))
		}
		s.units = append(s.units, unit)
	}
	slices.SortFunc(s.units, compareUnits)
	return s, true, nil
}

func wrapLoad(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("load deployment %s: %w", key, err)
}
