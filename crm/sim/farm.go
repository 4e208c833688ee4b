package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// farmJournal is how many calls each simulator of a farm remembers unless its
// configuration says otherwise.
const farmJournal = 100

// Farm is many simulators on one port: that of cluster NAME has the base URL
// http://HOST:PORT/c/NAME. They speak HTTP only. A simulator costs memory for
// what it holds and nothing else, so thousands are cheap. All methods may be
// called from many goroutines.
//
//	GET /farm/clusters   the names
//	GET /farm/units      every unit of every cluster
//	GET /farm/counts     calls of each name, summed
//	PUT /farm/faults     the faults of all clusters
type Farm struct {
	template Config
	handler  http.Handler

	// mu guards sims.
	mu   sync.RWMutex
	sims map[string]*Sim
}

// FarmUnit is a unit of one of a farm's clusters.
type FarmUnit struct {
	Cluster    string `json:"cluster"`
	ID         string `json:"id"`
	Deployment string `json:"deployment"`
	Generation uint64 `json:"generation"`
}

// NewFarm makes an empty farm. Its clusters are configured as template says, but
// for the name, and the state directory, which they do not have.
func NewFarm(template Config) *Farm {
	if template.JournalSize == 0 {
		template.JournalSize = farmJournal
	}
	template.StateDir = ""
	f := &Farm{template: template.withDefaults(), sims: map[string]*Sim{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/c/{name}/", f.serveCluster)
	mux.HandleFunc("GET /farm/clusters", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f.Names()) })
	mux.HandleFunc("GET /farm/units", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f.Units()) })
	mux.HandleFunc("GET /farm/counts", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f.Counts()) })
	mux.HandleFunc("PUT /farm/faults", f.serveFaults)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, noRoute()) })
	f.handler = mux
	return f
}

// Add makes the clusters named, where there are none of the name, and returns the
// last one.
func (f *Farm) Add(names ...string) (last *Sim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		last = f.sims[name]
		if last == nil {
			cfg := f.template
			cfg.Name = name
			cfg.Seed += uint64(len(f.sims))
			last = New(cfg)
			f.sims[name] = last
		}
	}
	return last
}

// Sim returns the simulator of a cluster.
func (f *Farm) Sim(name string) (*Sim, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s, ok := f.sims[name]
	return s, ok
}

// Names returns the names of the clusters, sorted.
func (f *Farm) Names() []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.Sorted(maps.Keys(f.sims))
}

// all returns the simulators in the order of their names.
func (f *Farm) all() []*Sim {
	f.mu.RLock()
	defer f.mu.RUnlock()
	sims := make([]*Sim, 0, len(f.sims))
	for _, name := range slices.Sorted(maps.Keys(f.sims)) {
		sims = append(sims, f.sims[name])
	}
	return sims
}

// Units returns every unit of every cluster, by cluster and id.
func (f *Farm) Units() []FarmUnit {
	units := []FarmUnit{}
	for _, s := range f.all() {
		for _, u := range s.Units() {
			units = append(units, FarmUnit{Cluster: s.cfg.Name, ID: u.Unit.ID, Deployment: u.Unit.DeploymentKey, Generation: u.Unit.Generation})
		}
	}
	return units
}

// Counts returns how many calls of each name there have been in all clusters.
func (f *Farm) Counts() map[string]uint64 {
	counts := map[string]uint64{}
	for _, s := range f.all() {
		for name, n := range s.Counts() {
			counts[name] += n
		}
	}
	return counts
}

// SetFaults sets the faults of all clusters, see Sim.SetFaults.
func (f *Farm) SetFaults(faults Faults) {
	for _, s := range f.all() {
		s.SetFaults(faults)
	}
}

// BaseURL is that of a cluster of a farm that is served at addr (HOST:PORT).
func BaseURL(addr, name string) string { return "http://" + addr + "/c/" + name }

// ServeHTTP implements http.Handler.
func (f *Farm) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.handler.ServeHTTP(w, r) }

func (f *Farm) serveCluster(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	s, ok := f.Sim(name)
	if !ok {
		refuse(w, &refusal{http.StatusNotFound, "no_cluster", fmt.Sprintf("there is no cluster %q", name)})
		return
	}
	http.StripPrefix(strings.TrimSuffix("/c/"+name, "/"), s).ServeHTTP(w, r)
}

func (f *Farm) serveFaults(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var faults Faults
	err := decodeBody(r, &faults)
	if err == nil {
		if problem := faults.Validate(); problem != nil {
			err = invalid(problem)
		}
	}
	if err != nil {
		refuse(w, asRefusal(err))
		return
	}
	f.SetFaults(faults)
	writeJSON(w, http.StatusOK, faults)
}

// Run serves the farm on l until ctx ends, and returns nil then. It closes l and
// waits for its connections; calls that still hang are cut off.
func (f *Farm) Run(ctx context.Context, l net.Listener) error {
	server := newHTTPServer(f, f.template.TLS, f.template.Logger)
	served := make(chan error, 1)
	go func() { served <- server.serve(l) }()
	select {
	case err := <-served:
		server.cancel()
		return fmt.Errorf("serve simulated clusters: %w", errors.Join(err, l.Close()))
	case <-ctx.Done():
	}
	server.stop(endGrace)
	if err := <-served; err != nil {
		return fmt.Errorf("serve simulated clusters: %w", err)
	}
	return nil
}
