package plan

import "sync"

// scratch is the memory that a plan is worked out in, as far as its size goes with
// the number of clusters. None of it is part of a plan, so the next one uses it
// again: a dry run over a thousand clusters is bound by what is allocated.
type scratch struct {
	states []state
	ints   []int
	// availabilities and text are for one use at a time.
	availabilities []float64
	text           []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// newStates returns so many states, all zero.
func (s *scratch) newStates(n int) []state {
	if cap(s.states) < n {
		s.states = make([]state, n)
	}
	s.states = s.states[:n]
	clear(s.states)
	return s.states
}

// newInts returns an empty list with room for n, cut from a block. A block that is
// too small is replaced; what was cut from it stays with who has it.
func (s *scratch) newInts(n int) []int {
	start := len(s.ints)
	if cap(s.ints)-start < n {
		s.ints, start = make([]int, 0, max(2*cap(s.ints), 4*n)), 0
	}
	s.ints = s.ints[:start+n]
	return s.ints[start : start : start+n]
}

// release makes the memory ready for the next plan.
func (s *scratch) release() {
	s.ints = s.ints[:0]
	scratches.Put(s)
}
