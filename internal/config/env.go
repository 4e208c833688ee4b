package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A variable is one environment variable and what it sets.
type variable struct {
	name string
	set  func(c *Config, value string) error
}

// variables are applied in this order, so of two that set the same the later
// wins. Those that name clusters are in crmenv.go.
var variables = []variable{
	{"SERVER_HOST", func(c *Config, v string) error { return setHost(&c.Server.HTTPAddr, v) }},
	{"SERVER_PORT", func(c *Config, v string) error { return setPort(&c.Server.HTTPAddr, v) }},
	{"SERVER_WORKERS", number(func(c *Config) *int { return &c.Server.Workers })},
	{"OPRC_HTTP_ADDR", text(func(c *Config) *string { return &c.Server.HTTPAddr })},

	{"OPRC_NODE_NAME", text(func(c *Config) *string { return &c.Cluster.NodeName })},
	{"OPRC_DATA_DIR", text(func(c *Config) *string { return &c.Cluster.DataDir })},
	{"OPRC_CLUSTER_ADDR", text(func(c *Config) *string { return &c.Cluster.ClusterAddr })},
	{"OPRC_GOSSIP_ADDR", text(func(c *Config) *string { return &c.Cluster.GossipAddr })},
	{"OPRC_ADVERTISE_HOST", text(func(c *Config) *string { return &c.Cluster.AdvertiseHost })},
	{"OPRC_JOIN", list(func(c *Config) *[]string { return &c.Cluster.Join })},
	{"OPRC_BOOTSTRAP_EXPECT", number(func(c *Config) *int { return &c.Cluster.BootstrapExpect })},
	{"OPRC_RAFT_LOG_STORE", func(c *Config, v string) error { return c.Raft.LogStore.UnmarshalText([]byte(v)) }},

	{"STORAGE_TYPE", func(c *Config, v string) error { return c.Storage.Type.UnmarshalText([]byte(v)) }},
	{"ETCD_ENDPOINTS", list(func(c *Config) *[]string { return &c.Storage.Etcd.Endpoints })},
	{"ETCD_KEY_PREFIX", text(func(c *Config) *string { return &c.Storage.Etcd.KeyPrefix })},
	{"ETCD_USERNAME", text(func(c *Config) *string { return &c.Storage.Etcd.Username })},
	{"ETCD_PASSWORD", func(c *Config, v string) error { c.Storage.Etcd.Password = Secret(v); return nil }},
	{"ETCD_TIMEOUT", duration(func(c *Config) *time.Duration { return &c.Storage.Etcd.Timeout })},
	{"ETCD_TLS_ENABLED", truth(func(c *Config) *bool { return &c.Storage.Etcd.TLS.Enabled })},
	{"ETCD_CA_CERT_PATH", text(func(c *Config) *string { return &c.Storage.Etcd.TLS.CACertPath })},
	{"ETCD_CLIENT_CERT_PATH", text(func(c *Config) *string { return &c.Storage.Etcd.TLS.ClientCertPath })},
	{"ETCD_CLIENT_KEY_PATH", text(func(c *Config) *string { return &c.Storage.Etcd.TLS.ClientKeyPath })},
	{"ETCD_TLS_INSECURE", truth(func(c *Config) *bool { return &c.Storage.Etcd.TLS.Insecure })},

	{"CRM_HEALTH_CHECK_INTERVAL", duration(func(c *Config) *time.Duration { return &c.CRM.HealthCheckInterval })},
	{"CRM_CIRCUIT_BREAKER_FAILURE_THRESHOLD", number(func(c *Config) *int { return &c.CRM.CircuitBreaker.FailureThreshold })},
	{"CRM_CIRCUIT_BREAKER_TIMEOUT", duration(func(c *Config) *time.Duration { return &c.CRM.CircuitBreaker.Timeout })},

	{"CRM_CIRCUIT_BREAKER_RETRY_TIMEOUT", duration(func(c *Config) *time.Duration { return &c.CRM.CircuitBreaker.RetryTimeout })},
	{"CRM_HEALTH_CACHE_TTL", duration(func(c *Config) *time.Duration { return &c.CRM.HealthCacheTTL })},
	{"CRM_SECRETS_DIR", text(func(c *Config) *string { return &c.CRM.SecretsDir })},
	{"DEPLOY_ROLLBACK_ON_PARTIAL", truth(func(c *Config) *bool { return &c.CRM.Deploy.RollbackOnPartial })},
	{"DEPLOY_MAX_RETRIES", number(func(c *Config) *int { return &c.CRM.Deploy.MaxRetries })},

	{"PACKAGE_DELETE_CASCADE", truth(func(c *Config) *bool { return &c.Packages.DeleteCascade })},

	{"OPRC_BACKUP_INTERVAL", duration(func(c *Config) *time.Duration { return &c.Backup.Interval })},
	{"OPRC_BACKUP_DIRECTORY", text(func(c *Config) *string { return &c.Backup.Directory })},
	{"OPRC_BACKUP_S3_ENDPOINT", text(func(c *Config) *string { return &c.Backup.S3.Endpoint })},
	{"OPRC_BACKUP_S3_BUCKET", text(func(c *Config) *string { return &c.Backup.S3.Bucket })},
	{"OPRC_BACKUP_S3_ACCESS_KEY", text(func(c *Config) *string { return &c.Backup.S3.AccessKey })},
	{"OPRC_BACKUP_S3_SECRET_KEY", func(c *Config, v string) error { c.Backup.S3.SecretKey = Secret(v); return nil }},
	{"OPRC_BACKUP_S3_SECRET_KEY_FILE", text(func(c *Config) *string { return &c.Backup.S3.SecretKeyFile })},
	{"OPRC_BACKUP_RESTORE_IF_EMPTY", truth(func(c *Config) *bool { return &c.Backup.RestoreIfEmpty })},

	{"RUST_LOG", func(c *Config, v string) error { return setRustLog(&c.Observability.LogLevel, v) }},
	{"LOG_LEVEL", func(c *Config, v string) error { return c.Observability.LogLevel.UnmarshalText([]byte(v)) }},
	{"LOG_FORMAT", func(c *Config, v string) error { return c.Observability.LogFormat.UnmarshalText([]byte(v)) }},
	{"METRICS_PORT", number(func(c *Config) *int { return &c.Observability.MetricsPort })},
}

// ApplyEnv applies the environment, given as os.Environ gives it, over c. An
// empty variable counts as unset, because a manifest cannot always leave one
// out. All errors are reported together, each with its variable.
func (c *Config) ApplyEnv(environ []string) error {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); value != "" {
			env[name] = value
		}
	}
	var errs []error
	for _, v := range variables {
		value, ok := env[v.name]
		if !ok {
			continue
		}
		if err := v.set(c, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	errs = append(errs, c.CRM.applyEnv(env)...)
	return errors.Join(errs...)
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

func list(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = splitList(value)
		return nil
	}
}

func number(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a valid number", value)
		}
		*field(c) = n
		return nil
	}
}

func truth(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, value string) (err error) {
		*field(c), err = parseTruth(value)
		return err
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) (err error) {
		*field(c), err = ParseDuration(value)
		return err
	}
}

// parseTruth accepts the words of the existing configuration.
func parseTruth(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", value)
}

func setHost(addr *string, host string) error {
	_, port, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", *addr)
	}
	*addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
	return nil
}

func setPort(addr *string, port string) error {
	host, _, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", *addr)
	}
	if err := checkPort(port); err != nil {
		return err
	}
	*addr = net.JoinHostPort(host, port)
	return nil
}

// setRustLog takes the one directive of RUST_LOG that is for everything, as
// warn in "hyper=info,warn"; those for single modules name what is not here.
func setRustLog(level *LogLevel, directives string) error {
	for _, directive := range splitList(directives) {
		if !strings.Contains(directive, "=") {
			return level.UnmarshalText([]byte(directive))
		}
	}
	return nil
}
