package sim

import (
	"maps"
	"sync"
	"time"
)

// Call is one call as the simulator saw it.
type Call struct {
	// Seq numbers the calls from 1.
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
	// Name is health, deploy, status, record, records or delete; over gRPC also
	// check (HealthService) and topology.
	Name string `json:"name"`
	// Protocol is http or grpc.
	Protocol string `json:"protocol"`
	// Unit and Deployment are empty where the call names none.
	Unit           string `json:"unit,omitempty"`
	Deployment     string `json:"deployment,omitempty"`
	Term           uint64 `json:"term,omitempty"`
	Generation     uint64 `json:"generation,omitempty"`
	CorrelationID  string `json:"correlation_id,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	Traceparent    string `json:"traceparent,omitempty"`
	// Status is the HTTP status that was answered, or would have been: the
	// caller of a hung call never saw it. A call of gRPC has the status that
	// means the same.
	Status int    `json:"status"`
	Effect Effect `json:"effect,omitempty"`
}

// journal remembers the newest calls, in the order in which they took effect, and
// counts all.
type journal struct {
	size int

	// mu guards what follows.
	mu     sync.Mutex
	calls  []Call
	last   uint64
	counts map[string]uint64
}

func newJournal(size int) *journal { return &journal{size: size, counts: map[string]uint64{}} }

func (j *journal) add(call Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.counts[call.Name]++
	call.Seq = j.last
	if len(j.calls) >= 2*j.size {
		j.calls = append(j.calls[:0], j.calls[len(j.calls)-j.size+1:]...)
	}
	j.calls = append(j.calls, call)
}

func (j *journal) since(seq uint64) []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	begin := max(0, len(j.calls)-j.size)
	for begin < len(j.calls) && j.calls[begin].Seq <= seq {
		begin++
	}
	return append([]Call{}, j.calls[begin:]...)
}

// Calls returns the calls after seq that are still remembered, oldest first.
func (s *Sim) Calls(seq uint64) []Call { return s.journal.since(seq) }

// Counts returns how many calls of each name there have been, also those that
// the journal has forgotten.
func (s *Sim) Counts() map[string]uint64 {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return maps.Clone(s.journal.counts)
}
