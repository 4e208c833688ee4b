package etcd

import (
	"bytes"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// entry is what one etcd transaction commits: the commands of one index.
type entry struct {
	base    *version
	next    *version
	changes []storage.Change
	results []storage.Result
	// rewritten says that one document was written more than once.
	rewritten bool
	// parts are the encoded changes of an entry that is too large for one
	// transaction.
	parts []string
}

// recorder is the transaction that commands run on: it writes to a version of the
// tree that is not published, keeps the digest and notes what changed.
type recorder struct {
	*memory.Tree
	digest  storage.Digest
	changes []storage.Change
	// rewritten says that a document was written again, with another content.
	rewritten bool
	// at is where the change of a key stands.
	at map[string]int
}

func newRecorder(base *version) *recorder {
	return &recorder{Tree: base.tree.Copy(), digest: base.digest, at: map[string]int{}}
}

// Put implements storage.Tx.
func (r *recorder) Put(key, value []byte) error {
	if err := r.note(key, value); err != nil {
		return err
	}
	return r.Tree.Put(key, value)
}

// Delete implements storage.Tx.
func (r *recorder) Delete(key []byte) error {
	if err := r.note(key, nil); err != nil {
		return err
	}
	return r.Tree.Delete(key)
}

// write does what c says.
func (r *recorder) write(c storage.Change) error {
	if c.Value == nil {
		return r.Delete(c.Key)
	}
	return r.Put(c.Key, c.Value)
}

func (r *recorder) note(key, value []byte) error {
	old, err := r.Get(key)
	if err != nil {
		return err
	}
	if old != nil {
		r.digest.Remove(key, old)
	}
	if value != nil {
		r.digest.Add(key, value)
	}
	if i, known := r.at[string(key)]; known {
		if _, document := storage.EventOf(1, storage.Change{Key: key, Value: storage.IndexValue}); document && !bytes.Equal(old, value) {
			r.rewritten = true
		}
		r.changes[i].Value = value
		return nil
	}
	r.at[string(key)] = len(r.changes)
	r.changes = append(r.changes, storage.Change{Key: key, Old: old, Value: value})
	return nil
}

// effective are the changes that changed something, in the order of their first
// writes: the same on every node.
func (r *recorder) effective() []storage.Change {
	kept := r.changes[:0]
	for _, c := range r.changes {
		if !bytes.Equal(c.Old, c.Value) {
			kept = append(kept, c)
		}
	}
	return kept
}

// apply makes the version after base from what another node changed.
func apply(base *version, h head, revision int64, changes []storage.Change) (*version, []storage.Change, error) {
	r := newRecorder(base)
	for _, c := range changes {
		if err := r.write(c); err != nil {
			return nil, nil, err
		}
	}
	if got := r.digest.String(); got != h.Digest {
		return nil, nil, fmt.Errorf("digest at index %d is %s here and %s in etcd", h.Index, got, h.Digest)
	}
	return &version{head: h, revision: revision, tree: r.Tree, digest: r.digest}, r.effective(), nil
}

// bytesPerOp is more than what a key's comparison and operation take in a request
// besides the key and the values.
const bytesPerOp = 64

// reservedOps are those of the head and of the node's turn.
const reservedOps = 2

// size is how many operations and, at most, how many bytes the entry needs.
func (e *entry) size(keys keySpace) (ops, bytes int) {
	ops, bytes = reservedOps+len(e.changes), 1024
	for _, c := range e.changes {
		bytes += len(keys.prefix) + len(c.Key) + len(c.Value) + bytesPerOp
		if shared(c.Key) {
			bytes += len(keys.prefix) + len(c.Key) + len(c.Old) + bytesPerOp
		}
	}
	return ops, bytes
}

// request is the entry for etcd, with more operations besides. seen tells what
// somebody else made of a shared key.
func (e *entry) request(keys keySpace, seen func(key []byte) (value []byte, known bool), more []clientv3.Op) request {
	headKey := keys.of(headKey)
	r := request{
		conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(headKey), "=", e.base.revision)},
		then:       []clientv3.Op{clientv3.OpPut(headKey, e.next.head.encode())},
		otherwise:  []clientv3.Op{clientv3.OpGet(headKey)},
	}
	if e.parts != nil {
		// Whoever removes parts removes all of an entry at once; the first one was
		// written first.
		r.conditions = append(r.conditions, clientv3.Compare(clientv3.CreateRevision(e.partKey(keys, 0)), ">", 0))
	}
	changes := e.changes
	if e.parts != nil {
		changes = nil
	}
	for _, c := range changes {
		key := keys.of(string(c.Key))
		if shared(c.Key) {
			old := c.Old
			if value, known := seen(c.Key); known {
				old = value
			}
			r.conditions = append(r.conditions, holds(key, old))
		}
		r.then = append(r.then, write(key, c.Value))
	}
	r.then = append(r.then, more...)
	return r
}

// write is the operation that makes key hold value, or removes it: nil.
func write(key string, value []byte) clientv3.Op {
	if value == nil {
		return clientv3.OpDelete(key)
	}
	return clientv3.OpPut(key, string(value))
}

// holds is the condition that key has a value, or that it is absent: nil.
func holds(key string, value []byte) clientv3.Cmp {
	if value == nil {
		return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	}
	return clientv3.Compare(clientv3.Value(key), "=", string(value))
}
