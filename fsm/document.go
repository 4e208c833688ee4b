package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// stored is a document as it is before a command.
type stored struct {
	// raw is the whole value; nil when there is no document.
	raw   []byte
	stamp storage.Stamp
	// observed and user are the members of its lines.
	observed, user []byte
}

func (s stored) exists() bool { return s.raw != nil }

// load reads the document at key.
func (a *applier) load(key []byte) (stored, error) {
	raw, err := a.tx.Get(key)
	if err != nil || raw == nil {
		return stored{}, err
	}
	system, user, err := storage.SplitDocument(raw)
	if err != nil {
		return stored{}, fmt.Errorf("read %s: %w", key, err)
	}
	stamp, err := storage.ReadStamp(raw)
	if err != nil {
		return stored{}, fmt.Errorf("read %s: %w", key, err)
	}
	observed, err := storage.ObservedMembers(system)
	if err != nil {
		return stored{}, fmt.Errorf("read %s: %w", key, err)
	}
	return stored{raw: raw, stamp: stamp, observed: observed, user: user}, nil
}

// checkPut is the rule of every put: what must be there is there. what is the
// resource in words.
func (a *applier) checkPut(old stored, document []byte, mode storage.PutMode, ifMatch uint64, what string) *storage.Result {
	if len(document) == 0 {
		return a.rejection(model.CodeInvalid, "%s: the document is empty", what)
	}
	if mode == storage.Create && old.exists() {
		return a.rejection(model.CodeConflict, "%s already exists", what)
	}
	if mode == storage.Update && !old.exists() {
		return a.rejection(model.CodeNotFound, "%s does not exist", what)
	}
	return a.checkMatch(old, ifMatch, what)
}

// checkDelete is the rule of every delete.
func (a *applier) checkDelete(old stored, ifMatch uint64, what string) *storage.Result {
	if !old.exists() {
		return a.rejection(model.CodeNotFound, "%s does not exist", what)
	}
	return a.checkMatch(old, ifMatch, what)
}

func (a *applier) checkMatch(old stored, ifMatch uint64, what string) *storage.Result {
	if ifMatch == 0 || (old.exists() && old.stamp.ResourceVersion == ifMatch) {
		return nil
	}
	if !old.exists() {
		return a.rejection(model.CodeFailedPrecondition, "%s does not exist, If-Match asks for resource version %d", what, ifMatch)
	}
	return a.rejection(model.CodeFailedPrecondition, "%s has resource version %d, If-Match asks for %d", what, old.stamp.ResourceVersion, ifMatch)
}

func (a *applier) rejection(code model.Code, format string, args ...any) *storage.Result {
	r, _ := a.reject(code, format, args...)
	return &r
}

// nextStamp is the stamp of a document whose user line changes now.
func (a *applier) nextStamp(old stored, at time.Time) storage.Stamp {
	s := storage.Stamp{ResourceVersion: a.index, Generation: 1, CreatedAt: at, UpdatedAt: at}
	if old.exists() {
		s.Generation = old.stamp.Generation + 1
		s.CreatedAt = old.stamp.CreatedAt
	}
	return s
}

// putResult is the result of a put that wrote a document with stamp s.
func (a *applier) putResult(old stored, s storage.Stamp) storage.Result {
	outcome := storage.Created
	if old.exists() {
		outcome = storage.Updated
	}
	return storage.Result{Index: a.index, Outcome: outcome, ResourceVersion: s.ResourceVersion, Generation: s.Generation}
}

// unchanged is the result of a command that found its wish fulfilled.
func (a *applier) unchanged(old stored) storage.Result {
	return storage.Result{
		Index:           a.index,
		Outcome:         storage.Unchanged,
		ResourceVersion: old.stamp.ResourceVersion,
		Generation:      old.stamp.Generation,
	}
}

// reindex moves the index entries of the document name from the terms before to
// the terms after; both are sorted and unique.
func (a *applier) reindex(index storage.Index, name string, before, after []string) error {
	for _, term := range before {
		if _, kept := slices.BinarySearch(after, term); !kept {
			if err := a.tx.Delete(index.Key(term, name)); err != nil {
				return err
			}
		}
	}
	for _, term := range after {
		if _, had := slices.BinarySearch(before, term); !had {
			if err := a.tx.Put(index.Key(term, name), storage.IndexValue); err != nil {
				return err
			}
		}
	}
	return nil
}

// members calls fn for the top-level members of a JSON object until fn returns
// false. value is valid during the call.
func members(object []byte, fn func(name string, value jsontext.Value) bool) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if !fn(key, value) {
			return nil
		}
	}
	return nil
}

// sortedTexts decodes an array of texts into a sorted set.
func sortedTexts(value []byte) ([]string, error) {
	var texts []string
	if err := json.Unmarshal(value, &texts); err != nil {
		return nil, err
	}
	slices.Sort(texts)
	return slices.Compact(texts), nil
}
