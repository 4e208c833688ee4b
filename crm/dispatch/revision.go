package dispatch

import (
	"bytes"
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// keptRevisions is how many revisions of a deployment are kept, besides the last
// good one.
const keptRevisions = 10

// lookup is what is known of a deployment's revisions; they are read only when
// they are needed.
type lookup struct {
	loaded    bool
	revisions []model.Revision // the oldest first
}

// good returns the newest revision that ran everywhere, nil when none did.
func (l lookup) good() *model.Revision {
	for i := len(l.revisions) - 1; i >= 0; i-- {
		if l.revisions[i].GoodSince != nil {
			return &l.revisions[i]
		}
	}
	return nil
}

// nextRevision returns the revision that a plan belongs to: the newest one, or a
// new one when the wish is another.
func nextRevision(s situation, p plan.Plan, l lookup, now time.Time) (revision model.Revision, isNew bool) {
	if s.revision != nil && s.revision.Template == p.Template {
		return *s.revision, false
	}
	revision = model.Revision{
		Revision: s.deployment.Revision + 1, DeploymentKey: s.deployment.Key, Generation: s.deployment.Generation,
		Template: p.Template, CreatedAt: now, Deployment: wishOf(s.deployment, p.Functions),
	}
	if s.pkg != nil {
		revision.PackageResourceVersion = s.pkg.ResourceVersion
	}
	revision.Changed = changedSince(s, revision)
	revision.Cause = causeOf(s, revision, l)
	return revision, true
}

// causeOf says of a new revision what there was like it before. It is a return
// only where a rollback asked for it: a person who applies an old document again
// takes nothing back.
func causeOf(s situation, revision model.Revision, l lookup) string {
	same := uint64(0)
	for _, earlier := range l.revisions {
		if earlier.Template != revision.Template {
			continue
		}
		same = earlier.Revision
		wanted := revision.Changed != model.RevisionPackage && s.deployment.Rollout != nil
		if wanted && s.deployment.Rollout.ReturnTo == earlier.Revision {
			return model.ReturnCause(earlier.Revision)
		}
	}
	if same == 0 {
		return ""
	}
	return fmt.Sprintf("same as revision %d", same)
}

// changedSince says what a new revision comes of. A generation that has been acted
// on already is not what changed.
func changedSince(s situation, revision model.Revision) string {
	if s.revision == nil {
		return ""
	}
	acted := s.deployment.RolloutStatus
	deployment := acted == nil || acted.Generation != s.deployment.Generation
	pkg := s.revision.PackageResourceVersion != revision.PackageResourceVersion
	switch {
	case deployment && pkg:
		return model.RevisionBoth
	case deployment:
		return model.RevisionDeployment
	case pkg:
		return model.RevisionPackage
	}
	return ""
}

// nameOf names a revision for people, with what it came of.
func nameOf(revision model.Revision, pkg string) string {
	switch revision.Changed {
	case model.RevisionDeployment:
		return fmt.Sprintf("revision %d (the deployment changed)", revision.Revision)
	case model.RevisionPackage:
		return fmt.Sprintf("revision %d (package %s changed)", revision.Revision, pkg)
	case model.RevisionBoth:
		return fmt.Sprintf("revision %d (the deployment and package %s changed)", revision.Revision, pkg)
	}
	return fmt.Sprintf("revision %d", revision.Revision)
}

// proven marks a revision that runs everywhere, and returns whether that is news.
// The clusters that it now runs in are part of what can be returned to.
func proven(revision model.Revision, s situation, p plan.Plan, now time.Time) (model.Revision, bool) {
	if revision.GoodSince != nil && revision.Generation == s.deployment.Generation {
		return revision, false
	}
	if revision.GoodSince == nil {
		revision.GoodSince = &now
	}
	revision.Generation = s.deployment.Generation
	revision.Deployment = wishOf(s.deployment, p.Functions)
	if s.pkg != nil {
		revision.PackageResourceVersion = s.pkg.ResourceVersion
	}
	return revision, true
}

// wishOf is the user's document with all that its answer depended on, without
// what the control plane wrote on it. Whoever returns to it wants it carried out,
// so it is not paused.
func wishOf(d model.Deployment, functions []model.FunctionDeploymentSpec) model.Deployment {
	d.Meta, d.DeploymentObserved = model.Meta{}, model.DeploymentObserved{}
	d.Functions = functions
	if d.Rollout != nil && d.Rollout.Paused {
		goesOn := *d.Rollout
		goesOn.Paused = false
		d.Rollout = &goesOn
	}
	d.MarkReturn(0)
	return d
}

// refugeOf finds out what a return would lead to, and the document to return to.
func refugeOf(s situation, p plan.Plan, l lookup) (refuge, *model.Deployment) {
	if !l.loaded {
		return refugeUnknown, nil
	}
	good := l.good()
	if good == nil {
		return refugeNone, nil
	}
	if sameWish(good.Deployment, wishOf(s.deployment, p.Functions)) {
		return refugeHere, nil
	}
	target := good.Deployment
	target.MarkReturn(good.Revision)
	return refugeElsewhere, &target
}

func sameWish(a, b model.Deployment) bool {
	one, err := model.EncodeDeployment(a)
	if err != nil {
		return false
	}
	other, err := model.EncodeDeployment(b)
	return err == nil && bytes.Equal(one, other)
}
