package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// session is a Session made of a function.
type session struct {
	do     func(ctx context.Context, began time.Time) error
	closed *atomic.Int64
}

func (s session) Do(ctx context.Context, began time.Time) error { return s.do(ctx, began) }
func (s session) Close()                                        { s.closed.Add(1) }

// subjectOf makes a subject of which every client does the same.
func subjectOf(name string, do func(ctx context.Context, began time.Time) error) (*Subject, *atomic.Int64) {
	closed := new(atomic.Int64)
	return &Subject{Name: name, Open: func(int) Session { return session{do, closed} }}, closed
}

var shortLoad = Load{Clients: 4, Warmup: 5 * time.Millisecond, Duration: 60 * time.Millisecond}

func idle(d time.Duration) func(context.Context, time.Time) error {
	return func(ctx context.Context, _ time.Time) error { return pause(ctx, d) }
}

func TestTurn(t *testing.T) {
	t.Parallel()
	s, closed := subjectOf("a", idle(time.Millisecond))
	var order []string
	result, err := runTurn(t.Context(), s, shortLoad,
		func() { order = append(order, "start") }, func() { order = append(order, "end") })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(order), "[start end]"; got != want {
		t.Errorf("samples: got %s, want %s", got, want)
	}
	if got, want := closed.Load(), int64(shortLoad.Clients); got != want {
		t.Errorf("closed sessions: got %d, want %d", got, want)
	}
	if result.latency.Count() == 0 || result.latency.Min() < time.Millisecond {
		t.Errorf("got %d operations of at least %v, want some of at least 1ms", result.latency.Count(), result.latency.Min())
	}
}

// TestTurnWaitsForSlow: an operation that began in time and takes longer than
// the turn is not forgotten.
func TestTurnWaitsForSlow(t *testing.T) {
	t.Parallel()
	const slow = 100 * time.Millisecond
	var once sync.Once
	s, _ := subjectOf("a", func(ctx context.Context, began time.Time) error {
		d := time.Millisecond
		once.Do(func() { d = slow })
		return pause(ctx, d)
	})
	load := shortLoad
	load.Warmup = 0
	result, err := runTurn(t.Context(), s, load, func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if result.latency.Max() < slow || result.elapsed < slow {
		t.Errorf("got a maximum of %v in %v, want at least %v", result.latency.Max(), result.elapsed, slow)
	}
}

// TestTurnWarmup: what happens before the measured time counts as an error when
// it is one, but not as an operation.
func TestTurnWarmup(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	load := Load{Clients: 1, Warmup: 30 * time.Millisecond, Duration: 20 * time.Millisecond}
	failed := false
	s, _ := subjectOf("a", func(ctx context.Context, began time.Time) error {
		if !failed {
			failed = true
			return errors.New("refused")
		}
		if began.Sub(begin) < load.Warmup {
			return pause(ctx, time.Millisecond)
		}
		return pause(ctx, time.Until(begin.Add(time.Second)))
	})
	result, err := runTurn(t.Context(), s, load, func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := result.tally.errors, uint64(1); got != want {
		t.Errorf("errors: got %d, want %d", got, want)
	}
	if got := result.latency.Count(); got > 1 {
		t.Errorf("operations: got %d, want those of the measured time only", got)
	}
}

func TestTurnEndsWithContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	s, closed := subjectOf("a", func(ctx context.Context, _ time.Time) error {
		cancel(cause)
		<-ctx.Done()
		return ctx.Err()
	})
	_, err := runTurn(ctx, s, Load{Clients: 3, Duration: time.Hour}, func() {}, func() {})
	if !errors.Is(err, cause) {
		t.Errorf("got error %v, want %v", err, cause)
	}
	if got := closed.Load(); got != 3 {
		t.Errorf("closed sessions: got %d, want 3", got)
	}
}

func TestRunTakesTurns(t *testing.T) {
	t.Parallel()
	a, _ := subjectOf("a", idle(time.Millisecond))
	b, _ := subjectOf("b", idle(4*time.Millisecond))
	verified := 0
	b.Verify = func(context.Context) error { verified++; return nil }
	var order []string
	plan := Plan{
		Name: "waiting", Load: shortLoad, Turns: 3, Subjects: []*Subject{a, b}, Baseline: "b",
		Targets:  map[string]float64{"a": 1.5},
		Progress: func(subject string, turn int, _ Turn) { order = append(order, fmt.Sprint(subject, turn)) },
	}
	run, err := plan.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a1", "b1", "a2", "b2", "a3", "b3"}; !slices.Equal(order, want) {
		t.Errorf("order: got %v, want %v", order, want)
	}
	if verified != 1 {
		t.Errorf("verified %d times, want once", verified)
	}
	if len(run.Subjects) != 2 || len(run.Subjects[0].Turns) != 3 || len(run.Ratios) != 1 {
		t.Fatalf("got %d subjects and %d ratios", len(run.Subjects), len(run.Ratios))
	}
	ratio := run.Ratios[0]
	if ratio.Subject != "a" || ratio.Baseline != "b" || ratio.Target != 1.5 {
		t.Errorf("got ratio %+v", ratio)
	}
	var want []float64
	for i, turn := range run.Subjects[0].Turns {
		want = append(want, turn.OpsPerSecond/run.Subjects[1].Turns[i].OpsPerSecond)
	}
	if got := ratio.Spread; got != spreadOf(want) {
		t.Errorf("got spread %+v, want that of %v", got, want)
	}
}

// TestRunGuards: what must not pass for a figure.
func TestRunGuards(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	tests := []struct {
		name    string
		do      func(context.Context, time.Time) error
		verify  func(context.Context) error
		allowed uint64
		want    string
	}{
		{"err_nothing_done", func(context.Context, time.Time) error { return errors.New("refused") }, nil, 1 << 40, "no operation"},
		{"err_errors", func(ctx context.Context, _ time.Time) error {
			if calls.Add(1)%5 == 0 {
				return errors.New("refused")
			}
			return pause(ctx, time.Millisecond)
		}, nil, 0, "errors, 0 allowed: refused"},
		{"ok_errors_allowed", func(ctx context.Context, _ time.Time) error {
			if calls.Add(1)%5 == 0 {
				return errors.New("refused")
			}
			return pause(ctx, time.Millisecond)
		}, nil, 1 << 40, ""},
		{"err_wrong_is_never_allowed", func(ctx context.Context, _ time.Time) error {
			if calls.Add(1)%5 == 0 {
				return fmt.Errorf("later: %w", wrongf("GET /x", "old"))
			}
			return pause(ctx, time.Millisecond)
		}, nil, 1 << 40, "wrong answers: later: wrong answer to GET /x: old"},
		{"err_verify", idle(time.Millisecond), func(context.Context) error { return errors.New("lost") }, 0, "verify a: lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := subjectOf("a", tt.do)
			s.Verify = tt.verify
			plan := Plan{Name: "guarded", Load: shortLoad, Turns: 1, Subjects: []*Subject{s}, AllowedErrors: tt.allowed}
			run, err := plan.Run(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			if len(run.Subjects) != 1 || len(run.Subjects[0].Turns) != 1 {
				t.Error("what was measured is not reported")
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	a, _ := subjectOf("a", idle(0))
	twin, _ := subjectOf("a", idle(0))
	good := Plan{Load: shortLoad, Turns: 1, Subjects: []*Subject{a}}
	tests := map[string]func(*Plan){
		"turns":     func(p *Plan) { p.Turns = 0 },
		"subjects":  func(p *Plan) { p.Subjects = nil },
		"twins":     func(p *Plan) { p.Subjects = []*Subject{a, twin} },
		"baseline":  func(p *Plan) { p.Baseline = "b" },
		"clients":   func(p *Plan) { p.Load.Clients = 0 },
		"crowd":     func(p *Plan) { p.Load.Clients = maxClients + 1 },
		"warm-up":   func(p *Plan) { p.Load.Warmup = -1 },
		"durations": func(p *Plan) { p.Load.Duration = 0 },
	}
	for name, spoil := range tests {
		plan := good
		spoil(&plan)
		if _, err := plan.Run(t.Context()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
