package storage

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// Restored tells of a restore.
type Restored struct {
	// ID of the restore, Index of the entry that committed it.
	ID    string `json:"id"`
	Index uint64 `json:"index"`
	// FromCluster and FromIndex are of the backup.
	FromCluster string `json:"from_cluster"`
	FromIndex   uint64 `json:"from_index"`
}

// ReadRestored returns the newest restore, if there was one.
func ReadRestored(r Reader) (restored Restored, ok bool, err error) {
	value, err := r.Get(RestoredKey)
	if err != nil || value == nil {
		return restored, false, err
	}
	if err := json.Unmarshal(value, &restored); err != nil {
		return restored, false, fmt.Errorf("read %s: %w", RestoredKey, err)
	}
	return restored, true, nil
}

// ReplacesState tells whether a change is a restore: all of the state was replaced,
// and a leader run that began before must end.
func ReplacesState(c Change) bool { return c.Value != nil && string(c.Key) == string(RestoredKey) }

// RestoreCommitted tells the same of proposals and their results.
func RestoreCommitted(proposals []Proposal, results []Result) bool {
	for i, p := range proposals {
		if _, ok := p.Command.(CommitRestore); ok && results[i].Code == "" && !results[i].Duplicate {
			return true
		}
	}
	return false
}

// MinIndex is the smallest index that an entry of these proposals may have; 0 when
// any will do.
func MinIndex(proposals []Proposal) uint64 {
	var index uint64
	for _, p := range proposals {
		if c, ok := p.Command.(CommitRestore); ok {
			index = max(index, c.MinIndex)
		}
	}
	return index
}

// TermBase is what Fence adds to terms: 0 as long as nothing was restored.
func TermBase(r Reader) (uint64, error) {
	value, err := r.Get(TermBaseKey)
	if err != nil || value == nil {
		return 0, err
	}
	base, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", TermBaseKey, err)
	}
	return base, nil
}

// Fence is what a leader run of a term shows to CRMs. Terms alone would not do: the
// cluster that a backup is restored into may count lower than the one that was backed
// up, and CRMs that knew that one would refuse all calls.
func Fence(r Reader, term uint64) (uint64, error) {
	base, err := TermBase(r)
	return base + term, err
}

// fenceStep is what a restore adds to the newest fence that the backup knows of: more
// than the terms that the cluster which was backed up may begin meanwhile.
const fenceStep = 1 << 20

// RestoredTermBase is the base after a restore into a cluster with the base own, of a
// backup that was made in a term of a cluster with a base.
func RestoredTermBase(own, base, term uint64) uint64 {
	return max(own, base+term+fenceStep)
}

// HoldsDocuments names something that a restore would lose, or "" when there is
// nothing. Clusters of the nodes' configuration come back by themselves.
func HoldsDocuments(r Reader) (what string, err error) {
	for _, prefix := range []string{PackagePrefix, DeploymentPrefix, UnitPrefix, RuntimeStatePrefix} {
		err := ScanPrefix(r, []byte(prefix), func(key, _ []byte) (bool, error) {
			what = string(key)
			return false, nil
		})
		if err != nil || what != "" {
			return what, err
		}
	}
	err = ListClusters(r, "", func(name string, document []byte) (bool, error) {
		cluster, err := model.ParseCluster(document)
		if err == nil && cluster.ManagedBy != model.ManagedByConfig {
			what = ClusterPrefix + name
		}
		return what == "", err
	})
	return what, err
}
