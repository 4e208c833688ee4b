package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML renders the settings as a file that gives the same settings again, but
// for the secrets, which are masked.
func (c Config) YAML() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return out.Bytes(), nil
}

// Ineffective names the settings that were given, are accepted for the sake of
// existing files and environments, and have no effect. A program that starts
// with them should say so.
func (c Config) Ineffective() []string {
	var keys []string
	add := func(given bool, key string) {
		if given {
			keys = append(keys, key)
		}
	}
	add(c.Server.Workers != 0, "server.workers")
	add(c.CRM.HealthCacheTTL != 0, "crm.health_cache_ttl")
	add(c.CRM.Deploy.MaxRetries != 0, "crm.deploy.max_retries")
	for _, name := range slices.Sorted(maps.Keys(c.CRM.Clusters)) {
		// https:// in the URL is what turns TLS on.
		cluster := c.CRM.Clusters[name]
		add(cluster.TLS != TLS{} && strings.HasPrefix(cluster.BaseURL, "http://"), "crm.clusters."+name+".tls")
	}
	add(c.Observability.MetricsPort != 0, "observability.metrics_port")
	add(c.Observability.JaegerEndpoint != "", "observability.jaeger_endpoint")
	return keys
}
