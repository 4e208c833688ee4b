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
//	staged/ENTRY/NUMBER                  a part of an entry too large for one transaction
//	deployments/KEY/clusters/CLUSTER     a unit's id, by an earlier package manager
const (
	headKey        = "system/head"
	nodePrefix     = "nodes/"
	electionPrefix = "election/"
	stagedPrefix   = "staged/"
	legacyClusters = "/clusters/"
)

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
	roomNode
	roomElection
	roomStaged
	// roomLegacyUnit is a mapping of an earlier package manager.
	roomLegacyUnit
)

func roomOf(key []byte) room {
	switch {
	case string(key) == headKey:
		return roomHead
	case bytes.HasPrefix(key, []byte(nodePrefix)):
		return roomNode
	case bytes.HasPrefix(key, []byte(electionPrefix)):
		return roomElection
	case bytes.HasPrefix(key, []byte(stagedPrefix)):
		return roomStaged
	case bytes.HasPrefix(key, []byte(storage.DeploymentPrefix)) && bytes.Contains(key, []byte(legacyClusters)):
		return roomLegacyUnit
	}
	return roomState
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
