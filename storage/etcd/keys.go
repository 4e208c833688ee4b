package etcd

import (
	"bytes"
	"strings"

	"github.com/oprc/oprc-pm/storage"
)

// The key space under Config.Prefix. What the commands write stands there under
// the keys of the storage package, one etcd key each; that of packages and
// deployments is where earlier package managers keep theirs. Besides:
//
//	system/head                          the index of the state, see head
//	nodes/ID                             a node that is up, on its lease
//	election/LEASE                       a candidate, the oldest one leads
//	turns/ID                             a node that asks others to let it commit, on its lease
//	staged/ENTRY/NUMBER                  a part of an entry too large for one transaction
//	deployments/KEY/clusters/CLUSTER     a unit's id, by an earlier package manager
//
// Keys that are none of these are nobody's business here.
const (
	headKey        = "system/head"
	nodePrefix     = "nodes/"
	electionPrefix = "election/"
	turnPrefix     = "turns/"
	stagedPrefix   = "staged/"
	legacyClusters = "/clusters/"
)

// statePrefixes is where commands write. A command that wrote elsewhere would be
// lost on every other node, so that is a fault.
var statePrefixes = []string{
	storage.PackagePrefix, storage.DeploymentPrefix, storage.UnitPrefix, storage.RuntimeStatePrefix, storage.RequestPrefix,
	storage.ClusterPrefix, storage.ClusterHealthPrefix, storage.RevisionPrefix, storage.StoredEventPrefix, "index/",
	string(storage.ClusterIDKey), string(storage.EventSequenceKey),
	string(storage.TermBaseKey), string(storage.RestoredKey), storage.RestorePrefix,
}

// keySpace translates between keys of the state and keys of etcd.
type keySpace struct{ prefix string }

func newKeySpace(prefix string) keySpace {
	return keySpace{prefix: "/" + strings.Trim(prefix, "/") + "/"}
}

// of is the etcd key of a key of the state.
func (k keySpace) of(key string) string { return k.prefix + key }

// strip is the key of the state behind an etcd key.
func (k keySpace) strip(key []byte) []byte { return key[len(k.prefix):] }

// room says what a key, without the prefix, is for.
type room uint8

const (
	// roomState is what the copies of all nodes hold.
	roomState room = iota
	roomHead
	// roomRegister is nodes, candidates and turns.
	roomRegister
	roomStaged
	// roomLegacyUnit is a mapping of an earlier package manager.
	roomLegacyUnit
	// roomOther is not ours.
	roomOther
)

func roomOf(key []byte) room {
	has := func(prefix string) bool { return bytes.HasPrefix(key, []byte(prefix)) }
	switch {
	case string(key) == headKey:
		return roomHead
	case has(nodePrefix), has(electionPrefix), has(turnPrefix):
		return roomRegister
	case has(stagedPrefix):
		return roomStaged
	case has(storage.DeploymentPrefix) && bytes.Contains(key, []byte(legacyClusters)):
		return roomLegacyUnit
	}
	for _, prefix := range statePrefixes {
		if has(prefix) {
			return roomState
		}
	}
	return roomOther
}

// shared says that earlier package managers write keys of this kind as well, so
// that a write of ours must make sure that none came between.
func shared(key []byte) bool {
	return bytes.HasPrefix(key, []byte(storage.PackagePrefix)) || bytes.HasPrefix(key, []byte(storage.DeploymentPrefix))
}

// legacyDocument says that a value is a document which this program did not write.
func legacyDocument(key, value []byte) bool {
	if !shared(key) {
		return false
	}
	_, err := storage.ReadStamp(value)
	return err != nil
}
