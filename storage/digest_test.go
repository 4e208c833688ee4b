package storage

import "testing"

func TestDigest(t *testing.T) {
	t.Parallel()
	var empty, a, b Digest
	a.Add([]byte("k1"), []byte("v1"))
	a.Add([]byte("k2"), []byte("v2"))
	b.Add([]byte("k2"), []byte("v2"))
	b.Add([]byte("k1"), []byte("v1"))
	if a != b {
		t.Errorf("the order matters: %s and %s", a, b)
	}
	// Pinned: replicas of different releases must agree.
	if got, want := a.String(), "47eabbaf4256bafbff57be4ea879cf9b"; got != want {
		t.Errorf("digest: got %s, want %s", got, want)
	}
	a.Remove([]byte("k1"), []byte("v1"))
	a.Remove([]byte("k2"), []byte("v2"))
	if a != empty {
		t.Errorf("after removing everything: got %s, want %s", a, empty)
	}
	// The border between key and value is part of it.
	var c, d Digest
	c.Add([]byte("ab"), []byte("c"))
	d.Add([]byte("a"), []byte("bc"))
	if c == d {
		t.Errorf("two pairs have one digest %s", c)
	}
}
