package inventory

import (
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// snapshot is everything that is known at one index. Once published it is not
// changed any more; edit makes the next one. Names hold no NUL, so keys joined by
// it sort by their parts.
type snapshot struct {
	// clusters by name. An entry may lack its document for a moment, when its
	// health was read first.
	clusters *btree.Map[string, *clusterEntry]
	// counts are the units recorded by cluster, also of clusters that do not
	// exist; no zeros.
	counts *btree.Map[string, int]
	// units by cluster, deployment, unit; byDeployment by deployment, cluster,
	// unit; ids by unit id or CRM id, then as units.
	units, byDeployment, ids *btree.Map[string, *UnitRef]
	// classes are the deployments' PACKAGE.CLASS.
	classes *btree.Map[string, string]
	// classUnits counts by class, cluster, deployment the units that are to
	// stay; no zeros.
	classUnits *btree.Map[string, int]

	// Worked out when first asked for; replaced when what they rest on changes.
	base *once[[]plan.Cluster]
	list *once[[]ClusterView]
}

// clusterEntry is a cluster's document and health; it is replaced, not changed.
type clusterEntry struct {
	spec   *model.Cluster
	health *model.ClusterHealth
	// noted is when the status was seen to begin, see ClusterView.Noted.
	noted time.Time
}

// setHealth returns the entry with another health. Its status is noted as of now
// when it is another one, and stays noted when it is not.
func (e clusterEntry) setHealth(health *model.ClusterHealth, now time.Time) clusterEntry {
	if !sameStatus(e.health, health) {
		e.noted = now
	}
	e.health = health
	return e
}

// sameStatus tells whether two records are of one stretch of a status.
func sameStatus(a, b *model.ClusterHealth) bool {
	return a != nil && b != nil && a.Status == b.Status &&
		(a.Since == b.Since || a.Since != nil && b.Since != nil && a.Since.Equal(*b.Since))
}

// keepNotes takes over from an earlier snapshot what it noted and holds still.
func (s *snapshot) keepNotes(before *snapshot) {
	before.clusters.Scan(func(name string, old *clusterEntry) bool {
		entry := s.entry(name)
		if !old.noted.IsZero() && entry.noted.IsZero() && sameStatus(entry.health, old.health) {
			entry.noted = old.noted
			s.setCluster(name, entry)
		}
		return true
	})
}

// once is a value that is made when it is first asked for.
type once[T any] struct {
	once  sync.Once
	value T
}

func (o *once[T]) get(create func() T) T {
	o.once.Do(func() { o.value = create() })
	return o.value
}

func newSnapshot() *snapshot {
	return &snapshot{
		clusters:     &btree.Map[string, *clusterEntry]{},
		counts:       &btree.Map[string, int]{},
		units:        &btree.Map[string, *UnitRef]{},
		byDeployment: &btree.Map[string, *UnitRef]{},
		ids:          &btree.Map[string, *UnitRef]{},
		classes:      &btree.Map[string, string]{},
		classUnits:   &btree.Map[string, int]{},
		base:         &once[[]plan.Cluster]{},
		list:         &once[[]ClusterView]{},
	}
}

// edit returns a snapshot with the same content that may be changed until it is
// published. Only Run's goroutine may call it: a copy marks its original.
func (s *snapshot) edit() *snapshot {
	return &snapshot{
		clusters:     s.clusters.Copy(),
		counts:       s.counts.Copy(),
		units:        s.units.Copy(),
		byDeployment: s.byDeployment.Copy(),
		ids:          s.ids.Copy(),
		classes:      s.classes.Copy(),
		classUnits:   s.classUnits.Copy(),
		base:         s.base,
		list:         s.list,
	}
}

// join makes a key of its parts.
func join(parts ...string) string { return strings.Join(parts, "\x00") }

// under calls fn with the entries whose key begins with the parts, in order,
// until it returns false.
func under[V any](tree *btree.Map[string, V], fn func(key string, value V) bool, parts ...string) {
	prefix := join(parts...) + "\x00"
	tree.Ascend(prefix, func(key string, value V) bool {
		return strings.HasPrefix(key, prefix) && fn(key[len(prefix):], value)
	})
}

// add adds delta to a count and drops it at 0.
func add(tree *btree.Map[string, int], key string, delta int) {
	count, _ := tree.Get(key)
	if count += delta; count != 0 {
		tree.Set(key, count)
	} else {
		tree.Delete(key)
	}
}

// setCluster replaces a cluster's entry; one with nothing in it is dropped.
func (s *snapshot) setCluster(name string, entry clusterEntry) {
	if entry == (clusterEntry{}) {
		s.clusters.Delete(name)
	} else {
		s.clusters.Set(name, &entry)
	}
	s.base, s.list = &once[[]plan.Cluster]{}, &once[[]ClusterView]{}
}

func (s *snapshot) entry(name string) clusterEntry {
	if entry, known := s.clusters.Get(name); known {
		return *entry
	}
	return clusterEntry{}
}

func (s *snapshot) setUnit(ref UnitRef) {
	s.dropUnit(ref.Deployment, ref.Cluster, ref.Unit)
	s.units.Set(join(ref.Cluster, ref.Deployment, ref.Unit), &ref)
	s.byDeployment.Set(join(ref.Deployment, ref.Cluster, ref.Unit), &ref)
	for _, id := range ref.ids() {
		s.ids.Set(join(id, ref.Cluster, ref.Deployment, ref.Unit), &ref)
	}
	s.count(&ref, 1)
}

func (s *snapshot) dropUnit(deployment, cluster, unit string) {
	ref, known := s.units.Delete(join(cluster, deployment, unit))
	if !known {
		return
	}
	s.byDeployment.Delete(join(deployment, cluster, unit))
	for _, id := range ref.ids() {
		s.ids.Delete(join(id, cluster, deployment, unit))
	}
	s.count(ref, -1)
}

func (s *snapshot) count(ref *UnitRef, delta int) {
	add(s.counts, ref.Cluster, delta)
	s.countClass(ref, delta)
	s.list = &once[[]ClusterView]{}
}

// countClass counts a unit for the class of its deployment, as far as that is
// known. A unit that is on its way out is no neighbour any more.
func (s *snapshot) countClass(ref *UnitRef, delta int) {
	if class, known := s.classes.Get(ref.Deployment); known && ref.Phase != model.UnitDeleting {
		add(s.classUnits, join(class, ref.Cluster, ref.Deployment), delta)
	}
}

// setClass sets the class of a deployment; empty: it is gone.
func (s *snapshot) setClass(deployment, class string) {
	if before, _ := s.classes.Get(deployment); before == class {
		return
	}
	s.recountClass(deployment, -1)
	if class == "" {
		s.classes.Delete(deployment)
	} else {
		s.classes.Set(deployment, class)
	}
	s.recountClass(deployment, 1)
}

func (s *snapshot) recountClass(deployment string, delta int) {
	under(s.byDeployment, func(_ string, ref *UnitRef) bool {
		s.countClass(ref, delta)
		return true
	}, deployment)
}
