package crm

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"
)

// Config is the clusters and how they are treated.
type Config struct {
	// Clusters by the name that deployments use.
	Clusters map[string]ClusterConfig
	// DefaultCluster answers where a request names no cluster; may be empty.
	DefaultCluster string
	Dispatcher     DispatcherConfig
	Health         HealthConfig
}

// ClusterConfig tells how to reach one cluster's CRM.
type ClusterConfig struct {
	// Name is the name that deployments use; empty means the key in
	// Config.Clusters.
	Name string
	// BaseURL is http:// or https:// with a host; a path is kept as a prefix.
	BaseURL string
	// Timeout bounds one call, from the wait for a free slot to the last byte.
	Timeout time.Duration
	// RetryAttempts is how often a read is tried in all before it has failed.
	// Calls of the dispatcher are sent once: the dispatcher repeats them.
	RetryAttempts int
	// MaxConcurrency bounds the dispatcher's calls in flight, and separately
	// those of everybody else.
	MaxConcurrency int
	// MaxResponseBytes bounds an answer's body.
	MaxResponseBytes int64
	Auth             AuthConfig
}

// AuthType names a way of proving to a CRM who calls.
type AuthType string

const (
	AuthNone   AuthType = "none"
	AuthBearer AuthType = "bearer"
	AuthBasic  AuthType = "basic"
)

// AuthConfig is what is sent with every call.
type AuthConfig struct {
	Type     AuthType
	Token    Secret
	Username string
	Password Secret
}

// Secret is a text that does not get into logs or encodings by accident.
type Secret string

const masked = "***"

// String implements fmt.Stringer.
func (Secret) String() string { return masked }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return masked }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// DispatcherConfig tunes the reconcile loop.
type DispatcherConfig struct {
	// Workers is the number of deployments looked at concurrently. They compute
	// and write; they never wait for a CRM.
	Workers int
	// ResyncInterval is the time between two looks at every deployment, whether
	// or not something changed. Jittered by a tenth.
	ResyncInterval time.Duration
	// PollMin and PollMax bound the time between two status calls for a unit
	// that is on its way: it begins at PollMin and doubles.
	PollMin, PollMax time.Duration
	// RunningPollInterval is the time between two status calls for a unit that
	// runs. Jittered by a fifth.
	RunningPollInterval time.Duration
	// BackoffMin and BackoffMax bound the time before a failed call is repeated:
	// it begins at BackoffMin and doubles, with jitter.
	BackoffMin, BackoffMax time.Duration
	// RefusedRetryInterval is the time before a call is repeated that the CRM
	// refused for good.
	RefusedRetryInterval time.Duration
	// UncertainPeriod is how long a CRM may go on with a deploy call on which
	// we gave up. A deletion within it is repeated when it is over.
	UncertainPeriod time.Duration
	// CoalesceDelay is how long the first outcome of a deployment waits for
	// others, so that one command records them all.
	CoalesceDelay time.Duration
	// StoreTimeout bounds one read or write of the store.
	StoreTimeout time.Duration
}

// HealthConfig tunes the health poller.
type HealthConfig struct {
	// Interval between two probes of one cluster. Jittered by a tenth.
	Interval time.Duration
	// Timeout of one probe, its retries included.
	Timeout time.Duration
}

// DefaultConfig returns the settings without any cluster.
func DefaultConfig() Config {
	return Config{
		Clusters: map[string]ClusterConfig{},
		Dispatcher: DispatcherConfig{
			Workers:              4,
			ResyncInterval:       5 * time.Minute,
			PollMin:              50 * time.Millisecond,
			PollMax:              3 * time.Second,
			RunningPollInterval:  30 * time.Second,
			BackoffMin:           200 * time.Millisecond,
			BackoffMax:           30 * time.Second,
			RefusedRetryInterval: 5 * time.Minute,
			UncertainPeriod:      10 * time.Second,
			CoalesceDelay:        5 * time.Millisecond,
			StoreTimeout:         10 * time.Second,
		},
		Health: HealthConfig{Interval: 10 * time.Second, Timeout: 5 * time.Second},
	}
}

// DefaultClusterConfig returns the settings of a cluster about which only its
// name and URL are known.
func DefaultClusterConfig(name, baseURL string) ClusterConfig {
	return ClusterConfig{
		Name:             name,
		BaseURL:          baseURL,
		Timeout:          10 * time.Second,
		RetryAttempts:    3,
		MaxConcurrency:   8,
		MaxResponseBytes: 8 << 20,
		Auth:             AuthConfig{Type: AuthNone},
	}
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(c.Clusters)) {
		cluster := c.Clusters[key]
		if cluster.Name != "" && cluster.Name != key {
			errs = append(errs, fmt.Errorf("cluster %q: name %q differs from its key", key, cluster.Name))
		}
		cluster.Name = key
		if err := cluster.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("cluster %q: %w", key, err))
		}
	}
	if _, known := c.Clusters[c.DefaultCluster]; c.DefaultCluster != "" && !known {
		errs = append(errs, fmt.Errorf("default cluster %q is not configured", c.DefaultCluster))
	}
	return errors.Join(append(errs, c.Dispatcher.Validate(), c.Health.Validate())...)
}

// Validate returns all problems, joined.
func (c ClusterConfig) Validate() error {
	var errs []error
	if !validClusterName(c.Name) {
		errs = append(errs, errors.New("name must be of letters, digits, - and _, at most 63"))
	}
	if _, err := parseBaseURL(c.BaseURL); err != nil {
		errs = append(errs, err)
	}
	if c.Timeout <= 0 {
		errs = append(errs, errors.New("timeout must be positive"))
	}
	if c.RetryAttempts < 0 {
		errs = append(errs, errors.New("retry attempts must not be negative"))
	}
	if c.MaxConcurrency <= 0 {
		errs = append(errs, errors.New("max concurrency must be positive"))
	}
	if c.MaxResponseBytes <= 0 {
		errs = append(errs, errors.New("max response bytes must be positive"))
	}
	switch c.Auth.Type {
	case AuthNone, "":
	case AuthBearer:
		if c.Auth.Token == "" {
			errs = append(errs, errors.New("bearer authentication needs a token"))
		}
	case AuthBasic:
		if c.Auth.Username == "" {
			errs = append(errs, errors.New("basic authentication needs a user name"))
		}
	default:
		errs = append(errs, fmt.Errorf("authentication type %q is not none, bearer or basic", string(c.Auth.Type)))
	}
	return errors.Join(errs...)
}

// Validate returns all problems, joined.
func (c DispatcherConfig) Validate() error {
	var errs []error
	if c.Workers <= 0 {
		errs = append(errs, errors.New("dispatcher workers must be positive"))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"resync interval", c.ResyncInterval},
		{"poll min", c.PollMin},
		{"running poll interval", c.RunningPollInterval},
		{"backoff min", c.BackoffMin},
		{"refused retry interval", c.RefusedRetryInterval},
		{"store timeout", c.StoreTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("dispatcher %s must be positive", d.name))
		}
	}
	if c.PollMax < c.PollMin {
		errs = append(errs, errors.New("dispatcher poll max must not be below poll min"))
	}
	if c.BackoffMax < c.BackoffMin {
		errs = append(errs, errors.New("dispatcher backoff max must not be below backoff min"))
	}
	if c.CoalesceDelay < 0 || c.UncertainPeriod < 0 {
		errs = append(errs, errors.New("dispatcher coalesce delay and uncertain period must not be negative"))
	}
	return errors.Join(errs...)
}

// Validate returns all problems, joined.
func (c HealthConfig) Validate() error {
	var errs []error
	if c.Interval <= 0 {
		errs = append(errs, errors.New("health interval must be positive"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, errors.New("health timeout must be positive"))
	}
	return errors.Join(errs...)
}

func validClusterName(name string) bool {
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= 63
}

// parseBaseURL accepts http and https with a host. Whatever would be lost or
// leak when paths are appended is refused: query, fragment, credentials.
func parseBaseURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("base URL is malformed: %w", errors.Unwrap(err))
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("base URL %q does not begin with http:// or https://", base.Redacted())
	case base.Hostname() == "":
		return nil, fmt.Errorf("base URL %q has no host", base.Redacted())
	case base.User != nil:
		return nil, errors.New("base URL holds credentials; use the authentication settings")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("base URL %q has a query or a fragment", base.Redacted())
	}
	return base, nil
}
