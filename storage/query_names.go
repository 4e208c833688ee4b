package storage

import "slices"

// A nameSource finds the smallest name at or after from. Callers ask with
// growing from.
type nameSource interface {
	seek(from string) (name string, ok bool, err error)
}

// indexBatch is how many names an index scan reads ahead: enough to make a seek
// per name rare, small enough to waste little at a page's end.
const indexBatch = 64

// indexNames is the names under one term of an index.
type indexNames struct {
	r     Reader
	index Index
	term  string
	// batch holds the names from start on; complete says that no more follow.
	batch    []string
	start    string
	loaded   bool
	complete bool
}

func newIndexNames(r Reader, index Index, term string) *indexNames {
	return &indexNames{r: r, index: index, term: term, batch: make([]string, 0, indexBatch)}
}

func (x *indexNames) seek(from string) (string, bool, error) {
	if x.loaded && from >= x.start {
		if i, _ := slices.BinarySearch(x.batch, from); i < len(x.batch) {
			return x.batch[i], true, nil
		} else if x.complete {
			return "", false, nil
		}
	}
	if err := x.load(from); err != nil {
		return "", false, err
	}
	if len(x.batch) == 0 {
		return "", false, nil
	}
	return x.batch[0], true, nil
}

func (x *indexNames) load(from string) error {
	x.batch, x.start, x.loaded, x.complete = x.batch[:0], from, true, true
	return x.index.Scan(x.r, x.term, from, func(name string) (bool, error) {
		if len(x.batch) == indexBatch {
			x.complete = false
			return false, nil
		}
		x.batch = append(x.batch, name)
		return true, nil
	})
}

// anyOf is the union of its sources, each name once.
type anyOf []nameSource

func (sources anyOf) seek(from string) (string, bool, error) {
	least, found := "", false
	for _, source := range sources {
		name, ok, err := source.seek(from)
		if err != nil {
			return "", false, err
		}
		if ok && (!found || name < least) {
			least, found = name, true
		}
	}
	return least, found, nil
}

// allOf is the intersection of its sources. It leaps from the candidate of one
// to the next candidate of another, so it costs no more than the rarest.
type allOf []nameSource

func (sources allOf) seek(from string) (string, bool, error) {
	for {
		candidate, agreed := from, true
		for i, source := range sources {
			name, ok, err := source.seek(candidate)
			if err != nil || !ok {
				return "", false, err
			}
			if i > 0 && name != candidate {
				agreed = false
			}
			candidate = name
		}
		if agreed {
			return candidate, true, nil
		}
		from = candidate
	}
}
