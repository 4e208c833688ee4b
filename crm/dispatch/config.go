package dispatch

import (
	"errors"
	"fmt"
	"time"
)

// Config tunes the reconcile loop.
type Config struct {
	// Workers is the number of deployments looked at concurrently. They compute
	// and write; they never wait for a CRM. Most of their time is the wait for a
	// commit, so there are far more of them than processors.
	Workers int
	// ResyncInterval is the time between two looks at every deployment, whether
	// or not something changed. Jittered by a tenth.
	ResyncInterval time.Duration
	// ReplanInterval is the time before a deployment is planned again that wants
	// more or other clusters than there are. A change of a cluster does it at once;
	// this is for what changes otherwise, the load or a neighbour.
	ReplanInterval time.Duration
	// PollMin and PollMax bound the time between two status calls for a unit
	// that is on its way: it begins at PollMin and doubles. One that takes long is
	// asked after as one that is settled.
	PollMin, PollMax time.Duration
	// SettledPollInterval is the time between two status calls for a unit that is
	// down, or that runs in a cluster that cannot be listed. Jittered by a fifth.
	SettledPollInterval time.Duration
	// BackoffMin and BackoffMax bound the time before a failed call is repeated:
	// it begins at BackoffMin and doubles, with jitter. From the eleventh failure
	// in a row on it goes up to BackoffLong.
	BackoffMin, BackoffMax, BackoffLong time.Duration
	// RefusedRetryInterval is the time before a call is repeated that the CRM
	// refused for good.
	RefusedRetryInterval time.Duration
	// UncertainPeriod is how long a CRM may go on with a deploy call on which
	// we gave up. A deletion within it is repeated when it is over.
	UncertainPeriod time.Duration
	// CalmPeriod is how long a cluster that could not be asked must answer before
	// its deployments say that it can be.
	CalmPeriod time.Duration
	// CoalesceDelay is how long the first outcome of a deployment waits for
	// others, so that one command records them all.
	CoalesceDelay time.Duration
	// StoreTimeout bounds one read or write of the store.
	StoreTimeout time.Duration
	// ProgressDeadline holds for deployments that say nothing of it.
	ProgressDeadline time.Duration
	// RollbackOnPartial holds for deployments that say nothing of it.
	RollbackOnPartial bool
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Workers:              32,
		ResyncInterval:       5 * time.Minute,
		ReplanInterval:       time.Minute,
		PollMin:              50 * time.Millisecond,
		PollMax:              3 * time.Second,
		SettledPollInterval:  30 * time.Second,
		BackoffMin:           200 * time.Millisecond,
		BackoffMax:           30 * time.Second,
		BackoffLong:          5 * time.Minute,
		RefusedRetryInterval: 5 * time.Minute,
		UncertainPeriod:      10 * time.Second,
		CalmPeriod:           time.Minute,
		CoalesceDelay:        5 * time.Millisecond,
		StoreTimeout:         10 * time.Second,
		ProgressDeadline:     10 * time.Minute,
	}
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	if c.Workers <= 0 {
		errs = append(errs, errors.New("dispatcher workers must be positive"))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"resync interval", c.ResyncInterval},
		{"replan interval", c.ReplanInterval},
		{"poll min", c.PollMin},
		{"settled poll interval", c.SettledPollInterval},
		{"backoff min", c.BackoffMin},
		{"refused retry interval", c.RefusedRetryInterval},
		{"store timeout", c.StoreTimeout},
		{"progress deadline", c.ProgressDeadline},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("dispatcher %s must be positive", d.name))
		}
	}
	if c.PollMax < c.PollMin {
		errs = append(errs, errors.New("dispatcher poll max must not be below poll min"))
	}
	if c.BackoffMax < c.BackoffMin || c.BackoffLong < c.BackoffMax {
		errs = append(errs, errors.New("dispatcher backoffs must not shrink: min, max, long"))
	}
	if c.CoalesceDelay < 0 || c.UncertainPeriod < 0 || c.CalmPeriod < 0 {
		errs = append(errs, errors.New("dispatcher coalesce delay, calm period and uncertain period must not be negative"))
	}
	return errors.Join(errs...)
}
