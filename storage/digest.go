package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Digest is an order-independent hash over all replicated keys and values: the
// sum, lane by lane modulo 2^64, of the first 128 bits of SHA-256 over each
// pair. It is updated with every change instead of being computed anew, and two
// replicas at the same index have the same digest (invariant I4).
type Digest [2]uint64

// Add includes a pair.
func (d *Digest) Add(key, value []byte) {
	lanes := pairHash(key, value)
	d[0] += lanes[0]
	d[1] += lanes[1]
}

// Remove takes out a pair that was included.
func (d *Digest) Remove(key, value []byte) {
	lanes := pairHash(key, value)
	d[0] -= lanes[0]
	d[1] -= lanes[1]
}

// String is the digest in hexadecimal, 32 characters.
func (d Digest) String() string { return fmt.Sprintf("%016x%016x", d[0], d[1]) }

func pairHash(key, value []byte) [2]uint64 {
	h := sha256.New()
	var buf [sha256.Size]byte
	h.Write(binary.BigEndian.AppendUint32(buf[:0], uint32(len(key))))
	h.Write(key)
	h.Write(value)
	sum := h.Sum(buf[:0])
	return [2]uint64{binary.BigEndian.Uint64(sum[0:8]), binary.BigEndian.Uint64(sum[8:16])}
}

// ComputeDigest reads everything behind r. It is what the incremental digest
// must equal.
func ComputeDigest(r Reader) (Digest, error) {
	var d Digest
	err := r.Scan(nil, nil, func(key, value []byte) (bool, error) {
		d.Add(key, value)
		return true, nil
	})
	return d, err
}

// ContentDigest is the digest without what is the cluster's own (OwnKeys) and what
// is staged for a restore: equal for the same content in two clusters.
func ContentDigest(r Reader) (Digest, error) {
	d, err := ComputeDigest(r)
	if err != nil {
		return d, err
	}
	return d.Content(r)
}

// Content is the content digest of the state behind r, whose digest is d.
func (d Digest) Content(r Reader) (Digest, error) {
	for _, key := range OwnKeys {
		value, err := r.Get(key)
		if err != nil {
			return d, err
		}
		if value != nil {
			d.Remove(key, value)
		}
	}
	err := ScanPrefix(r, []byte(RestorePrefix), func(key, value []byte) (bool, error) {
		d.Remove(key, value)
		return true, nil
	})
	return d, err
}
