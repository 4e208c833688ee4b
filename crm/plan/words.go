package plan

import "strings"

// words keeps the texts of a plan's verdicts. There are a thousand of them when
// there are a thousand clusters, and each would be two allocations; they share
// blocks instead.
type words struct {
	// text is where a text is put together.
	text    []byte
	block   strings.Builder
	reasons []string
	// recent are the last texts that were kept: many clusters are out for the same
	// reason.
	recent [8]string
	kept   int
}

const (
	wordsPerBlock   = 16 << 10 // bytes of text
	reasonsPerBlock = 256
)

// keep returns a text as a string of its own.
func (x *words) keep(text []byte) string {
	x.text = text[:0]
	for _, known := range x.recent {
		if known == string(text) {
			return known
		}
	}
	if x.block.Cap()-x.block.Len() < len(text) {
		x.block = strings.Builder{}
		x.block.Grow(max(wordsPerBlock, len(text)))
	}
	start := x.block.Len()
	x.block.Write(text)
	known := x.block.String()[start:]
	x.recent[x.kept%len(x.recent)] = known
	x.kept++
	return known
}

// only returns a list of one reason.
func (x *words) only(reason string) []string {
	if len(x.reasons) == cap(x.reasons) {
		x.reasons = make([]string, 0, reasonsPerBlock)
	}
	x.reasons = append(x.reasons, reason)
	return x.reasons[len(x.reasons)-1 : len(x.reasons) : len(x.reasons)]
}
