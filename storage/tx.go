package storage

// Reader is a consistent, read-only view of the replicated keys.
//
// Slices that a Reader hands out belong to it: they are valid until the view
// ends and must not be modified. A Reader is for one goroutine.
type Reader interface {
	// Get returns the value of key, or nil when the key is absent. (Values are
	// never empty, see Tx.Put.)
	Get(key []byte) ([]byte, error)
	// Scan calls fn for every pair with start <= key < end in ascending byte
	// order, until fn returns false or an error. A nil end means no bound. fn
	// must not change the keys being scanned.
	Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error
}

// Tx is a Reader that can write. It sees its own writes. Any error it returns
// is a fault of the driver: the whole transaction must be abandoned.
type Tx interface {
	Reader
	// Put sets key to a non-empty value. The driver may keep both slices until
	// the transaction ends; the caller must not modify them afterwards.
	Put(key, value []byte) error
	// Delete removes key; an absent key is not an error.
	Delete(key []byte) error
}

// PrefixEnd returns the first key after all keys that begin with prefix, or
// nil when there is none: the end of a Scan over the prefix.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// ScanPrefix scans every key that begins with prefix.
func ScanPrefix(r Reader, prefix []byte, fn func(key, value []byte) (bool, error)) error {
	return r.Scan(prefix, PrefixEnd(prefix), fn)
}

// Change is what a transaction did to one key. Old is nil when the key was absent
// before, Value when it is absent now. The slices belong to the driver and must
// not be modified.
type Change struct{ Key, Old, Value []byte }
