package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// applyEnv applies the variables that name clusters. The set of clusters comes
// from the first of CRM_CLUSTERS_JSON, CRM_CLUSTERS, the file, and
// CRM_DEFAULT_URL that names any; CRM_<NAME>_URL and CRM_<NAME>_TOKEN then
// change single clusters of that set.
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
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		cluster := c.Clusters[name]
		if url := env["CRM_"+suffix(name)+"_URL"]; url != "" {
			cluster.BaseURL = url
		}
		if token := env["CRM_"+suffix(name)+"_TOKEN"]; token != "" {
			cluster.Authentication.AuthType = AuthBearer
			cluster.Authentication.Token = Secret(token)
		}
		c.Clusters[name] = cluster
	}
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

func setClusterTimeout(cluster *CRMCluster, value string) (err error) {
	if value != "" {
		cluster.Timeout, err = ParseDuration(value)
	}
	return err
}

func setClusterRetries(cluster *CRMCluster, value string) error {
	if value == "" {
		return nil
	}
	return number(func(*Config) *int { return &cluster.RetryAttempts })(nil, value)
}

// setAPIKey sends what the existing configuration calls an API key as a bearer
// token.
func setAPIKey(cluster *CRMCluster, key Secret) {
	if key != "" {
		cluster.Authentication = Authentication{AuthType: AuthBearer, Token: key}
	}
}

// clusterJSON is one cluster of CRM_CLUSTERS_JSON. Further keys are ignored, as
// the existing configuration does.
type clusterJSON struct {
	Name          string   `json:"name"`
	URL           string   `json:"url"`
	BaseURL       string   `json:"base_url"`
	Timeout       *float64 `json:"timeout"`
	RetryAttempts *int     `json:"retry_attempts"`
	APIKey        Secret   `json:"api_key"`
	TLS           *struct {
		CACert     string `json:"ca_cert"`
		ClientCert string `json:"client_cert"`
		ClientKey  string `json:"client_key"`
		Insecure   bool   `json:"insecure"`
	} `json:"tls"`
}

// parseClustersJSON reads {"name":{…}} or [{"name":"name",…}]. Errors never
// quote the text: it holds keys.
func parseClustersJSON(data []byte) (map[string]CRMCluster, error) {
	clusters := make(map[string]CRMCluster)
	add := func(name string, raw clusterJSON) error {
		if name == "" {
			return errors.New("a cluster has no name")
		}
		if _, taken := clusters[name]; taken {
			return fmt.Errorf("cluster %q is named twice", name)
		}
		cluster, err := raw.cluster()
		if err != nil {
			return fmt.Errorf("cluster %q: %w", name, err)
		}
		clusters[name] = cluster
		return nil
	}

	if first := bytes.TrimSpace(data); len(first) > 0 && first[0] == '[' {
		var entries []clusterJSON
		if err := json.Unmarshal(data, &entries); err != nil {
			return nil, fmt.Errorf("is not a list of clusters: %w", err)
		}
		for _, entry := range entries {
			if err := add(entry.Name, entry); err != nil {
				return nil, err
			}
		}
		return clusters, nil
	}
	if err := eachMember(data, func(name string, value json.RawMessage) error {
		var entry clusterJSON
		if err := json.Unmarshal(value, &entry); err != nil {
			return fmt.Errorf("cluster %q: %w", name, err)
		}
		return add(name, entry)
	}); err != nil {
		return nil, err
	}
	return clusters, nil
}

// eachMember calls fn with the members of a JSON object in their order, the
// same name again included (a map would hide that).
func eachMember(data []byte, fn func(name string, value json.RawMessage) error) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.New("is neither a JSON object nor a JSON array")
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("is not valid JSON: %w", err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("is not valid JSON: %w", err)
		}
		if err := fn(name.(string), value); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("is not valid JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("is not valid JSON: there is more after the object")
	}
	return nil
}

func (raw clusterJSON) cluster() (CRMCluster, error) {
	cluster := DefaultCRMCluster()
	cluster.BaseURL = raw.URL
	if cluster.BaseURL == "" {
		cluster.BaseURL = raw.BaseURL
	}
	if cluster.BaseURL == "" {
		return cluster, errors.New("url is missing")
	}
	if raw.Timeout != nil {
		if !(*raw.Timeout > 0 && *raw.Timeout <= 1e9) {
			return cluster, errors.New("timeout is out of range")
		}
		cluster.Timeout = time.Duration(*raw.Timeout * float64(time.Second))
	}
	if raw.RetryAttempts != nil {
		cluster.RetryAttempts = *raw.RetryAttempts
	}
	setAPIKey(&cluster, raw.APIKey)
	if raw.TLS != nil {
		cluster.TLS = TLS{
			Enabled: true, CACertPath: raw.TLS.CACert, ClientCertPath: raw.TLS.ClientCert,
			ClientKeyPath: raw.TLS.ClientKey, Insecure: raw.TLS.Insecure,
		}
	}
	return cluster, nil
}
