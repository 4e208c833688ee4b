package bench

import "slices"

// Spread is what the turns of a run have in common: the middle value, and the
// two ends that say how far it can be trusted.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of values; of none, zero.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return Spread{Min: sorted[0], Median: median, Max: sorted[len(sorted)-1]}
}

// Ratio is one subject over another, turn by turn: what disturbed the machine
// for longer than two turns disturbed both.
type Ratio struct {
	Subject  string `json:"subject"`
	Baseline string `json:"baseline"`
	Spread
	// Target is the least that the median shall be; 0: there is none.
	Target float64 `json:"target,omitempty"`
	// ServerCPU is what the servers spend on one operation, subject over
	// baseline; 0 when unknown. Other work on the machine hardly changes it.
	ServerCPU float64 `json:"server_cpu_per_op,omitempty"`
}

// ratioOf compares two subjects that were measured in the same turns.
func ratioOf(subject, baseline SubjectReport) Ratio {
	r := Ratio{Subject: subject.Name, Baseline: baseline.Name, ServerCPU: over(subject.ServerCPUMicros, baseline.ServerCPUMicros)}
	var values []float64
	for i := range min(len(subject.Turns), len(baseline.Turns)) {
		if base := baseline.Turns[i].OpsPerSecond; base > 0 {
			values = append(values, subject.Turns[i].OpsPerSecond/base)
		}
	}
	r.Spread = spreadOf(values)
	return r
}
