package inventory

import (
	"time"

	"github.com/oprc/oprc-pm/model"
)

// ClusterView is a cluster as it is recorded. It is a copy, but what its fields
// point to is shared and must not be changed.
type ClusterView struct {
	Spec model.Cluster
	// Health as recorded; Unknown with reason NotProbed when there is none.
	Health model.ClusterHealth
	// Noted is when this node saw Health.Status begin, by its own clock that does
	// not jump; zero when it was so already when this node began to look.
	// Health.Since is by the clock of whoever led then.
	Noted time.Time
	// Units recorded there, in whatever phase.
	Units int
}

// ReasonNotProbed is the reason of a cluster's health when none is recorded.
const ReasonNotProbed = "NotProbed"

// UnitRef is a unit's record, as far as it tells where the unit is.
type UnitRef struct {
	Deployment, Cluster, Unit string
	// CRMID is the id by which the CRM knows the unit; empty until it answered.
	CRMID string
	Phase model.UnitPhase
}

// ids are those under which the unit is found.
func (r *UnitRef) ids() []string {
	if r.CRMID == "" || r.CRMID == r.Unit {
		return []string{r.Unit}
	}
	return []string{r.Unit, r.CRMID}
}

// view makes a ClusterView; entry must hold a document.
func (s *snapshot) view(name string, entry *clusterEntry) ClusterView {
	units, _ := s.counts.Get(name)
	view := ClusterView{Spec: *entry.spec, Noted: entry.noted, Units: units}
	if entry.health != nil {
		view.Health = *entry.health
	} else {
		view.Health = model.ClusterHealth{ClusterName: name, Status: model.ClusterUnknown, Reason: ReasonNotProbed, Message: "the cluster has not been probed yet"}
	}
	return view
}

// Clusters returns all clusters, sorted by name. The slice is shared and must
// not be changed; it stays as it is. Calls between two changes share one slice.
func (i *Inventory) Clusters() []ClusterView {
	s := i.current.Load()
	return s.list.get(s.views)
}

func (s *snapshot) views() []ClusterView {
	views := make([]ClusterView, 0, s.clusters.Len())
	s.clusters.Scan(func(name string, entry *clusterEntry) bool {
		if entry.spec != nil {
			views = append(views, s.view(name, entry))
		}
		return true
	})
	return views
}

// Cluster returns one cluster, and false when there is none of that name.
func (i *Inventory) Cluster(name string) (ClusterView, bool) {
	s := i.current.Load()
	entry, known := s.clusters.Get(name)
	if !known || entry.spec == nil {
		return ClusterView{}, false
	}
	return s.view(name, entry), true
}

// Infos returns all clusters as lists show them, sorted by name. The caller owns
// the slice; what its elements point to is shared.
func (i *Inventory) Infos() []model.ClusterInfo {
	views := i.Clusters()
	infos := make([]model.ClusterInfo, len(views))
	for n := range views {
		infos[n] = views[n].Info()
	}
	return infos
}

// Info returns the cluster as lists show it.
func (v *ClusterView) Info() model.ClusterInfo {
	return model.ClusterInfo{
		Name: v.Spec.Name, Health: v.Health, BaseURL: v.Spec.BaseURL, Protocol: v.Spec.Protocol,
		Labels: v.Spec.Labels, Environments: v.Spec.Environments, Weight: v.weight(),
		Cordoned: v.Spec.Cordoned, Draining: v.Spec.Draining, ManagedBy: v.Spec.ManagedBy,
		Units: v.Units, Capacity: v.capacity(), ResourceVersion: v.Spec.ResourceVersion,
	}
}

// usualWeight is that of a cluster that says none.
const usualWeight = 100

func (v *ClusterView) weight() uint32 {
	if v.Spec.Weight != nil {
		return *v.Spec.Weight
	}
	return usualWeight
}

// capacity is what the document says, else what the CRM reports; nil: no limit.
func (v *ClusterView) capacity() *uint32 {
	switch {
	case v.Spec.Capacity != nil:
		return v.Spec.Capacity
	case v.Health.Load != nil:
		return v.Health.Load.Capacity
	}
	return nil
}

// UnitsOn returns the units recorded in a cluster, sorted by deployment and
// unit. The caller owns the slice.
func (i *Inventory) UnitsOn(cluster string) []UnitRef {
	s := i.current.Load()
	count, _ := s.counts.Get(cluster)
	return collect(make([]UnitRef, 0, count), s, cluster)
}

func collect(refs []UnitRef, s *snapshot, cluster string) []UnitRef {
	under(s.units, func(_ string, ref *UnitRef) bool {
		refs = append(refs, *ref)
		return true
	}, cluster)
	return refs
}

// FindUnit returns the units with an id, the control plane's or a CRM's, sorted
// by cluster. The caller owns the slice.
func (i *Inventory) FindUnit(id string) []UnitRef {
	var refs []UnitRef
	under(i.current.Load().ids, func(_ string, ref *UnitRef) bool {
		refs = append(refs, *ref)
		return true
	}, id)
	return refs
}
