package storage

import "fmt"

// The key space, all of it. Document keys are those of the field's etcd layout
// (packages/NAME, deployments/KEY), so a shared etcd can be taken over; names
// are validated by model to hold no '/' and no NUL. Index keys end in the two
// terms they join, separated by NUL, and hold a single placeholder byte.
//
//	packages/NAME                         document
//	deployments/KEY                       document
//	units/DEPLOYMENT/CLUSTER/UNIT         JSON of model.UnitStatus
//	runtime_states/KEY                    document
//	clusters/NAME                         document
//	cluster_health/NAME                   JSON of model.ClusterHealth
//	revisions/DEPLOYMENT/NUMBER(20)       JSON of model.Revision
//	events/SEQUENCE(20)                   JSON of model.Event, the newest MaxEvents
//	index/tag/TAG\0PACKAGE
//	index/dependant/DEPENDENCY\0PACKAGE
//	index/package/PACKAGE\0DEPLOYMENT
//	index/environment/CLUSTER\0DEPLOYMENT
//	index/unit/CLUSTER\0DEPLOYMENT/UNIT
//	index/event/KIND/NAME\0SEQUENCE(20)
//	requests/INDEX(8 bytes, big endian)   request ids and results of one entry
//	system/cluster_id                     text, minted by the first entry
//	system/event_sequence                 decimal text: the sequence of the newest event
//	system/term_base                      decimal text: what is added to terms for CRMs, see Fence
//	system/restored                       JSON of Restored: the newest restore
//	restores/ID/PART(10)                  a slice of a backup that is to be restored
//
// (20) and (10) are decimal numbers of that many digits, so that keys sort as numbers
// do.
const (
	PackagePrefix       = "packages/"
	DeploymentPrefix    = "deployments/"
	UnitPrefix          = "units/"
	RuntimeStatePrefix  = "runtime_states/"
	RequestPrefix       = "requests/"
	ClusterPrefix       = "clusters/"
	ClusterHealthPrefix = "cluster_health/"
	RevisionPrefix      = "revisions/"
	StoredEventPrefix   = "events/"
	RestorePrefix       = "restores/"

	tagIndexPrefix         = "index/tag/"
	dependantIndexPrefix   = "index/dependant/"
	packageIndexPrefix     = "index/package/"
	environmentIndexPrefix = "index/environment/"
	unitIndexPrefix        = "index/unit/"
	eventIndexPrefix       = "index/event/"
)

// MaxEvents is how many events are kept; the oldest make room.
const MaxEvents = 10_000

// EventSequenceKey holds the sequence of the newest event.
var EventSequenceKey = []byte("system/event_sequence")

// ClusterIDKey holds the cluster's id.
var ClusterIDKey = []byte("system/cluster_id")

// TermBaseKey holds what Fence adds to terms.
var TermBaseKey = []byte("system/term_base")

// RestoredKey tells of the newest restore.
var RestoredKey = []byte("system/restored")

// OwnKeys hold what is a cluster's own: a restore brings none of them along, and two
// clusters of the same content differ in them.
var OwnKeys = [][]byte{ClusterIDKey, TermBaseKey, RestoredKey}

// RestorePartKey is the key of a staged part of a backup.
func RestorePartKey(id string, part uint32) []byte {
	return fmt.Appendf(nil, "%s%s/%010d", RestorePrefix, id, part)
}

// RestorePartsOf is the prefix of all staged parts of a restore.
func RestorePartsOf(id string) []byte { return []byte(RestorePrefix + id + "/") }

// IndexValue is the value of every index key.
var IndexValue = []byte{1}

// PackageKey is the key of a package's document.
func PackageKey(name string) []byte { return []byte(PackagePrefix + name) }

// DeploymentKey is the key of a deployment's document.
func DeploymentKey(key string) []byte { return []byte(DeploymentPrefix + key) }

// RuntimeStateKey is the key of a runtime state's document.
func RuntimeStateKey(key string) []byte { return []byte(RuntimeStatePrefix + key) }

// UnitKey is the key of a unit's record.
func UnitKey(deployment, cluster, unit string) []byte {
	return []byte(UnitPrefix + deployment + "/" + cluster + "/" + unit)
}

// UnitsOf is the prefix of all unit records of a deployment.
func UnitsOf(deployment string) []byte { return []byte(UnitPrefix + deployment + "/") }

// ClusterKey is the key of a cluster's document.
func ClusterKey(name string) []byte { return []byte(ClusterPrefix + name) }

// ClusterHealthKey is the key of a cluster's recorded health.
func ClusterHealthKey(name string) []byte { return []byte(ClusterHealthPrefix + name) }

// RevisionKey is the key of a deployment's revision.
func RevisionKey(deployment string, revision uint64) []byte {
	return fmt.Appendf(nil, "%s%s/%020d", RevisionPrefix, deployment, revision)
}

// RevisionsOf is the prefix of all revisions of a deployment.
func RevisionsOf(deployment string) []byte { return []byte(RevisionPrefix + deployment + "/") }

// StoredEventKey is the key of an event.
func StoredEventKey(sequence uint64) []byte {
	return []byte(StoredEventPrefix + eventName(sequence))
}

// eventName is the part of an event's key that follows the prefix.
func eventName(sequence uint64) string { return fmt.Sprintf("%020d", sequence) }

// EventSubject is the term of ByEventSubject for what an event is about.
func EventSubject(kind, name string) string { return kind + "/" + name }

// An Index joins a term to the documents that carry it.
type Index string

const (
	// ByTag leads from a tag to packages.
	ByTag Index = tagIndexPrefix
	// ByDependency leads from a package to the packages that depend on it.
	ByDependency Index = dependantIndexPrefix
	// ByPackage leads from a package to its deployments.
	ByPackage Index = packageIndexPrefix
	// ByEnvironment leads from a cluster to the deployments that target it.
	ByEnvironment Index = environmentIndexPrefix
	// ByCluster leads from a cluster to its units, named DEPLOYMENT/UNIT.
	ByCluster Index = unitIndexPrefix
	// ByEventSubject leads from KIND/NAME to the sequences of its events.
	ByEventSubject Index = eventIndexPrefix
)

// Key is the index key that joins term to the document named name.
func (x Index) Key(term, name string) []byte {
	return []byte(string(x) + term + "\x00" + name)
}

// Scan calls fn with the name of every document under term that sorts at or
// after from, in order.
func (x Index) Scan(r Reader, term, from string, fn func(name string) (bool, error)) error {
	prefix := []byte(string(x) + term + "\x00")
	start := append(append([]byte(nil), prefix...), from...)
	return r.Scan(start, PrefixEnd(prefix), func(key, _ []byte) (bool, error) {
		return fn(string(key[len(prefix):]))
	})
}
