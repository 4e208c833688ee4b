package crm

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Config is what this node knows of clusters: those of its configuration, and
// how to treat those that are added at run time.
type Config struct {
	// Clusters of the configuration, by the name that deployments use. Their
	// authentication and TLS settings are used by name also where the rest comes
	// from a cluster's document, provided it is the same server's.
	Clusters map[string]ClusterConfig
	// Defaults are the settings of a cluster whose document does not say; only
	// Timeout, RetryAttempts, MaxConcurrency and MaxResponseBytes count.
	Defaults ClusterConfig
	// DefaultCluster answers where a request names no cluster. Empty, or not
	// there: the one named default, else the first by name.
	DefaultCluster string
	// SecretsDir holds a folder NAME for each cluster, with any of the files
	// token, password, tls.crt, tls.key and ca.crt. They are read when they are
	// needed and read again when they change. Empty: none.
	SecretsDir string
	// Tokens are bearer tokens from the environment, by TokenKey of the
	// cluster's name. They are used where nothing else says.
	Tokens map[string]Secret
}

// ClusterConfig tells how to reach one cluster's CRM.
type ClusterConfig struct {
	// Name is the name that deployments use; empty means the key in
	// Config.Clusters.
	Name string
	// BaseURL is http:// or https:// with a host. Over HTTP a path is kept as a
	// prefix; over gRPC there must be none.
	BaseURL string
	// Protocol is how the CRM is spoken to; empty means HTTP.
	Protocol model.ClusterProtocol
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
	TLS              TLSConfig
	// SecretsDir is the cluster's own folder, see Config.SecretsDir. What Auth
	// and TLS name comes before what is found there.
	SecretsDir string
	// FallbackToken is a bearer token that counts where Auth and SecretsDir have
	// none and do not say that there is to be none.
	FallbackToken Secret

	// The rest is for planning, see model.Cluster.
	Labels           map[string]string
	Environments     []string
	Weight, Capacity *uint32
}

// AuthType names a way of proving to a CRM who calls.
type AuthType string

const (
	// AuthUnset: a bearer token when one is found, else nothing.
	AuthUnset  AuthType = ""
	AuthNone   AuthType = "none"
	AuthBearer AuthType = "bearer"
	AuthBasic  AuthType = "basic"
	// AuthCertificate: the client certificate is all there is, and there must be
	// one.
	AuthCertificate AuthType = "certificate"
)

// AuthConfig is what is sent with every call. A token or password that is empty
// is looked for in the cluster's SecretsDir.
type AuthConfig struct {
	Type     AuthType
	Token    Secret
	Username string
	Password Secret
}

// TLSConfig is how a CRM behind https:// is verified and what it is shown. Files
// are PEM; they are read when they are needed and read again when they change.
type TLSConfig struct {
	// CAFile and CAPEM are the trusted authorities; CAFile comes first. Both
	// empty: ca.crt of SecretsDir, else the system's.
	CAFile, CAPEM string
	// CertFile and KeyFile are this node's certificate. An empty KeyFile means
	// that CertFile holds both. Both empty: tls.crt and tls.key of SecretsDir,
	// else none.
	CertFile, KeyFile string
	// ServerName is expected in the CRM's certificate; empty: the URL's host.
	ServerName string
	// Insecure turns verification off.
	Insecure bool
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

// DefaultConfig returns the settings without any cluster.
func DefaultConfig() Config {
	return Config{Clusters: map[string]ClusterConfig{}, Defaults: DefaultClusterConfig("", "")}
}

// DefaultClusterConfig returns the settings of a cluster about which only its
// name and URL are known.
func DefaultClusterConfig(name, baseURL string) ClusterConfig {
	return ClusterConfig{
		Name:             name,
		BaseURL:          baseURL,
		Protocol:         model.ProtocolHTTP,
		Timeout:          10 * time.Second,
		RetryAttempts:    3,
		MaxConcurrency:   8,
		MaxResponseBytes: 8 << 20,
	}
}

// TokenKey is how a cluster's name is written inside the name of an environment
// variable: upper case, everything but letters and digits an underscore.
func TokenKey(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
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
	if _, known := c.Clusters[c.DefaultCluster]; c.DefaultCluster != "" && len(c.Clusters) > 0 && !known {
		errs = append(errs, fmt.Errorf("default cluster %q is not configured", c.DefaultCluster))
	}
	if err := errors.Join(c.Defaults.validateLimits()...); err != nil {
		errs = append(errs, fmt.Errorf("defaults: %w", err))
	}
	return errors.Join(errs...)
}

// Validate returns all problems, joined. It does not look at files.
func (c ClusterConfig) Validate() error {
	var errs []error
	if !validClusterName(c.Name) {
		errs = append(errs, fmt.Errorf("name must be of letters, digits, - and _, at most %d", model.MaxEnvironmentLength))
	}
	base, err := parseBaseURL(c.BaseURL)
	switch {
	case err != nil:
		errs = append(errs, err)
	case c.Protocol == model.ProtocolGRPC && strings.Trim(base.Path, "/") != "":
		errs = append(errs, errors.New("base URL has a path, which gRPC does not allow"))
	case c.Auth.Type == AuthCertificate && base.Scheme != "https":
		errs = append(errs, errors.New("certificate authentication needs a base URL with https://"))
	}
	if c.Protocol != "" && c.Protocol != model.ProtocolHTTP && c.Protocol != model.ProtocolGRPC {
		errs = append(errs, fmt.Errorf("protocol %q is neither http nor grpc", string(c.Protocol)))
	}
	errs = append(errs, c.validateLimits()...)
	errs = append(errs, c.Auth.validate()...)
	if c.TLS.CertFile == "" && c.TLS.KeyFile != "" {
		errs = append(errs, errors.New("client key is given without a client certificate"))
	}
	return errors.Join(errs...)
}

func (c ClusterConfig) validateLimits() []error {
	var errs []error
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
	return errs
}

func (a AuthConfig) validate() []error {
	switch a.Type {
	case AuthUnset, AuthNone, AuthBearer, AuthCertificate:
	case AuthBasic:
		if a.Username == "" {
			return []error{errors.New("basic authentication needs a user name")}
		}
	default:
		return []error{fmt.Errorf("authentication type %q is not none, bearer, basic or certificate", string(a.Type))}
	}
	return nil
}

// LocalClusters returns the configured clusters as documents, sorted by name:
// what the leader registers for all nodes to see. They hold no secrets and no
// names of files.
func (c Config) LocalClusters() []model.Cluster {
	clusters := make([]model.Cluster, 0, len(c.Clusters))
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		clusters = append(clusters, c.Clusters[name].document(name))
	}
	return clusters
}

func (c ClusterConfig) document(name string) model.Cluster {
	timeout := model.Duration(c.Timeout.String())
	attempts, concurrency := uint32(c.RetryAttempts), uint32(c.MaxConcurrency)
	cluster := model.Cluster{
		Name: name, BaseURL: c.BaseURL, Protocol: c.Protocol,
		Labels: maps.Clone(c.Labels), Environments: slices.Clone(c.Environments), Weight: c.Weight, Capacity: c.Capacity,
		Timeout: &timeout, RetryAttempts: &attempts, MaxConcurrency: &concurrency,
		ManagedBy: model.ManagedByConfig,
	}
	if cluster.Protocol == "" {
		cluster.Protocol = model.ProtocolHTTP
	}
	if c.Auth.Type != AuthUnset {
		cluster.Auth = &model.ClusterAuth{Type: model.ClusterAuthType(c.Auth.Type)}
	}
	if c.Auth.Type == AuthBasic {
		cluster.Auth.Username = c.Auth.Username
	}
	if c.TLS.CAPEM != "" || c.TLS.ServerName != "" || c.TLS.Insecure {
		cluster.TLS = &model.ClusterTLS{CAPEM: c.TLS.CAPEM, ServerName: c.TLS.ServerName, Insecure: c.TLS.Insecure}
	}
	return cluster
}

// same tells whether two settings make the same client.
func (c ClusterConfig) same(other ClusterConfig) bool { return reflect.DeepEqual(c, other) }

func validClusterName(name string) bool {
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= model.MaxEnvironmentLength
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
		return nil, fmt.Errorf("base URL of host %q has a query or a fragment", base.Host) // either may hold a token
	}
	return base, nil
}

// serverOf is the part of a base URL that says which server is meant.
func serverOf(baseURL string) string {
	base, err := url.Parse(baseURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(base.Scheme + "://" + hostPort(base))
}

// hostPort is a URL's host with its port, which may be the scheme's.
func hostPort(base *url.URL) string {
	if base.Port() != "" {
		return base.Host
	}
	if base.Scheme == "https" {
		return base.Host + ":443"
	}
	return base.Host + ":80"
}
