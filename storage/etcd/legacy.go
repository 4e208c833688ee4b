package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Earlier package managers put documents under the same keys, without the line that
// the store owns, and a unit's id under deployments/KEY/clusters/CLUSTER. The leader
// adopts both: a document by the same command that a client would send, on the
// condition that it still is what was read; a unit as a record, which the
// dispatcher then replaces by one of its own, made before the old one is removed.

// legacyDoc is a document in etcd that this program did not write.
type legacyDoc struct {
	value    []byte
	revision int64
}

// overwritesLegacy says that e changes a document that somebody else wrote and that is
// still to be taken over. That comes first, or their write would be lost.
func (s *Store) overwritesLegacy(e *entry, ops []*op) bool {
	if ops[0].repairing() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range e.changes {
		if s.pending(string(c.Key)) {
			return true
		}
	}
	return false
}

// adoptDocuments takes over the documents that others left so far: packages, then
// deployments. Term, when not 0, is that of the leader run.
func (s *Store) adoptDocuments(ctx context.Context, term uint64, commit committing) error {
	s.mu.Lock()
	legacy := map[string][]byte{}
	for key, doc := range s.legacy {
		if !bytes.Equal(s.refused[key], doc.value) {
			legacy[key] = doc.value
		}
	}
	s.mu.Unlock()
	return errors.Join(s.adoptPackages(ctx, term, legacy, commit), s.adoptDeployments(ctx, term, legacy, commit))
}

// adoptPackages adopts packages, each after those that it depends on.
func (s *Store) adoptPackages(ctx context.Context, term uint64, legacy map[string][]byte, commit committing) error {
	var packages []model.Package
	for _, key := range slices.Sorted(maps.Keys(legacy)) {
		if !strings.HasPrefix(key, storage.PackagePrefix) {
			continue
		}
		p, _, err := model.DecodePackage(legacy[key], model.JSON)
		if err == nil && storage.PackagePrefix+p.Name != key {
			err = fmt.Errorf("it is named %q", p.Name)
		}
		if err != nil {
			s.refuse(key, legacy[key], err)
			continue
		}
		packages = append(packages, p)
	}
	if ordered, err := model.PackageOrder(packages); err == nil {
		packages = ordered
	}
	var errs []error
	for _, p := range packages {
		key := storage.PackagePrefix + p.Name
		cmd, err := storage.NewPutPackage(p, storage.Upsert, 0)
		if err != nil {
			s.refuse(key, legacy[key], err)
			continue
		}
		errs = append(errs, s.adoptDocument(ctx, commit, key, legacy[key], storage.Request{Command: cmd, LeaderTerm: term}))
	}
	return errors.Join(errs...)
}

func (s *Store) adoptDeployments(ctx context.Context, term uint64, legacy map[string][]byte, commit committing) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(legacy)) {
		if !strings.HasPrefix(key, storage.DeploymentPrefix) {
			continue
		}
		d, _, err := model.DecodeDeployment(legacy[key], model.JSON)
		if err == nil && storage.DeploymentPrefix+d.Key != key {
			err = fmt.Errorf("its key is %q", d.Key)
		}
		var cmd storage.PutDeployment
		if err == nil {
			cmd, err = storage.NewPutDeployment(d, storage.Upsert, 0)
		}
		if err != nil {
			s.refuse(key, legacy[key], err)
			continue
		}
		errs = append(errs, s.adoptDocument(ctx, commit, key, legacy[key], storage.Request{Command: cmd, LeaderTerm: term}))
	}
	return errors.Join(errs...)
}

// adoptDocument stores a document in place of the one that was found.
func (s *Store) adoptDocument(ctx context.Context, commit committing, key string, found []byte, req storage.Request) error {
	o := newOp(req)
	o.repairs = []string{key}
	if ours, err := s.current.Load().tree.Get([]byte(key)); ours == nil {
		o.proposal.At = writtenAt(found, o.proposal.At)
	} else if err != nil {
		return err
	}
	result, err := commit(ctx, o)
	switch {
	case err == nil && result.Outcome == storage.Unchanged:
		// The same document is there already, but etcd still has the other bytes.
		return s.repair(ctx, commit, key, found)
	case err == nil:
		s.metrics.adopted.Inc()
		s.logger.Info("a document of an earlier package manager was taken over", "key", key)
		return nil
	case result.Code != "":
		s.refuse(key, found, err)
		return nil
	}
	return fmt.Errorf("take over %q: %w", key, err)
}

// writtenAt is when a document says that it was made, or else last changed, or now.
func writtenAt(document []byte, now time.Time) time.Time {
	var times struct {
		CreatedAt time.Time `json:"created_at"`
		Metadata  struct {
			CreatedAt time.Time `json:"created_at"`
		} `json:"metadata"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	if json.Unmarshal(document, &times) != nil {
		return now
	}
	for _, at := range []time.Time{times.CreatedAt, times.Metadata.CreatedAt, times.UpdatedAt} {
		if !at.IsZero() && !at.After(now) {
			return at.UTC()
		}
	}
	return now
}

// refuse leaves a document or a unit where it is, and says why. It is not part of the state.
func (s *Store) refuse(key string, value []byte, err error) {
	s.mu.Lock()
	s.refused[key] = value
	s.mu.Unlock()
	s.logger.Error("what an earlier package manager wrote cannot be taken over; it is left where it is", "key", key, "err", err)
}
