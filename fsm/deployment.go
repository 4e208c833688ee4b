package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// pendingObserved are the observed members of a deployment that nobody has
// acted on yet.
var pendingObserved = []byte(`"condition":"` + string(model.DeploymentPending) + `"`)

func (a *applier) putDeployment(p storage.Proposal, c storage.PutDeployment) (storage.Result, error) {
	key := storage.DeploymentKey(c.Key)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	if rejected := a.checkPut(old, c.Document, c.Mode, c.IfMatch, fmt.Sprintf("deployment %q", c.Key)); rejected != nil {
		return *rejected, nil
	}
	observed, deleting := cutDeletionMark(old.observed)
	if string(old.user) == string(c.Document) && !deleting {
		return a.unchanged(old), nil
	}
	pkg, err := a.tx.Get(storage.PackageKey(c.Package))
	if err != nil {
		return storage.Result{}, err
	}
	if pkg == nil {
		return a.rejectField(model.CodeNotFound, "package_name", "package %q does not exist", c.Package)
	}
	known, err := hasClass(pkg, c.Class)
	if err != nil {
		return storage.Result{}, fmt.Errorf("read package %s: %w", c.Package, err)
	}
	if !known {
		return a.rejectField(model.CodeInvalid, "class_key", "package %q has no class %q", c.Package, c.Class)
	}
	if err := a.reindexDeployment(c.Key, old, []string{c.Package}, c.Environments); err != nil {
		return storage.Result{}, err
	}
	if !old.exists() {
		observed = pendingObserved
	}
	stamp := a.nextStamp(old, p.At)
	result := a.putResult(old, stamp)
	return result, a.put(storage.KindDeployment, c.Key, key, storage.BuildDocument(stamp, observed, c.Document))
}

// reindexDeployment moves the index entries of a deployment to new terms.
func (a *applier) reindexDeployment(name string, old stored, packages, environments []string) error {
	var before deploymentIndexTerms
	if old.exists() {
		var err error
		if before, err = deploymentTerms(old.raw); err != nil {
			return fmt.Errorf("read deployment %s: %w", name, err)
		}
	}
	var beforePackages []string
	if before.pkg != "" {
		beforePackages = []string{before.pkg}
	}
	if err := a.reindex(storage.ByPackage, name, beforePackages, packages); err != nil {
		return err
	}
	return a.reindex(storage.ByEnvironment, name, before.environments, environments)
}

func (a *applier) deleteDeployment(p storage.Proposal, c storage.DeleteDeployment) (storage.Result, error) {
	old, err := a.load(storage.DeploymentKey(c.Key))
	if err != nil {
		return storage.Result{}, err
	}
	if rejected := a.checkDelete(old, c.IfMatch, fmt.Sprintf("deployment %q", c.Key)); rejected != nil {
		return *rejected, nil
	}
	if _, deleting := cutDeletionMark(old.observed); deleting {
		return a.unchanged(old), nil
	}
	return a.markDeleted(c.Key, p.At)
}

// markDeleted starts the deletion of a live deployment. Intent is recorded
// before any call to a CRM, so a deployment without unit records has nothing
// anywhere and is forgotten at once.
func (a *applier) markDeleted(name string, at time.Time) (storage.Result, error) {
	old, err := a.load(storage.DeploymentKey(name))
	if err != nil {
		return storage.Result{}, err
	}
	units, err := a.hasUnits(name)
	if err != nil {
		return storage.Result{}, err
	}
	if !units {
		return storage.Result{Index: a.index, Outcome: storage.Deleted}, a.forget(name, old)
	}
	mark := append(at.UTC().AppendFormat([]byte(deletionMark), time.RFC3339Nano), '"')
	stamp := a.nextStamp(old, at)
	document := storage.BuildDocument(stamp, joinMembers(mark, old.observed), old.user)
	result := storage.Result{Index: a.index, Outcome: storage.Deleted, ResourceVersion: stamp.ResourceVersion, Generation: stamp.Generation}
	return result, a.put(storage.KindDeployment, name, storage.DeploymentKey(name), document)
}

// forget removes a deployment with its index entries and its revisions. What
// events tell of it stays.
func (a *applier) forget(name string, old stored) error {
	if err := a.reindexDeployment(name, old, nil, nil); err != nil {
		return err
	}
	if err := a.removeRevisions(name); err != nil {
		return err
	}
	return a.remove(storage.KindDeployment, name, storage.DeploymentKey(name))
}

func (a *applier) hasUnits(deployment string) (bool, error) {
	found := false
	err := storage.ScanPrefix(a.tx, storage.UnitsOf(deployment), func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// deletionMark is the first observed member of a deployment that is being
// deleted. The store writes it, the dispatcher's observations do not touch it.
const deletionMark = `"deletion_requested_at":"`

// cutDeletionMark returns the observed members without the mark, and whether it
// was there.
func cutDeletionMark(observed []byte) (rest []byte, marked bool) {
	after, marked := bytes.CutPrefix(observed, []byte(deletionMark))
	if !marked {
		return observed, false
	}
	end := bytes.IndexByte(after, '"')
	return bytes.TrimPrefix(after[end+1:], []byte(",")), true
}

func joinMembers(a, b []byte) []byte {
	if len(a) == 0 || len(b) == 0 {
		return append(a[:len(a):len(a)], b...)
	}
	return append(append(a[:len(a):len(a)], ','), b...)
}

// deploymentIndexTerms are the terms under which a stored deployment is found,
// and its class.
type deploymentIndexTerms struct {
	pkg, class   string
	environments []string
}

// deploymentTerms reads the head of a stored deployment.
func deploymentTerms(document []byte) (deploymentIndexTerms, error) {
	var terms deploymentIndexTerms
	var failed error
	err := members(document, func(name string, value jsontext.Value) bool {
		switch name {
		case "package_name":
			failed = json.Unmarshal(value, &terms.pkg)
		case "class_key":
			failed = json.Unmarshal(value, &terms.class)
		case "target_envs":
			terms.environments, failed = sortedTexts(value)
		case "nfr_requirements":
			return false
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return terms, err
}
