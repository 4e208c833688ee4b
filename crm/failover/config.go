package failover

import (
	"errors"
	"fmt"
	"time"
)

// Config tunes failover.
type Config struct {
	// Toleration is how long a cluster must have been unhealthy before
	// deployments leave it that opted in without saying how long.
	Toleration time.Duration
	// MaxEvictionsPerMinute bounds how many deployments are moved in a minute,
	// both away and back. A tenth of all deployments may go at once, as long as
	// that is no more than a minute's worth.
	MaxEvictionsPerMinute int
	// Recovery is how long a cluster must have been healthy before deployments
	// that left it may come back.
	Recovery time.Duration
	// BrakeHoldOff is how long most clusters must look alive again, and no
	// further one have returned, before evictions go on.
	BrakeHoldOff time.Duration
	// Confirm is how long a cluster must have been lost before deployments leave
	// it, whatever the toleration: so long that others that were lost at the same
	// moment show. Relook is how long a new leader must have looked at the
	// clusters before deployments leave or return for what was recorded before
	// it. Both follow from how clusters are probed, see health.Config.
	Confirm, Relook time.Duration
	// RetryInterval is the time before the dispatcher is asked again for a move
	// that it has not made, because no cluster fitted for instance.
	RetryInterval time.Duration
	// SettleDelay is how long changes are collected before they are judged, so
	// that clusters lost together are seen together.
	SettleDelay time.Duration
	// StoreTimeout bounds one read or write of the store.
	StoreTimeout time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Toleration:            5 * time.Minute,
		MaxEvictionsPerMinute: 100,
		Recovery:              30 * time.Second,
		BrakeHoldOff:          time.Minute,
		RetryInterval:         30 * time.Second,
		SettleDelay:           100 * time.Millisecond,
		StoreTimeout:          10 * time.Second,
	}
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	if c.MaxEvictionsPerMinute <= 0 {
		errs = append(errs, errors.New("failover max evictions per minute must be positive"))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"toleration", c.Toleration},
		{"recovery", c.Recovery},
		{"brake hold-off", c.BrakeHoldOff},
		{"confirmation", c.Confirm},
		{"second look", c.Relook},
		{"settle delay", c.SettleDelay},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("failover %s must not be negative", d.name))
		}
	}
	if c.RetryInterval <= 0 || c.StoreTimeout <= 0 {
		errs = append(errs, errors.New("failover retry interval and store timeout must be positive"))
	}
	return errors.Join(errs...)
}
