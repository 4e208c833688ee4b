package crm

import (
	"errors"
	"maps"
	"slices"

	"github.com/VictoriaMetrics/metrics"
)

// Fleet is the HTTP clients of all configured clusters. It is immutable.
type Fleet struct {
	clients        map[string]*HTTPClient
	concurrency    map[string]int
	defaultCluster string
}

// NewFleet makes a client for each configured cluster. It does no I/O.
func NewFleet(cfg Config, set *metrics.Set) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fleet := &Fleet{clients: map[string]*HTTPClient{}, concurrency: map[string]int{}, defaultCluster: cfg.DefaultCluster}
	var errs []error
	for name, cluster := range cfg.Clusters {
		cluster.Name = name
		client, err := NewHTTPClient(cluster, set)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fleet.clients[name] = client
		fleet.concurrency[name] = cluster.MaxConcurrency
	}
	return fleet, errors.Join(errs...)
}

// Names returns the configured clusters, sorted.
func (f *Fleet) Names() []string { return slices.Sorted(maps.Keys(f.clients)) }

// Client returns the client of a cluster; name "" means the default cluster.
func (f *Fleet) Client(name string) (Client, bool) {
	if name == "" {
		name = f.defaultCluster
	}
	client, known := f.clients[name]
	if !known {
		return nil, false
	}
	return client, true
}

// Clients returns all clients by name; the caller owns the map.
func (f *Fleet) Clients() map[string]Client {
	clients := make(map[string]Client, len(f.clients))
	for name, client := range f.clients {
		clients[name] = client
	}
	return clients
}

// Concurrency returns each cluster's MaxConcurrency; the caller owns the map.
func (f *Fleet) Concurrency() map[string]int { return maps.Clone(f.concurrency) }

// Close drops all idle connections.
func (f *Fleet) Close() {
	for _, client := range f.clients {
		client.Close()
	}
}
