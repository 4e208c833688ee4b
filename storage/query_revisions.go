package storage

import (
	"fmt"
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// ListRevisions visits the revisions of a deployment (JSON of model.Revision),
// the oldest first.
func ListRevisions(r Reader, deployment string, visit func(number uint64, record []byte) (bool, error)) error {
	prefix := RevisionsOf(deployment)
	return ScanPrefix(r, prefix, func(key, record []byte) (bool, error) {
		number, err := strconv.ParseUint(string(key[len(prefix):]), 10, 64)
		if err != nil {
			return false, fmt.Errorf("read revision key %q: %w", key, err)
		}
		return visit(number, record)
	})
}

// DecodeRevisions returns the revisions of a deployment, the oldest first.
func DecodeRevisions(r Reader, deployment string) ([]model.Revision, error) {
	revisions := []model.Revision{}
	err := ListRevisions(r, deployment, func(number uint64, record []byte) (bool, error) {
		revision, err := model.ParseRevision(record)
		if err != nil {
			return false, fmt.Errorf("decode revision %d of %q: %w", number, deployment, err)
		}
		revisions = append(revisions, revision)
		return true, nil
	})
	return revisions, err
}

// DecodeRevision returns one revision of a deployment; found is false when there
// is none of that number (any more).
func DecodeRevision(r Reader, deployment string, number uint64) (revision model.Revision, found bool, err error) {
	record, err := r.Get(RevisionKey(deployment, number))
	if err != nil || record == nil {
		return model.Revision{}, false, err
	}
	revision, err = model.ParseRevision(record)
	if err != nil {
		return model.Revision{}, false, fmt.Errorf("decode revision %d of %q: %w", number, deployment, err)
	}
	return revision, true, nil
}
