package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Faults is how a simulator misbehaves. The zero value is good behaviour.
type Faults struct {
	// Calls limits the faults to calls of these names (see Call.Name); empty
	// means all calls of the contract.
	Calls []string `json:"calls,omitempty"`
	// Latency is added before a call has its effect.
	Latency Duration `json:"latency,omitempty"`
	// ErrorRate is the share of calls, 0 to 1, that are answered 503 without
	// an effect.
	ErrorRate float64 `json:"error_rate,omitempty"`
	// Status, when not 0, is answered to every call, without an effect.
	Status int `json:"status,omitempty"`
	// Hang stops calls before their effect until the caller goes away or the
	// fault is lifted; HangReply stops them after their effect.
	Hang      bool `json:"hang,omitempty"`
	HangReply bool `json:"hang_reply,omitempty"`
	// Garbage answers 200 with nonsense, after the effect.
	Garbage bool `json:"garbage,omitempty"`
	// Condition, when not empty, is reported of every unit.
	Condition string `json:"condition,omitempty"`
}

// Validate returns all problems, joined.
func (f Faults) Validate() error {
	var errs []error
	if !(f.ErrorRate >= 0 && f.ErrorRate <= 1) {
		errs = append(errs, errors.New("error_rate must be between 0 and 1"))
	}
	if f.Latency < 0 {
		errs = append(errs, errors.New("latency must not be negative"))
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		errs = append(errs, errors.New("status must be between 200 and 599"))
	}
	for _, call := range f.Calls {
		if !slices.Contains(callNames, call) {
			errs = append(errs, fmt.Errorf("calls: %q is none of %v", call, callNames))
		}
	}
	return errors.Join(errs...)
}

func (f Faults) concern(call string) bool {
	return len(f.Calls) == 0 || slices.Contains(f.Calls, call)
}

// Duration is a time.Duration that is text in JSON, as in 150ms.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	*d = Duration(value)
	return err
}

// faultBox holds the present faults and wakes those who wait for a change.
type faultBox struct {
	// mu guards both fields.
	mu      sync.Mutex
	present Faults
	changed chan struct{}
}

func (b *faultBox) set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present = f
	if b.changed != nil {
		close(b.changed)
	}
	b.changed = make(chan struct{})
}

func (b *faultBox) get() Faults {
	f, _ := b.watch()
	return f
}

func (b *faultBox) watch() (Faults, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.present, b.changed
}

// hang blocks as long as the faults make the call hang, and fails when ctx ends.
func (b *faultBox) hang(ctx context.Context, call string, hangs func(Faults) bool) error {
	for {
		f, changed := b.watch()
		if !f.concern(call) || !hangs(f) {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// SetFaults replaces the faults, also for calls that hang now. It panics on
// invalid ones; what comes over HTTP is checked there.
func (s *Sim) SetFaults(f Faults) {
	if err := f.Validate(); err != nil {
		panic(fmt.Sprintf("sim: %v", err))
	}
	s.faults.set(f)
}

// Faults returns the present faults.
func (s *Sim) Faults() Faults { return s.faults.get() }

// before plays the faults that come before a call's effect. A refusal is to be
// answered; another error means that the caller has gone.
func (s *Sim) before(ctx context.Context, call string) error {
	f := s.faults.get()
	if f.concern(call) && f.Latency > 0 {
		timer := time.NewTimer(time.Duration(f.Latency))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.faults.hang(ctx, call, func(f Faults) bool { return f.Hang }); err != nil {
		return err
	}
	if f = s.faults.get(); !f.concern(call) {
		return nil
	}
	if f.Status != 0 {
		return &refusal{f.Status, "fault", "a fault was injected"}
	}
	s.mu.Lock()
	unlucky := f.ErrorRate > 0 && s.rng.Float64() < f.ErrorRate
	s.mu.Unlock()
	if unlucky {
		return &refusal{503, "unavailable", "the simulated cluster is unavailable"}
	}
	return nil
}
