package health

import (
	"errors"
	"fmt"
	"time"
)

// Config tunes probing and the circuit breakers.
type Config struct {
	// Interval between two probes of one cluster. Jittered by a tenth.
	Interval time.Duration
	// Timeout of one probe, the client's retries included.
	Timeout time.Duration
	// SlowAfter makes a cluster Degraded when two probes in a row took longer
	// and were answered all the same; 0: never.
	SlowAfter time.Duration
	// FailureThreshold is the number of failures in a row that makes a cluster
	// Unhealthy and opens its circuit.
	FailureThreshold int
	// OpenTimeout is how long a circuit stays open before the first probe tries
	// again. It doubles up to RetryTimeout while tries fail; a RetryTimeout below
	// it is no growth.
	OpenTimeout  time.Duration
	RetryTimeout time.Duration
	// MaxOpenInterval bounds the time between two probes of an open circuit,
	// whatever the two above say, so that a recovery is noticed.
	MaxOpenInterval time.Duration
	// Workers is the number of probes in flight at once. Half of them are kept
	// for clusters whose last probe was answered.
	Workers int
	// RecordDelay is how long the first change waits for others, so that one
	// command records them all.
	RecordDelay time.Duration
	// StoreTimeout bounds one try to record.
	StoreTimeout time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Interval:         10 * time.Second,
		Timeout:          5 * time.Second,
		SlowAfter:        3 * time.Second,
		FailureThreshold: 5,
		OpenTimeout:      60 * time.Second,
		RetryTimeout:     300 * time.Second,
		MaxOpenInterval:  30 * time.Second,
		Workers:          256,
		RecordDelay:      100 * time.Millisecond,
		StoreTimeout:     10 * time.Second,
	}
}

// Relook is how long it takes at most, from the beginning of a run or from the
// moment at which a cluster stops answering, until two probes in a row have told:
// the jittered interval until the first begins, that until the second does, or the
// time-out of the first, and the time-out of the second, with some time to spare and
// to record it.
func (c Config) Relook() time.Duration {
	jittered := c.Interval + c.Interval/10
	return jittered + max(jittered, c.Timeout+c.Interval/10) + c.Timeout + c.Timeout/10 + c.RecordDelay
}

// Confirm is how long after one cluster was found lost all others are under
// suspicion at the latest that were lost at the same moment. The first one has been
// silent for some intervals by then: those until the threshold, where refused
// connections weigh two.
func (c Config) Confirm() time.Duration {
	intervals := max((c.FailureThreshold+1)/2, min(confirmations, c.FailureThreshold)) - 1
	return max(c.Relook()-time.Duration(intervals)*9*c.Interval/10, c.Timeout)
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", c.Interval},
		{"timeout", c.Timeout},
		{"open timeout", c.OpenTimeout},
		{"retry timeout", c.RetryTimeout},
		{"max open interval", c.MaxOpenInterval},
		{"store timeout", c.StoreTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("health %s must be positive", d.name))
		}
	}
	if c.SlowAfter < 0 || c.RecordDelay < 0 {
		errs = append(errs, errors.New("health slow after and record delay must not be negative"))
	}
	if c.FailureThreshold <= 0 {
		errs = append(errs, errors.New("health failure threshold must be positive"))
	}
	if c.Workers <= 0 {
		errs = append(errs, errors.New("health workers must be positive"))
	}
	return errors.Join(errs...)
}
