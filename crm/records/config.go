package records

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds what questions to CRMs may use up.
type Config struct {
	// Timeout is how long one cluster may take to answer, all pages together.
	Timeout time.Duration
	// Parallel is how many clusters one question asks at once.
	Parallel int
	// PerCluster is how many questions one cluster is asked at once.
	PerCluster int
	// MaxLists is how many questions to all clusters run at once; further ones
	// wait.
	MaxLists int
	// PageSize is how many records are asked for with one call, MaxRecords how
	// many are taken from one cluster at most.
	PageSize   int
	MaxRecords int
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Timeout: 5 * time.Second, Parallel: 32, PerCluster: 4, MaxLists: 16,
		PageSize: 500, MaxRecords: 100_000,
	}
}

// Validate returns all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout is %s, must be positive", c.Timeout))
	}
	for _, bound := range []struct {
		name  string
		value int
	}{
		{"parallel", c.Parallel}, {"per_cluster", c.PerCluster}, {"max_lists", c.MaxLists},
		{"page_size", c.PageSize}, {"max_records", c.MaxRecords},
	} {
		if bound.value < 1 {
			errs = append(errs, fmt.Errorf("%s is %d, must be at least 1", bound.name, bound.value))
		}
	}
	return errors.Join(errs...)
}
