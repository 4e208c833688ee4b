package bench

import (
	"math"
	"math/bits"
	"time"
)

const (
	// subBits sets the resolution: each power of two is cut into 2^subBits
	// buckets of equal width, so that a value is known to within 1/128.
	subBits = 7
	// maxExponent bounds the range: 2^maxExponent ns are 137 s. Longer times
	// share the last bucket; the maximum is kept exactly all the same.
	maxExponent = 37

	subBuckets  = 1 << subBits
	bucketCount = (maxExponent-subBits)<<subBits + subBuckets
)

// Histogram counts times with a bounded relative error and in fixed memory, so
// that recording costs a few nanoseconds and histograms can be added up. The
// zero value is empty and ready. It is for one goroutine.
type Histogram struct {
	counts   [bucketCount]uint64
	count    uint64
	sum      uint64
	min, max uint64
}

// Record counts one time. A negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	v := uint64(max(d, 0))
	h.counts[bucketOf(v)]++
	if h.count == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.sum += v
	h.count++
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.count == 0 {
		return
	}
	if h.count == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.sum += other.sum
	h.count += other.count
	for i, n := range other.counts {
		h.counts[i] += n
	}
}

// Count is how many times were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Min and Max are exact; 0 when nothing was recorded.
func (h *Histogram) Min() time.Duration { return time.Duration(h.min) }

// Max is the longest time.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Mean is exact; 0 when nothing was recorded.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / h.count)
}

// Quantile returns a time that at least the fraction q of all recorded times do
// not exceed. It is too high by at most one part in 128, never too low.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			// The last bucket has no upper end but the maximum.
			if i == bucketCount-1 {
				break
			}
			return time.Duration(max(min(lowerBound(i+1)-1, h.max), h.min))
		}
	}
	return time.Duration(h.max)
}

// bucketOf returns the bucket of v. Below subBuckets every value has its own;
// above, the bits after the leading one choose among the buckets of its power.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	exponent := bits.Len64(v) - 1
	if exponent >= maxExponent {
		return bucketCount - 1
	}
	shift := exponent - subBits
	return shift<<subBits + int(v>>shift)
}

// lowerBound is the smallest value of bucket i.
func lowerBound(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i&(subBuckets-1)|subBuckets) << shift
}
