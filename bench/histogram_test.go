package bench

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHistogramBuckets walks over every bucket: they follow each other without a
// gap, and none is wider than one part in 128 of its lower bound.
func TestHistogramBuckets(t *testing.T) {
	t.Parallel()
	for i := range bucketCount - 1 {
		low, next := lowerBound(i), lowerBound(i+1)
		if got := bucketOf(low); got != i {
			t.Fatalf("bucket of %d: got %d, want %d", low, got, i)
		}
		if got := bucketOf(next - 1); got != i {
			t.Fatalf("bucket of %d: got %d, want %d", next-1, got, i)
		}
		if width := next - low; width > 1 && width > low>>subBits {
			t.Fatalf("bucket %d of %d has width %d", i, low, width)
		}
	}
	for _, v := range []uint64{1 << maxExponent, 1<<maxExponent + 1, math.MaxInt64} {
		if got, want := bucketOf(v), bucketCount-1; got != want {
			t.Errorf("bucket of %d: got %d, want %d", v, got, want)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	tests := []struct {
		name string
		draw func() time.Duration
	}{
		{"small", func() time.Duration { return time.Duration(random.IntN(200)) }},
		{"exponential", func() time.Duration { return time.Duration(random.ExpFloat64() * float64(time.Millisecond)) }},
		{"wide", func() time.Duration { return time.Duration(math.Exp(random.Float64() * 25)) }},
		{"constant", func() time.Duration { return 1234567 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h Histogram
			values := make([]time.Duration, 20_000)
			var sum time.Duration
			for i := range values {
				values[i] = tt.draw()
				sum += values[i]
				h.Record(values[i])
			}
			slices.Sort(values)
			for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
				want := values[max(int(math.Ceil(q*float64(len(values))))-1, 0)]
				got := h.Quantile(q)
				if got < want || float64(got) > float64(want)*(1+1.0/subBuckets) {
					t.Errorf("quantile %v: got %d, want %d or slightly more", q, got, want)
				}
			}
			if got, want := h.Mean(), sum/time.Duration(len(values)); got != want {
				t.Errorf("mean: got %v, want %v", got, want)
			}
			if got, want := [2]time.Duration{h.Min(), h.Max()}, [2]time.Duration{values[0], values[len(values)-1]}; got != want {
				t.Errorf("ends: got %v, want %v", got, want)
			}
		})
	}
}

func TestHistogramEnds(t *testing.T) {
	t.Parallel()
	var h Histogram
	if got := h.Latency(); got != (Latency{}) {
		t.Errorf("empty: got %+v, want zeros", got)
	}
	h.Record(-time.Second)
	h.Record(time.Hour)
	if got, want := h.Quantile(0.5), time.Duration(0); got != want {
		t.Errorf("median of a negative and a long time: got %v, want %v", got, want)
	}
	if got, want := h.Quantile(1), time.Hour; got != want {
		t.Errorf("beyond the range: got %v, want %v", got, want)
	}
}

func TestHistogramMerge(t *testing.T) {
	t.Parallel()
	var all, a, b, empty Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		all.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	var merged Histogram
	for _, part := range []*Histogram{&empty, &b, &a, &empty} {
		merged.Merge(part)
	}
	if merged != all {
		t.Error("merged parts differ from the whole")
	}
}

func TestHistogramJSON(t *testing.T) {
	t.Parallel()
	var h Histogram
	for i := range 5000 {
		h.Record(time.Duration(i*i*i) * 3)
	}
	h.Record(time.Hour)
	for _, want := range []*Histogram{&h, new(Histogram)} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Histogram
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if got != *want {
			t.Errorf("read back %s: not the same", data)
		}
	}
}

func TestHistogramJSONRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`[]`,
		`{"count":1,"buckets":[]}`,
		`{"count":1,"min_ns":1025,"max_ns":1025,"buckets":[[1025,1]]}`,
		`{"count":1,"min_ns":2,"max_ns":1,"buckets":[[1,1]]}`,
	} {
		var h Histogram
		if err := json.Unmarshal([]byte(text), &h); err == nil {
			t.Errorf("%s: got no error", text)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		values []float64
		want   Spread
	}{
		{"none", nil, Spread{}},
		{"one", []float64{2}, Spread{2, 2, 2}},
		{"odd", []float64{3, 1, 2}, Spread{1, 2, 3}},
		{"even", []float64{4, 1, 3, 2}, Spread{1, 2.5, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, spreadOf(tt.values)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	d := time.Duration(1)
	for b.Loop() {
		h.Record(d)
		d = (d*7 + 13) & (1<<30 - 1)
	}
}
