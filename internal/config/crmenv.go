package config

import (
	"errors"
	"fmt"
	"strings"
)

// applyEnv applies the variables that name clusters. The set of clusters comes
// from the first of CRM_CLUSTERS_JSON, CRM_CLUSTERS, the file, and
// CRM_DEFAULT_URL that names any; CRM_<NAME>_URL and CRM_<NAME>_TOKEN then
// change single clusters of that set, see applyNamed.
func (c *CRM) applyEnv(env map[string]string) []error {
	var errs []error
	report := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	switch {
	case env["CRM_CLUSTERS_JSON"] != "":
		clusters, err := parseClustersJSON([]byte(env["CRM_CLUSTERS_JSON"]))
		report("CRM_CLUSTERS_JSON", err)
		c.Clusters = clusters
	case env["CRM_CLUSTERS"] != "":
		clusters, err := clustersByPrefix(env["CRM_CLUSTERS"], env)
		errs = append(errs, err...)
		c.Clusters = clusters
	case len(c.Clusters) == 0 && env["CRM_DEFAULT_URL"] != "":
		cluster := DefaultCRMCluster()
		cluster.BaseURL = env["CRM_DEFAULT_URL"]
		report("CRM_DEFAULT_TIMEOUT", setClusterTimeout(&cluster, env["CRM_DEFAULT_TIMEOUT"]))
		report("CRM_DEFAULT_RETRY_ATTEMPTS", setClusterRetries(&cluster, env["CRM_DEFAULT_RETRY_ATTEMPTS"]))
		c.Clusters = map[string]CRMCluster{"default": cluster}
	}
	errs = append(errs, c.applyNamed(env)...)
	if name := env["CRM_DEFAULT_CLUSTER"]; name != "" {
		c.DefaultCluster = name
	}
	return errs
}

// suffix is a cluster's name as it is written inside a variable's name.
func suffix(name string) string {
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

// clustersByPrefix reads CRM_CLUSTERS=a,b-c with CRM_CLUSTER_A_URL and so on.
func clustersByPrefix(names string, env map[string]string) (map[string]CRMCluster, []error) {
	var errs []error
	clusters := make(map[string]CRMCluster)
	owners := make(map[string]string)
	for _, name := range splitList(names) {
		prefix := "CRM_CLUSTER_" + suffix(name)
		if other, taken := owners[prefix]; taken {
			errs = append(errs, fmt.Errorf("CRM_CLUSTERS: %s and %s would both be configured by %s_URL", other, name, prefix))
			continue
		}
		owners[prefix] = name
		cluster, err := clusterByPrefix(prefix, env)
		if err != nil {
			errs = append(errs, err...)
		}
		clusters[name] = cluster
	}
	if len(clusters) == 0 {
		errs = append(errs, errors.New("CRM_CLUSTERS: names no cluster"))
	}
	return clusters, errs
}

func clusterByPrefix(prefix string, env map[string]string) (CRMCluster, []error) {
	var errs []error
	report := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%s: %w", prefix, name, err))
		}
	}
	cluster := DefaultCRMCluster()
	if cluster.BaseURL = env[prefix+"_URL"]; cluster.BaseURL == "" {
		report("_URL", errors.New("is not set, though CRM_CLUSTERS names the cluster"))
	}
	report("_TIMEOUT", setClusterTimeout(&cluster, env[prefix+"_TIMEOUT"]))
	report("_RETRY_ATTEMPTS", setClusterRetries(&cluster, env[prefix+"_RETRY_ATTEMPTS"]))
	setAPIKey(&cluster, Secret(env[prefix+"_API_KEY"]))
	report("_TLS_ENABLED", setTruth(&cluster.TLS.Enabled, env[prefix+"_TLS_ENABLED"]))
	report("_TLS_INSECURE", setTruth(&cluster.TLS.Insecure, env[prefix+"_TLS_INSECURE"]))
	report("_PROTOCOL", setWord(&cluster.Protocol, env[prefix+"_PROTOCOL"]))
	report("_MAX_CONCURRENCY", setNumber(&cluster.MaxConcurrency, env[prefix+"_MAX_CONCURRENCY"]))
	report("_WEIGHT", setNumber(&cluster.Weight, env[prefix+"_WEIGHT"]))
	report("_CAPACITY", setNumber(&cluster.Capacity, env[prefix+"_CAPACITY"]))
	report("_LABELS", setLabels(&cluster.Labels, env[prefix+"_LABELS"]))
	cluster.Environments = splitList(env[prefix+"_ENVIRONMENTS"])
	cluster.TLS.ServerName = env[prefix+"_TLS_SERVER_NAME"]
	cluster.TLS.CACertPath = env[prefix+"_TLS_CA_CERT_PATH"]
	cluster.TLS.ClientCertPath = env[prefix+"_TLS_CLIENT_CERT_PATH"]
	cluster.TLS.ClientKeyPath = env[prefix+"_TLS_CLIENT_KEY_PATH"]
	return cluster, errs
}

func setTruth(field *bool, value string) (err error) {
	if value != "" {
		*field, err = parseTruth(value)
	}
	return err
}

// setClusterTimeout leaves the default for 0, which in the existing configuration
// means no timeout: there is none without one here.
func setClusterTimeout(cluster *CRMCluster, value string) error {
	if value == "" {
		return nil
	}
	timeout, err := ParseDuration(value)
	if err == nil && timeout != 0 {
		cluster.Timeout = timeout
	}
	return err
}

func setClusterRetries(cluster *CRMCluster, value string) error {
	return setNumber(&cluster.RetryAttempts, value)
}

func setNumber(field *int, value string) error {
	if value == "" {
		return nil
	}
	return number(func(*Config) *int { return field })(nil, value)
}

func setWord(field *Protocol, value string) error {
	if value == "" {
		return nil
	}
	return field.UnmarshalText([]byte(value))
}

// setLabels reads zone=a,tier=edge.
func setLabels(field *map[string]string, value string) error {
	for _, pair := range splitList(value) {
		name, label, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		if *field == nil {
			*field = map[string]string{}
		}
		(*field)[name] = label
	}
	return nil
}

// setAPIKey sends what the existing configuration calls an API key as a bearer
// token.
func setAPIKey(cluster *CRMCluster, key Secret) {
	if key != "" {
		cluster.Authentication = Authentication{AuthType: AuthBearer, Token: key}
	}
}
