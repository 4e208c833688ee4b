package fsm

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/storage"
)

// writeRevisions writes the revision of a command and drops the old ones that it
// names, and reports whether anything changed.
func (a *applier) writeRevisions(c encodedRecordUnitStatus) (changed bool, err error) {
	if c.revision != nil {
		key := storage.RevisionKey(c.Deployment, c.revision.number)
		present, err := a.tx.Get(key)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(present, c.revision.document) {
			changed = true
			document := bytes.Clone(c.revision.document)
			if err := a.put(storage.KindRevision, revisionName(key), key, document); err != nil {
				return false, err
			}
		}
	}
	if c.KeepRevisionsFrom == 0 {
		return changed, nil
	}
	dropped, err := a.dropRevisions(c.Deployment, c.KeepRevisionsFrom)
	return changed || dropped, err
}

// dropRevisions drops the revisions before keepFrom. The newest stays in any
// case, and so does the newest that was ever good: it is what a rollback returns
// to.
func (a *applier) dropRevisions(deployment string, keepFrom uint64) (dropped bool, err error) {
	var numbers []uint64
	var lastGood uint64
	err = storage.ListRevisions(a.tx, deployment, func(number uint64, record []byte) (bool, error) {
		good, err := wasGood(record)
		if err != nil {
			return false, fmt.Errorf("read revision %d of %s: %w", number, deployment, err)
		}
		if good {
			lastGood = number
		}
		numbers = append(numbers, number)
		return true, nil
	})
	if err != nil || len(numbers) == 0 {
		return false, err
	}
	for _, number := range numbers[:len(numbers)-1] {
		if number >= keepFrom || number == lastGood {
			continue
		}
		dropped = true
		if err := a.removeRevision(deployment, number); err != nil {
			return false, err
		}
	}
	return dropped, nil
}

// removeRevisions drops all revisions of a deployment.
func (a *applier) removeRevisions(deployment string) error {
	var numbers []uint64
	err := storage.ListRevisions(a.tx, deployment, func(number uint64, _ []byte) (bool, error) {
		numbers = append(numbers, number)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if err := a.removeRevision(deployment, number); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) removeRevision(deployment string, number uint64) error {
	key := storage.RevisionKey(deployment, number)
	return a.remove(storage.KindRevision, revisionName(key), key)
}

// revisionName is how a revision is named to watchers: deployment/number, the
// latter in 20 digits.
func revisionName(key []byte) string { return string(key[len(storage.RevisionPrefix):]) }

// wasGood tells whether a stored revision ever ran everywhere. What is long in
// it comes after that.
func wasGood(record []byte) (bool, error) {
	good := false
	err := members(record, func(name string, value jsontext.Value) bool {
		if name == "good_since" {
			good = value.Kind() != jsontext.KindNull
		}
		return name != "good_since" && name != "deployment"
	})
	return good, err
}
