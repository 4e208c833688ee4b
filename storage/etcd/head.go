package etcd

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// format is the version of the layout of keys and values. A head of a newer one is
// refused.
const format = storage.EtcdFormat

// head is the value of the head key. Every entry replaces it, under the condition
// that nobody else has: that is what puts entries in order.
type head struct {
	Format int `json:"format"`
	// Index of the entry, and of the one before: they count from 1, and a restore
	// may leave numbers out.
	Index uint64 `json:"index"`
	Prev  uint64 `json:"prev"`
	// Term is the newest in which a leader run began.
	Term uint64 `json:"term"`
	// Digest of all keys of the state, as fsm computes it.
	Digest string `json:"digest"`
	// Node that made the entry.
	Node string `json:"node"`
	// Reviewed is the etcd revision up to which a leader has taken over what earlier
	// package managers wrote. What is still there from before cannot be.
	Reviewed int64 `json:"reviewed,omitempty"`
	// Staged, when not empty, is the name of an entry that is committed, but whose
	// changes are still to be written to their keys from its Parts under staged/.
	Staged string `json:"staged,omitempty"`
	Parts  int    `json:"parts,omitempty"`
}

func (h head) encode() string {
	b, err := json.Marshal(h)
	if err != nil {
		// Numbers and strings always have a JSON form.
		panic(err)
	}
	return string(b)
}

var errBadHead = errors.New("the head of the state cannot be read")

func decodeHead(value []byte) (head, error) {
	var h head
	if err := json.Unmarshal(value, &h); err != nil {
		return head{}, fmt.Errorf("%w: %w", errBadHead, err)
	}
	if h.Format > format {
		return head{}, fmt.Errorf("%w: the state has format %d, this release reads up to %d: upgrade this node", errBadHead, h.Format, format)
	}
	return h, nil
}

// version is the state after one entry. A published version does not change.
type version struct {
	head head
	// revision is the etcd revision that wrote head; 0 before the first entry.
	revision int64
	tree     *memory.Tree
	digest   storage.Digest
	// unsettled are the changes of a staged entry, in order, while head says so.
	unsettled []storage.Change
}

func emptyVersion() *version { return &version{head: head{Format: format}, tree: memory.NewTree()} }
