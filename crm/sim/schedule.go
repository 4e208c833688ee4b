package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Step is a part of a schedule: faults that last for a time. For 0 lasts for
// ever.
type Step struct {
	For    Duration `json:"for,omitempty"`
	Faults Faults   `json:"faults"`
}

func validateSteps(steps []Step) error {
	var errs []error
	for i, step := range steps {
		if step.For < 0 {
			errs = append(errs, fmt.Errorf("[%d]: for must not be negative", i))
		}
		if err := step.Faults.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// faultBox holds the present faults, which may follow a schedule, and wakes those
// who wait for a change.
type faultBox struct {
	now func() time.Time

	// mu guards what follows.
	mu    sync.Mutex
	steps []Step // never empty
	began time.Time
	// version counts the changes; changed is closed by the next.
	version uint64
	changed chan struct{}
	// played is the newest version that the ports follow, followers how many
	// follow it; both move under mu, and followed is closed when either does.
	played    uint64
	followers int
	followed  chan struct{}
}

func newFaultBox(now func() time.Time, f Faults) *faultBox {
	return &faultBox{now: now, steps: []Step{{Faults: f}}, began: now(), changed: make(chan struct{}), followed: make(chan struct{})}
}

func (b *faultBox) set(steps ...Step) (version uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps, b.began = slices.Clone(steps), b.now()
	b.version++
	close(b.changed)
	b.changed = make(chan struct{})
	return b.version
}

func (b *faultBox) get() Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, _ := b.at(b.now())
	return f
}

// moment is the faults of one moment and how to wait for others.
type moment struct {
	Faults
	version uint64
	changed <-chan struct{}
	// left is how long they last by schedule; 0 is for ever.
	left time.Duration
}

func (b *faultBox) watch() moment {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, left := b.at(b.now())
	return moment{Faults: f, version: b.version, changed: b.changed, left: left}
}

// at finds the step of a moment and how much of it is left. The caller holds mu.
func (b *faultBox) at(now time.Time) (f Faults, left time.Duration) {
	var round time.Duration
	repeats := true
	for _, step := range b.steps {
		round += time.Duration(step.For)
		repeats = repeats && step.For > 0
	}
	into := now.Sub(b.began)
	if repeats {
		into %= round
	}
	for _, step := range b.steps {
		if step.For == 0 || into < time.Duration(step.For) {
			return step.Faults, max(0, time.Duration(step.For)-into)
		}
		into -= time.Duration(step.For)
	}
	return b.steps[len(b.steps)-1].Faults, 0
}

// wait waits until other faults than those of m may have come.
func (m moment) wait(ctx context.Context) error {
	_ = m.waitOr(ctx, nil) // Nothing can fail.
	return ctx.Err()
}

// waitOr is wait that returns what comes from failed; the end of ctx is no error.
func (m moment) waitOr(ctx context.Context, failed <-chan error) error {
	var due <-chan time.Time
	if m.left > 0 {
		timer := time.NewTimer(m.left)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case err := <-failed:
		return err
	case <-m.changed:
	case <-due:
	case <-ctx.Done():
	}
	return nil
}

// hang blocks as long as the faults make the call hang, and fails when ctx ends
// or connections are cut.
func (b *faultBox) hang(ctx context.Context, call string, hangs func(Faults) bool) error {
	for {
		m := b.watch()
		if m.Refuse {
			return errCut
		}
		if !m.concern(call) || !hangs(m.Faults) {
			return ctx.Err()
		}
		if err := m.wait(ctx); err != nil {
			return err
		}
	}
}

// follow counts those whose ports follow the faults.
func (b *faultBox) follow(change int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.followers += change
	b.tell()
}

// playedAs says that the ports are as the faults of a version want them.
func (b *faultBox) playedAs(version uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.played = version
	b.tell()
}

func (b *faultBox) tell() {
	close(b.followed)
	b.followed = make(chan struct{})
}

// await waits until the ports, if there are any, follow a version.
func (b *faultBox) await(version uint64) {
	for {
		b.mu.Lock()
		done, followed := b.followers == 0 || b.played >= version, b.followed
		b.mu.Unlock()
		if done {
			return
		}
		<-followed
	}
}

// SetFaults replaces the faults, also for calls that hang now, and any schedule.
// When it returns, ports are closed or open as the faults want them. It panics on
// invalid ones; what comes over HTTP is checked there.
func (s *Sim) SetFaults(f Faults) { s.SetSchedule(Step{Faults: f}) }

// SetSchedule makes the faults follow steps, from now on and again and again,
// unless the last step lasts for ever. No steps are good behaviour. As SetFaults,
// it panics on invalid ones.
func (s *Sim) SetSchedule(steps ...Step) {
	if err := validateSteps(steps); err != nil {
		panic(fmt.Sprintf("sim: %v", err))
	}
	s.faults.await(s.setSteps(steps))
}

// setSteps does not wait for the ports: a call that comes through one must not.
func (s *Sim) setSteps(steps []Step) (version uint64) {
	if len(steps) == 0 {
		steps = []Step{{}}
	}
	return s.faults.set(steps...)
}

// Faults returns the present faults.
func (s *Sim) Faults() Faults { return s.faults.get() }
