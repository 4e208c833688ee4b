package etcd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// An entry that needs more operations or bytes than one etcd transaction takes is
// staged. Its changes are written first, in parts, under a name of their own, where
// they mean nothing. Then a small transaction commits it: the head says that the
// entry of this name is the newest, on the condition that its parts are there.
// From that moment every copy shows it, and a node that loads the state applies the
// parts to what the keys hold. Before the next entry, whoever wants to make one
// settles this: it writes the changes to their keys, in several transactions, each on
// the condition that the head is still this one, and at last the head without the
// name. All of that may be done twice, by several nodes at once, and be given up at
// any point.

// partOverhead is room for the key of a part and its request.
const partOverhead = 16 << 10

func (s *Store) partBytes() int { return s.cfg.MaxBytes - partOverhead }

// maxParts bounds the size of an entry: far above what etcd has room for.
const maxParts = 4096

// stage encodes the changes into parts of at most size bytes.
func (e *entry) stage(size int) error {
	var parts []string
	var part []byte
	for _, c := range e.changes {
		encoded := appendChange(nil, c)
		if len(encoded) > size {
			return fmt.Errorf("it needs a value of %d bytes", len(c.Value))
		}
		if len(part)+len(encoded) > size {
			parts = append(parts, string(part))
			part = nil
		}
		part = append(part, encoded...)
	}
	parts = append(parts, string(part))
	if len(parts) > maxParts {
		return fmt.Errorf("it needs %d parts of %d bytes", len(parts), size)
	}
	e.parts = parts
	e.next.head.Staged, e.next.head.Parts = rand.Text(), len(parts)
	e.next.unsettled = e.changes
	return nil
}

// appendChange encodes a change: the key and its length, the value and its length
// plus one, or zero for a removal.
func appendChange(b []byte, c storage.Change) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.Key)))
	b = append(b, c.Key...)
	if c.Value == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Value))+1)
	return append(b, c.Value...)
}

var errBadPart = errors.New("a part of a staged entry is malformed")

// decodeChanges decodes what appendChange encoded. The result shares b.
func decodeChanges(b []byte) ([]storage.Change, error) {
	take := func() ([]byte, bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return nil, false
		}
		field := b[used : used+int(n) : used+int(n)]
		b = b[used+int(n):]
		return field, true
	}
	var changes []storage.Change
	for len(b) > 0 {
		key, ok := take()
		if !ok || len(key) == 0 || len(b) == 0 {
			return nil, errBadPart
		}
		c := storage.Change{Key: key}
		if n, used := binary.Uvarint(b); n == 0 && used > 0 {
			b = b[used:]
		} else if used <= 0 || n-1 > uint64(len(b)-used) {
			return nil, errBadPart
		} else {
			c.Value = b[used : used+int(n-1) : used+int(n-1)]
			b = b[used+int(n-1):]
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func partName(entry string, part int) string {
	return fmt.Sprintf("%s%s/%06d", stagedPrefix, entry, part)
}

func (e *entry) partKey(keys keySpace, part int) string {
	return keys.of(partName(e.next.head.Staged, part))
}

// putParts writes the parts of a staged entry.
func (s *Store) putParts(ctx context.Context, e *entry) error {
	for i, part := range e.parts {
		request, cancel := s.attempt(ctx)
		_, err := s.client.Put(request, e.partKey(s.keys, i), part)
		cancel()
		if err != nil {
			return fmt.Errorf("stage a large entry: %w", err)
		}
	}
	return nil
}

// dropParts removes the parts of an entry that etcd has refused to commit. (Those of
// an entry of which nobody knows must stay: see sweep.)
func (s *Store) dropParts(ctx context.Context, e *entry) {
	if e.parts == nil {
		return
	}
	request, cancel := s.attempt(ctx)
	defer cancel()
	if _, err := s.client.Delete(request, s.keys.of(stagedPrefix+e.next.head.Staged+"/"), clientv3.WithPrefix()); err != nil {
		s.logger.Debug("the parts of a large entry were not removed", "err", err)
	}
}

// unstage decodes the changes of the staged entry that h names.
func (h head) unstage(parts map[string][]byte) ([]storage.Change, error) {
	var changes []storage.Change
	for i := range h.Parts {
		part, there := parts[partName(h.Staged, i)]
		if !there {
			return nil, fmt.Errorf("part %d of %d of the staged entry %s is missing", i+1, h.Parts, h.Staged)
		}
		decoded, err := decodeChanges(part)
		if err != nil {
			return nil, err
		}
		changes = append(changes, decoded...)
	}
	return changes, nil
}

// unstage applies a staged entry to what was loaded: its keys may have been written
// all, in part or not at all.
func (l *loaded) unstage() error {
	if l.version.head.Staged == "" {
		return nil
	}
	changes, err := l.version.head.unstage(l.staged)
	if err != nil {
		return err
	}
	r := newRecorder(l.version)
	for _, c := range changes {
		if err := r.write(c); err != nil {
			return err
		}
	}
	l.version.tree, l.version.digest, l.version.unsettled = r.Tree, r.digest, changes
	return nil
}

// settle writes the changes of the staged entry that v shows to their keys, before
// ops can be committed.
func (s *Store) settle(ctx context.Context, ops []*op, v *version) (outcome, error) {
	settled := *v
	settled.head.Staged, settled.head.Parts, settled.unsettled = "", 0, nil
	for maxOps := s.cfg.MaxOps; ; maxOps /= 2 {
		out, err := s.settleIn(ctx, ops, v, &settled, maxOps)
		if err != nil && judge(err) == tooLarge && maxOps > 1 {
			// etcd takes less than this node was told; the entry is committed and
			// must not be in everybody's way for that.
			s.logger.Warn("etcd takes fewer operations or bytes than configured", "err", err, "max_txn_ops", maxOps)
			continue
		}
		if out != committed {
			return out, err
		}
		s.mu.Lock()
		if s.current.Load() == v {
			s.republish(v, settled.head, settled.revision)
		}
		s.mu.Unlock()
		return committed, nil
	}
}

// settleIn settles v in transactions of at most maxOps operations. The last one makes
// settled.head the head.
func (s *Store) settleIn(ctx context.Context, ops []*op, v, settled *version, maxOps int) (outcome, error) {
	batches := append(s.settleBatches(v.unsettled, maxOps), []clientv3.Op{
		clientv3.OpPut(s.keys.of(headKey), settled.head.encode()),
		clientv3.OpDelete(s.keys.of(stagedPrefix+v.head.Staged+"/"), clientv3.WithPrefix()),
	})
	for _, then := range batches {
		resp, err := s.transact(ctx, request{
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.keys.of(headKey)), "=", v.revision)},
			then:       then, otherwise: []clientv3.Op{clientv3.OpGet(s.keys.of(headKey))},
		})
		if err != nil {
			s.trouble(err)
			if judge(err) == refused {
				giveUp(ops, err, refusedError(err))
				return answered, err
			}
			return uncertain, fmt.Errorf("settle a large entry: %w", err)
		}
		s.heard()
		if !resp.Succeeded {
			// Somebody else was faster.
			return s.catchUp(ctx, ops, v, resp)
		}
		settled.revision = resp.Header.Revision
		if s.settling != nil {
			s.settling()
		}
	}
	return committed, nil
}

// settleBatches are the operations for changes, as one transaction each can take.
func (s *Store) settleBatches(changes []storage.Change, maxOps int) [][]clientv3.Op {
	var batches [][]clientv3.Op
	var batch []clientv3.Op
	size, maxBytes := 0, s.partBytes()*maxOps/s.cfg.MaxOps
	for _, c := range changes {
		n := len(s.keys.prefix) + len(c.Key) + len(c.Value) + bytesPerOp
		if len(batch) == maxOps || len(batch) > 0 && size+n > maxBytes {
			batches = append(batches, batch)
			batch, size = nil, 0
		}
		batch = append(batch, write(s.keys.of(string(c.Key)), c.Value))
		size += n
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}

// republish makes a head current that says something else about the same entry. The
// caller holds mu.
func (s *Store) republish(v *version, h head, revision int64) {
	next := *v
	next.head, next.revision = h, revision
	if h.Staged == "" {
		next.unsettled = nil
	}
	s.current.Store(&next)
	s.announce()
}

// sweep removes parts that no head names and that were there before the present
// leader run began: their node gave up or died before it committed them. One that is
// still at it finds its parts missing, and stages anew.
func (s *Store) sweep(ctx context.Context) error {
	request, cancel := s.attempt(ctx)
	defer cancel()
	resp, err := s.client.Get(request, s.keys.of(stagedPrefix), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("list staged parts: %w", err)
	}
	entries := map[string]bool{}
	for _, kv := range resp.Kvs {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(s.keys.strip(kv.Key)), stagedPrefix), "/")
		entries[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := s.sweepEntry(ctx, name); err != nil {
			return fmt.Errorf("remove staged parts: %w", err)
		}
	}
	return nil
}

// sweepEntry removes the parts of one entry, unless the head names it by then.
func (s *Store) sweepEntry(ctx context.Context, name string) error {
	for ctx.Err() == nil {
		v := s.current.Load()
		if v.head.Staged == name {
			return nil
		}
		resp, err := s.transact(ctx, request{
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.keys.of(headKey)), "=", v.revision)},
			then:       []clientv3.Op{clientv3.OpDelete(s.keys.of(stagedPrefix+name+"/"), clientv3.WithPrefix())},
		})
		if err != nil || resp.Succeeded {
			return err
		}
		if !wait.For(ctx, wait.Jitter(retryMin, 0.5)) {
			break
		}
	}
	return context.Cause(ctx)
}
