package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// histogramJSON is how a histogram is written: only the buckets that hold
// something, as pairs of lower bound (ns) and count.
type histogramJSON struct {
	Count   uint64      `json:"count"`
	Sum     uint64      `json:"sum_ns"`
	Min     uint64      `json:"min_ns"`
	Max     uint64      `json:"max_ns"`
	Buckets [][2]uint64 `json:"buckets"`
}

// MarshalJSON writes the histogram without loss.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{Count: h.count, Sum: h.sum, Min: h.min, Max: h.max, Buckets: [][2]uint64{}}
	for i, n := range h.counts {
		if n > 0 {
			out.Buckets = append(out.Buckets, [2]uint64{lowerBound(i), n})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote, and refuses what it cannot have
// written.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	*h = Histogram{count: in.Count, sum: in.Sum, min: in.Min, max: in.Max}
	var total uint64
	for _, pair := range in.Buckets {
		i := bucketOf(pair[0])
		if lowerBound(i) != pair[0] {
			return fmt.Errorf("decode histogram: %d ns is not the bound of a bucket", pair[0])
		}
		h.counts[i] += pair[1]
		total += pair[1]
	}
	if total != in.Count || in.Min > in.Max {
		return errors.New("decode histogram: its buckets do not add up")
	}
	return nil
}

// Latency is what people read of a histogram, in microseconds.
type Latency struct {
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
}

// Latency sums the histogram up.
func (h *Histogram) Latency() Latency {
	return Latency{
		Mean: micros(h.Mean()),
		P50:  micros(h.Quantile(0.50)),
		P90:  micros(h.Quantile(0.90)),
		P99:  micros(h.Quantile(0.99)),
		P999: micros(h.Quantile(0.999)),
		Max:  micros(h.Max()),
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
