package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// situation is all that is recorded of a deployment.
type situation struct {
	deployment model.Deployment
	// pkg is nil when the package is gone.
	pkg   *model.Package
	units []model.UnitStatus // sorted
	// revision is the deployment's newest; nil when there is none yet.
	revision *model.Revision
	// index of the state that this was read from.
	index uint64
}

// documents are the undecoded parts of a situation.
type documents struct {
	deployment, pkg, revision []byte
	units                     [][]byte
}

// load reads all that is recorded of a deployment in one view. What can be decoded
// after the view has ended is.
func (r *run) load(ctx context.Context, key string) (s situation, exists bool, err error) {
	var docs documents
	s.index, err = r.view(ctx, func(reader storage.Reader) error {
		docs = documents{}
		document, err := reader.Get(storage.DeploymentKey(key))
		if document == nil || err != nil {
			return err
		}
		docs.deployment = bytes.Clone(document)
		// The name of the package and the number of the revision are inside.
		if s.deployment, err = model.ParseDeployment(docs.deployment); err != nil {
			return fmt.Errorf("decode deployment: %w", err)
		}
		return docs.read(reader, s.deployment)
	})
	if err != nil {
		return situation{}, false, fmt.Errorf("load deployment %s: %w", key, err)
	}
	if docs.deployment == nil {
		return situation{}, false, nil
	}
	if err := s.decode(docs); err != nil {
		return situation{}, false, fmt.Errorf("load deployment %s: %w", key, err)
	}
	return s, true, nil
}

func (docs *documents) read(reader storage.Reader, d model.Deployment) error {
	err := storage.ScanPrefix(reader, storage.UnitsOf(d.Key), func(_, value []byte) (bool, error) {
		docs.units = append(docs.units, bytes.Clone(value))
		return true, nil
	})
	if err != nil {
		return err
	}
	if d.Revision > 0 {
		document, err := reader.Get(storage.RevisionKey(d.Key, d.Revision))
		if err != nil {
			return err
		}
		docs.revision = bytes.Clone(document)
	}
	document, err := reader.Get(storage.PackageKey(d.PackageName))
	docs.pkg = bytes.Clone(document)
	return err
}

func (s *situation) decode(docs documents) error {
	if docs.pkg != nil {
		pkg, err := model.ParsePackage(docs.pkg)
		if err != nil {
			return fmt.Errorf("decode package: %w", err)
		}
		s.pkg = &pkg
	}
	if docs.revision != nil {
		revision, err := model.ParseRevision(docs.revision)
		if err != nil {
			return fmt.Errorf("decode revision: %w", err)
		}
		s.revision = &revision
	}
	for _, document := range docs.units {
		unit, err := model.ParseUnit(document)
		if err != nil {
			return fmt.Errorf("decode unit: %w", err)
		}
		s.units = append(s.units, unit)
	}
	slices.SortFunc(s.units, compareUnits)
	return nil
}

// loadRevisions reads all kept revisions of a deployment, the oldest first. They
// are few, and needed only when something is rolled out or back.
func (r *run) loadRevisions(ctx context.Context, key string) ([]model.Revision, error) {
	var found [][]byte
	_, err := r.view(ctx, func(reader storage.Reader) error {
		found = nil
		return storage.ScanPrefix(reader, storage.RevisionsOf(key), func(_, value []byte) (bool, error) {
			found = append(found, bytes.Clone(value))
			return true, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("load revisions of deployment %s: %w", key, err)
	}
	revisions := make([]model.Revision, 0, len(found))
	for _, document := range found {
		revision, err := model.ParseRevision(document)
		if err != nil {
			return nil, fmt.Errorf("load revisions of deployment %s: %w", key, err)
		}
		revisions = append(revisions, revision)
	}
	return revisions, nil
}
