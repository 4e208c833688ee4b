package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// clusterJSON is one cluster of CRM_CLUSTERS_JSON. Further keys are ignored, as
// the existing configuration does.
type clusterJSON struct {
	Name          string   `json:"name"`
	URL           string   `json:"url"`
	BaseURL       string   `json:"base_url"`
	Timeout       *float64 `json:"timeout"`
	RetryAttempts *int     `json:"retry_attempts"`
	APIKey        Secret   `json:"api_key"`
	Protocol      Protocol `json:"protocol"`
	// The same settings as in the file.
	MaxConcurrency *int              `json:"max_concurrency"`
	Labels         map[string]string `json:"labels"`
	Environments   []string          `json:"environments"`
	Weight         *int              `json:"weight"`
	Capacity       int               `json:"capacity"`
	TLS            *struct {
		ServerName string `json:"server_name"`
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
		if !(*raw.Timeout >= 0 && *raw.Timeout <= 1e9) {
			return cluster, errors.New("timeout is out of range")
		}
		// 0 means the default, see setClusterTimeout.
		if *raw.Timeout > 0 {
			cluster.Timeout = time.Duration(*raw.Timeout * float64(time.Second))
		}
	}
	if raw.RetryAttempts != nil {
		cluster.RetryAttempts = *raw.RetryAttempts
	}
	if raw.Protocol != "" {
		cluster.Protocol = raw.Protocol
	}
	if raw.MaxConcurrency != nil {
		cluster.MaxConcurrency = *raw.MaxConcurrency
	}
	if raw.Weight != nil {
		cluster.Weight = *raw.Weight
	}
	cluster.Labels, cluster.Environments, cluster.Capacity = raw.Labels, raw.Environments, raw.Capacity
	setAPIKey(&cluster, raw.APIKey)
	if raw.TLS != nil {
		cluster.TLS = TLS{
			Enabled: true, CACertPath: raw.TLS.CACert, ClientCertPath: raw.TLS.ClientCert,
			ClientKeyPath: raw.TLS.ClientKey, ServerName: raw.TLS.ServerName, Insecure: raw.TLS.Insecure,
		}
	}
	return cluster, nil
}
