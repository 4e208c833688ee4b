package drift

import (
	"errors"
	"fmt"
	"time"
)

// OrphanPolicy says what is done about units that a CRM holds and nobody
// recorded.
type OrphanPolicy string

const (
	// OrphanReport tells of them.
	OrphanReport OrphanPolicy = "report"
	// OrphanAdopt has the deployments of the unit's class looked at, so that one
	// that wants the very unit takes it over; tells of those that stay unknown.
	OrphanAdopt OrphanPolicy = "adopt"
	// OrphanRemove deletes them after OrphanGrace. Not for CRMs that serve
	// another control plane of this kind: its units look like orphans here.
	OrphanRemove OrphanPolicy = "remove"
)

// Config tunes the search for drift.
type Config struct {
	// Interval between two looks at one cluster. Jittered by a fifth.
	Interval time.Duration
	// ConfirmDelay is the time before a cluster is looked at again in which
	// something is missing or unknown, and the most that is waited after a
	// cluster has recovered. Jittered likewise.
	ConfirmDelay time.Duration
	// LookTimeout bounds one look at one cluster.
	LookTimeout time.Duration
	// OrphanPolicy and OrphanGrace: how long an orphan must have been seen
	// before it is removed.
	OrphanPolicy OrphanPolicy
	OrphanGrace  time.Duration
	// PageSize is the number of records asked for at once, MaxRecords the most
	// that are taken from one cluster; a list that is longer proves nothing.
	PageSize   int
	MaxRecords int
	// StoreTimeout bounds one read or write of the store.
	StoreTimeout time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Interval:     30 * time.Second,
		ConfirmDelay: 5 * time.Second,
		LookTimeout:  30 * time.Second,
		OrphanPolicy: OrphanReport,
		OrphanGrace:  time.Minute,
		PageSize:     500,
		MaxRecords:   100_000,
		StoreTimeout: 10 * time.Second,
	}
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", c.Interval},
		{"confirm delay", c.ConfirmDelay},
		{"look timeout", c.LookTimeout},
		{"store timeout", c.StoreTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("drift %s must be positive", d.name))
		}
	}
	if c.OrphanGrace < 0 {
		errs = append(errs, errors.New("drift orphan grace must not be negative"))
	}
	if c.PageSize <= 0 || c.MaxRecords < c.PageSize {
		errs = append(errs, errors.New("drift page size must be positive and at most max records"))
	}
	switch c.OrphanPolicy {
	case OrphanReport, OrphanAdopt, OrphanRemove:
	default:
		errs = append(errs, fmt.Errorf("drift orphan policy %q is not report, adopt or remove", string(c.OrphanPolicy)))
	}
	return errors.Join(errs...)
}
