package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/oprc/oprc-pm/storage"
)

// The request table makes a command apply at most once (invariant I3). It
// remembers the results of the newest requests; how many is a constant, because
// every replica must forget the same ones at the same index.
//
// One key per log entry holds the requests of that entry, so that a write costs
// one appended pair rather than random ones, and the map below finds the entry
// by id. Old entries are dropped in bulk from the other end.
const (
	// keptRequests is how many requests are remembered at least.
	keptRequests = 1 << 17
	// droppedAtOnce is by how many the table outgrows keptRequests before the
	// oldest are dropped.
	droppedAtOnce = 1 << 12
)

// requestID is a hash of the request id, so that the table's memory does not
// depend on what clients choose.
type requestID [16]byte

func hashRequestID(id string) requestID {
	sum := sha256.Sum256([]byte(id))
	return requestID(sum[:16])
}

// remembered is one request and its result.
type remembered struct {
	id          requestID
	fingerprint uint64
	result      storage.Result
}

type requestTable struct {
	// index of the log entry that carried the request.
	index map[requestID]uint64
	// limit is keptRequests, less in tests.
	limit, slack int
	// learnt and forgotten are what changed in index since the last keep.
	learnt    []requestID
	forgotten map[requestID]uint64
	// replaced is index before the last keep, when all of it was replaced since.
	replaced map[requestID]uint64
}

func newRequestTable() *requestTable {
	return &requestTable{index: map[requestID]uint64{}, forgotten: map[requestID]uint64{}, limit: keptRequests, slack: droppedAtOnce}
}

func requestKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(storage.RequestPrefix), index)
}

// load rebuilds the map from the keys behind r.
func (t *requestTable) load(r storage.Reader) error {
	t.index = map[requestID]uint64{}
	t.keep()
	return t.read(r)
}

// replace is load that undo takes back.
func (t *requestTable) replace(r storage.Reader) error {
	t.undo()
	before := t.index
	t.index = map[requestID]uint64{}
	t.replaced = before
	return t.read(r)
}

func (t *requestTable) read(r storage.Reader) error {
	return storage.ScanPrefix(r, []byte(storage.RequestPrefix), func(key, value []byte) (bool, error) {
		return true, t.learn(key, value)
	})
}

// learn adds the requests of the entry behind key.
func (t *requestTable) learn(key, value []byte) error {
	index, requests, err := decodeRequestPair(key, value)
	if err != nil {
		return err
	}
	for _, request := range requests {
		t.index[request.id] = index
	}
	return nil
}

// forget removes the requests of the entry behind key, except those that are known
// from another entry by now: a restore moves them.
func (t *requestTable) forget(key, value []byte) error {
	index, requests, err := decodeRequestPair(key, value)
	if err != nil {
		return err
	}
	for _, request := range requests {
		if t.index[request.id] == index {
			delete(t.index, request.id)
		}
	}
	return nil
}

func decodeRequestPair(key, value []byte) (index uint64, requests []remembered, err error) {
	if len(key) != len(storage.RequestPrefix)+8 {
		return 0, nil, fmt.Errorf("request table has the malformed key %q", key)
	}
	requests, err = decodeRequests(value)
	return binary.BigEndian.Uint64(key[len(storage.RequestPrefix):]), requests, err
}

// absorb learns from a change that another replica made.
func (t *requestTable) absorb(c storage.Change) error {
	if !bytes.HasPrefix(c.Key, []byte(storage.RequestPrefix)) {
		return nil
	}
	if c.Old != nil {
		if err := t.forget(c.Key, c.Old); err != nil {
			return err
		}
	}
	if c.Value == nil {
		return nil
	}
	return t.learn(c.Key, c.Value)
}

// keep makes what was recorded last permanent: undo does not reach it any more.
func (t *requestTable) keep() {
	t.learnt = t.learnt[:0]
	clear(t.forgotten)
	t.replaced = nil
}

// undo takes back what was recorded since the last keep.
func (t *requestTable) undo() {
	if t.replaced != nil {
		t.index = t.replaced
		t.keep()
		return
	}
	for _, id := range t.learnt {
		delete(t.index, id)
	}
	maps.Copy(t.index, t.forgotten)
	t.keep()
}

// find returns what is remembered of id, if anything.
func (t *requestTable) find(r storage.Reader, id requestID) (remembered, bool, error) {
	index, known := t.index[id]
	if !known {
		return remembered{}, false, nil
	}
	value, err := r.Get(requestKey(index))
	if err != nil {
		return remembered{}, false, err
	}
	requests, err := decodeRequests(value)
	if err != nil {
		return remembered{}, false, err
	}
	for _, request := range requests {
		if request.id == id {
			return request, true, nil
		}
	}
	return remembered{}, false, fmt.Errorf("request table has no record of a request at index %d", index)
}

// record remembers the requests of the entry at index, and forgets the oldest.
func (t *requestTable) record(tx storage.Tx, index uint64, requests []remembered) error {
	if len(requests) == 0 {
		return nil
	}
	if err := tx.Put(requestKey(index), encodeRequests(requests)); err != nil {
		return err
	}
	for _, request := range requests {
		t.index[request.id] = index
		t.learnt = append(t.learnt, request.id)
	}
	if len(t.index) < t.limit+t.slack {
		return nil
	}
	return t.dropOldest(tx)
}

func (t *requestTable) dropOldest(tx storage.Tx) error {
	var keys [][]byte
	excess := len(t.index) - t.limit
	err := storage.ScanPrefix(tx, []byte(storage.RequestPrefix), func(key, value []byte) (bool, error) {
		requests, err := decodeRequests(value)
		if err != nil || excess < len(requests) {
			return false, err
		}
		excess -= len(requests)
		for _, request := range requests {
			t.forgotten[request.id] = t.index[request.id]
			delete(t.index, request.id)
		}
		keys = append(keys, bytes.Clone(key))
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// minRemembered is the length of the shortest encoded request: id, fingerprint
// and an empty result.
const minRemembered = len(requestID{}) + 8 + 8

func encodeRequests(requests []remembered) []byte {
	b := binary.AppendUvarint(nil, uint64(len(requests)))
	for _, request := range requests {
		b = append(b, request.id[:]...)
		b = binary.BigEndian.AppendUint64(b, request.fingerprint)
		b = AppendResult(b, request.result)
	}
	return b
}

func decodeRequests(value []byte) ([]remembered, error) {
	d := decoder{rest: value}
	requests := make([]remembered, d.count(minRemembered))
	for i := range requests {
		requests[i].id = requestID(d.bytes(len(requestID{})))
		requests[i].fingerprint = d.uint64()
		requests[i].result = d.result()
		if d.err != nil {
			break
		}
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return nil, fmt.Errorf("decode request table: %w", d.err)
	}
	return requests, nil
}
