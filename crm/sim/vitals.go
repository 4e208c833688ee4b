package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/model"
)

// Vitals are what a simulated cluster says of itself, and what it has room for.
type Vitals struct {
	Version string `json:"version"`
	// Status is Healthy, Degraded, Unhealthy or Unknown.
	Status string `json:"status"`
	// Nodes and ReadyNodes; negative: not told.
	Nodes      int `json:"nodes"`
	ReadyNodes int `json:"ready_nodes"`
	// Availability, 0 to 1; nil: not told.
	Availability *float64 `json:"availability"`
	// Capacity is the number of units that fit; 0 means any.
	Capacity int `json:"capacity"`
	// CPU and Memory are the shares in use, 0 to 1; nil: not told.
	CPU    *float64 `json:"cpu"`
	Memory *float64 `json:"memory"`
}

// clusterStatuses are the values of Vitals.Status.
var clusterStatuses = []string{model.ClusterHealthy, model.ClusterDegraded, model.ClusterUnhealthy, model.ClusterUnknown}

// Validate returns all problems, joined.
func (v Vitals) Validate() error {
	var errs []error
	if !slices.Contains(clusterStatuses, v.Status) {
		errs = append(errs, fmt.Errorf("status: %q is none of %v", v.Status, clusterStatuses))
	}
	if v.Capacity < 0 {
		errs = append(errs, errors.New("capacity must not be negative"))
	}
	for name, share := range map[string]*float64{"availability": v.Availability, "cpu": v.CPU, "memory": v.Memory} {
		if share != nil && !(*share >= 0 && *share <= 1) {
			errs = append(errs, fmt.Errorf("%s must be between 0 and 1", name))
		}
	}
	return errors.Join(errs...)
}

func vitalsOf(c Config) Vitals {
	availability := c.Availability
	return Vitals{
		Version: c.Version, Status: model.ClusterHealthy, Nodes: c.Nodes, ReadyNodes: c.Nodes,
		Availability: &availability, Capacity: c.Capacity,
	}
}

// Vitals returns what the cluster says of itself.
func (s *Sim) Vitals() Vitals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vitals
}

// SetVitals replaces what the cluster says of itself; units that are there stay,
// whatever the capacity. It panics on invalid ones.
func (s *Sim) SetVitals(v Vitals) {
	if err := v.Validate(); err != nil {
		panic(fmt.Sprintf("sim: %v", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vitals = v
}

// health is the answer to a health call.
func (s *Sim) health() model.ClusterHealth {
	s.mu.Lock()
	v, units := s.vitals, uint32(len(s.units))
	s.mu.Unlock()
	health := model.ClusterHealth{
		ClusterName: s.cfg.Name, Status: v.Status, CRMVersion: &v.Version, LastSeen: s.cfg.Now().UTC(),
		NodeCount: counted(v.Nodes), ReadyNodes: counted(v.ReadyNodes), Availability: v.Availability,
	}
	if v.Capacity > 0 || v.CPU != nil || v.Memory != nil {
		health.Load = &model.ClusterLoad{Units: &units, CPU: v.CPU, Memory: v.Memory}
		if v.Capacity > 0 {
			health.Load.Capacity = counted(v.Capacity)
		}
	}
	return health
}

// counted is a number to report; nil when it is negative.
func counted(n int) *uint32 {
	if n < 0 {
		return nil
	}
	value := uint32(n)
	return &value
}
