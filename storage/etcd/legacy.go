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

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Earlier package managers put documents under the same keys, without the line that
// the store owns, and a unit's id under deployments/KEY/clusters/CLUSTER. The leader
// adopts both: a document by the same command that a client would send, on the
// condition that it still is what was read; a unit as a record, which the
// dispatcher then replaces by one of its own, made before the old one is removed.
//
// Any other change that is not an entry is put back to what the entries made.

// noteForeign notes changes that came without an entry.
func (s *Store) noteForeign(changes []storage.Change) {
	if len(changes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := s.current.Load().tree
	for _, c := range changes {
		key := string(c.Key)
		delete(s.foreign, key)
		delete(s.legacy, key)
		ours, _ := tree.Get(c.Key)
		switch {
		case bytes.Equal(ours, c.Value):
		case c.Value != nil && legacyDocument(c.Key, c.Value):
			s.legacy[key] = c.Value
			s.logger.Info("an earlier package manager wrote a document", "key", key)
		default:
			s.foreign[key] = c.Value
			s.metrics.foreign.Inc()
			s.logger.Warn("somebody else changed a key in etcd; it is put back", "key", key, "removed", c.Value == nil)
		}
	}
	s.wakeAdopter()
}

func (s *Store) noteLegacyUnit(key string, value []byte, deleted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if deleted {
		delete(s.legacyUnits, key)
		return
	}
	s.legacyUnits[key] = value
	s.wakeAdopter()
}

func (s *Store) wakeAdopter() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// seen tells what somebody else made of a shared key. The caller holds mu.
func (s *Store) seen(key []byte) (value []byte, known bool) {
	if value, known = s.foreign[string(key)]; known {
		return value, true
	}
	value, known = s.legacy[string(key)]
	return value, known
}

// forgetOthers notes that a key is ours again. The caller holds mu.
func (s *Store) forgetOthers(key string) {
	delete(s.foreign, key)
	delete(s.legacy, key)
	delete(s.legacyUnits, key)
	delete(s.refused, key)
}

// adoptable counts the documents that are still to be adopted. The caller holds mu.
func (s *Store) adoptable() int {
	n := 0
	for key, value := range s.legacy {
		if !bytes.Equal(s.refused[key], value) {
			n++
		}
	}
	return n
}

// adopterPause is how often a unit is tried again whose cluster is not registered.
const adopterPause = 5 * time.Second

// runAdopter adopts and repairs what comes up during a leader run.
func (s *Store) runAdopter(ctx context.Context, term uint64) {
	for ctx.Err() == nil {
		if err := s.adopt(ctx, term); err != nil && ctx.Err() == nil {
			s.logger.Debug("not all could be taken over yet", "err", err)
			wait.For(ctx, adopterPause)
			continue
		}
		select {
		case <-s.work:
		case <-ctx.Done():
		}
	}
}

// adopt takes over all that others left so far.
func (s *Store) adopt(ctx context.Context, term uint64) error {
	s.mu.Lock()
	legacy, units, foreign := maps.Clone(s.legacy), maps.Clone(s.legacyUnits), maps.Clone(s.foreign)
	s.mu.Unlock()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(foreign)) {
		errs = append(errs, s.repair(ctx, key, foreign[key]))
	}
	errs = append(errs, s.adoptPackages(ctx, term, legacy), s.adoptDeployments(ctx, term, legacy))
	for _, key := range slices.Sorted(maps.Keys(units)) {
		errs = append(errs, s.adoptUnit(ctx, term, key, string(units[key])))
	}
	return errors.Join(errs...)
}

// repair puts a key back to what the entries made of it.
func (s *Store) repair(ctx context.Context, key string, found []byte) error {
	ours, err := s.current.Load().tree.Get([]byte(key))
	if err != nil {
		return err
	}
	full := s.keys.of(key)
	o := newOp(storage.Request{})
	o.repairs, o.conditions = []string{key}, []clientv3.Cmp{holds(full, found)}
	switch {
	case ours != nil:
		o.extra = []clientv3.Op{clientv3.OpPut(full, string(ours))}
	case found != nil:
		o.extra = []clientv3.Op{clientv3.OpDelete(full)}
	}
	if _, err := s.submitBounded(ctx, o); err != nil {
		return fmt.Errorf("put back %q: %w", key, err)
	}
	s.logger.Info("a key in etcd was put back", "key", key)
	return nil
}

func (s *Store) submitBounded(ctx context.Context, o *op) (storage.Result, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	result, err := s.submit(ctx, o)
	if err == nil {
		err = result.Err()
	}
	return result, err
}

// adoptPackages adopts packages, each after those that it depends on.
func (s *Store) adoptPackages(ctx context.Context, term uint64, legacy map[string][]byte) error {
	var packages []model.Package
	for _, key := range slices.Sorted(maps.Keys(legacy)) {
		if !strings.HasPrefix(key, storage.PackagePrefix) || s.isRefused(key, legacy[key]) {
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
		errs = append(errs, s.adoptDocument(ctx, term, key, legacy[key], cmd))
	}
	return errors.Join(errs...)
}

func (s *Store) adoptDeployments(ctx context.Context, term uint64, legacy map[string][]byte) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(legacy)) {
		if !strings.HasPrefix(key, storage.DeploymentPrefix) || s.isRefused(key, legacy[key]) {
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
		errs = append(errs, s.adoptDocument(ctx, term, key, legacy[key], cmd))
	}
	return errors.Join(errs...)
}

// adoptDocument stores a document in place of the one that was found.
func (s *Store) adoptDocument(ctx context.Context, term uint64, key string, found []byte, cmd storage.Command) error {
	o := newOp(storage.Request{Command: cmd, LeaderTerm: term})
	o.repairs, o.conditions = []string{key}, nil
	o.proposal.At = writtenAt(found, o.proposal.At)
	result, err := s.submitBounded(ctx, o)
	switch {
	case err == nil && result.Outcome == storage.Unchanged:
		// The same document is there already, but etcd still has the other bytes.
		return s.repair(ctx, key, found)
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

// writtenAt is when a document says that it was made, or now.
func writtenAt(document []byte, now time.Time) time.Time {
	var meta struct {
		CreatedAt time.Time `json:"created_at"`
	}
	if err := json.Unmarshal(document, &meta); err != nil || meta.CreatedAt.IsZero() || meta.CreatedAt.After(now) {
		return now
	}
	return meta.CreatedAt.UTC()
}

func (s *Store) isRefused(key string, value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Equal(s.refused[key], value)
}

// refuse leaves a document where it is, and says why. It is not part of the state.
func (s *Store) refuse(key string, value []byte, err error) {
	s.mu.Lock()
	s.refused[key] = value
	s.mu.Unlock()
	s.logger.Error("a document of an earlier package manager cannot be taken over; it is left where it is", "key", key, "err", err)
}

// adoptUnit records a unit that an earlier package manager made.
func (s *Store) adoptUnit(ctx context.Context, term uint64, key, id string) error {
	deployment, cluster, _ := strings.Cut(strings.TrimPrefix(key, storage.DeploymentPrefix), legacyClusters)
	document, err := s.current.Load().tree.Get(storage.DeploymentKey(deployment))
	if err != nil {
		return err
	}
	if document == nil {
		return fmt.Errorf("unit %s in %s: its deployment %s is not taken over", id, cluster, deployment)
	}
	// Asked for here and not left to the command: a rejection would be an entry, and
	// this is tried again for as long as the cluster is missing.
	if known, err := s.current.Load().tree.Get(storage.ClusterKey(cluster)); known == nil {
		return errors.Join(fmt.Errorf("unit %s of %s: its cluster %s is not registered", id, deployment, cluster), err)
	}
	stamp, err := storage.ReadStamp(document)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	o := newOp(storage.Request{LeaderTerm: term, Command: storage.RecordUnitStatus{
		Deployment: deployment, Generation: stamp.Generation,
		Put: []model.UnitStatus{{
			ID: id, CRMID: id, DeploymentKey: deployment, Cluster: cluster, Generation: stamp.Generation,
			Phase: model.UnitRunning, LastTransitionTime: now, Message: "taken over from an earlier package manager",
		}},
	}})
	full := s.keys.of(key)
	o.repairs, o.conditions, o.extra = []string{key}, []clientv3.Cmp{holds(full, []byte(id))}, []clientv3.Op{clientv3.OpDelete(full)}
	if _, err := s.submitBounded(ctx, o); err != nil {
		return fmt.Errorf("take over unit %s of %s in %s: %w", id, deployment, cluster, err)
	}
	s.logger.Info("a unit of an earlier package manager was taken over", "unit", id, "deployment", deployment, "cluster", cluster)
	return nil
}
