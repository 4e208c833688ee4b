package storage

import (
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Command is one change, as data. The rules that must hold when it is applied
// live in fsm; a command that breaks one is rejected with the same result on
// every replica. The concrete types below are all there are; they are sent as
// values (not pointers) and must not be modified once proposed.
type Command interface{ command() }

// PutMode says what a put expects to find.
type PutMode uint8

const (
	// Upsert creates or replaces.
	Upsert PutMode = iota
	// Create is rejected with conflict when the name is taken.
	Create
	// Update is rejected with not_found when there is nothing to replace.
	Update
)

// PutPackage stores a package. Putting what is already there changes nothing.
type PutPackage struct {
	Name string
	Mode PutMode
	// IfMatch, when not 0, is the resource version that must be present.
	IfMatch uint64
	// Document is the user line of the stored document (model.EncodePackage).
	Document []byte
	// The terms of the indexes and rules, as in Document: sorted, unique.
	Tags         []string
	Dependencies []string
	Classes      []string
	// Force stores the package although classes vanish that are deployed. Their
	// deployments keep running what they run and say so.
	Force bool
}

// DeletePackage removes a package. It is rejected when other packages depend
// on it, or when it has deployments and Cascade is false; with Cascade its
// deployments are marked deleted in the same transaction.
type DeletePackage struct {
	Name    string
	IfMatch uint64
	Cascade bool
}

// PutDeployment stores the desired state of a deployment. The package and the
// class must exist. A changed document starts a new generation; it also takes
// back a delete that has not finished.
type PutDeployment struct {
	Key     string
	Mode    PutMode
	IfMatch uint64
	// Document is the user line (model.EncodeDeployment).
	Document []byte
	Package  string
	Class    string
	// Environments are the explicit targets: sorted, unique.
	Environments []string
}

// DeleteDeployment marks a deployment deleted. The dispatcher removes its units
// everywhere and then forgets it (RecordUnitStatus with Forget).
type DeleteDeployment struct {
	Key     string
	IfMatch uint64
}

// RecordUnitStatus records what the leader's dispatcher intends and observes
// for one deployment: the intent before a call to a CRM, the outcome after it.
// It is rejected with conflict when Generation is not the deployment's newest or a
// unit would be recorded anew in a cluster that does not exist (the dispatcher must
// look and plan again), or the deployment is gone.
type RecordUnitStatus struct {
	Deployment string
	// Generation that the dispatcher acted on.
	Generation uint64
	// Put and Remove are the unit records to write and to drop.
	Put    []model.UnitStatus
	Remove []UnitRef
	// Observed replaces the observed state, when not nil. Its
	// DeletionRequestedAt is ignored: the store keeps its own.
	Observed *model.DeploymentObserved
	// Forget removes the deployment itself. It is rejected while the deployment
	// is not marked deleted or still has unit records.
	Forget bool
	// Revision is written under its number, when not nil; revisions older than
	// KeepRevisionsFrom are dropped.
	Revision          *model.Revision
	KeepRevisionsFrom uint64
	// Events to be kept with the change; the store gives them their sequence.
	Events []model.Event
}

// UnitRef names a unit record of a deployment.
type UnitRef struct{ Cluster, Unit string }

// UpdateRuntimeState stores a runtime state.
type UpdateRuntimeState struct {
	Key     string
	IfMatch uint64
	// Document is the user line (model.EncodeRuntimeState).
	Document []byte
}

// PutCluster stores a cluster. One that the configuration manages is not replaced
// by one that the API manages.
type PutCluster struct {
	Name    string
	Mode    PutMode
	IfMatch uint64
	// Document is the user line (model.EncodeCluster).
	Document []byte
	// ManagedBy is as in Document.
	ManagedBy model.ClusterManager
}

// DeleteCluster removes a cluster with its health. It is rejected while units
// are recorded there, unless Force: the units' records then go as well, whatever
// the cluster still runs.
type DeleteCluster struct {
	Name    string
	IfMatch uint64
	Force   bool
}

// RecordClusterHealth records what the leader's probes found, where it changed.
// A cluster that does not exist any more is passed over.
type RecordClusterHealth struct {
	Clusters []NamedHealth
	// Events to be kept with the change.
	Events []model.Event
}

// NamedHealth is the health of a cluster under the name that deployments use.
type NamedHealth struct {
	Name   string
	Health model.ClusterHealth
}

// RecordEvents keeps events that belong to no other change.
type RecordEvents struct{ Events []model.Event }

// MintClusterID gives a new cluster its id. It is the first entry of a log; a
// later one is rejected with conflict.
type MintClusterID struct{ ClusterID string }

// StageRestore keeps a slice of a backup until CommitRestore. The first part of
// another restore drops what was staged of this one.
type StageRestore struct {
	// ID of the restore, drawn by whoever restores.
	ID   string
	Part uint32
	// Data is at most RestorePartBytes of the backup's file.
	Data []byte
}

// AbortRestore drops what is staged of a restore.
type AbortRestore struct{ ID string }

// CommitRestore replaces the state by that of a staged backup, whole or not at all:
// every key except those that are the cluster's own (OwnKeys). It is rejected when
// the parts are not the file that was meant or the file is damaged, when the cluster
// holds documents and Force is false, and when versions would run backwards: its
// index must be larger than that of the backup. Its result is not in the request
// table, which is part of what is replaced; a repetition is known by ID.
type CommitRestore struct {
	ID string
	// Parts is how many there are, numbered from 0; Sha256 is that of the file.
	Parts  uint32
	Sha256 [32]byte
	// Force restores over documents.
	Force bool
	// MinIndex is the smallest index that the entry may have: that of the backup and
	// one. A driver that numbers its entries itself leaves out numbers for it.
	MinIndex uint64
}

// RestorePartBytes bounds StageRestore.Data.
const RestorePartBytes = 512 << 10

// Barrier changes nothing. A new leader commits one before it serves reads or
// acts, so that its log holds an entry of its own term that the applier sees.
type Barrier struct{}

func (Barrier) command()             {}
func (PutPackage) command()          {}
func (DeletePackage) command()       {}
func (PutDeployment) command()       {}
func (DeleteDeployment) command()    {}
func (RecordUnitStatus) command()    {}
func (UpdateRuntimeState) command()  {}
func (PutCluster) command()          {}
func (DeleteCluster) command()       {}
func (RecordClusterHealth) command() {}
func (RecordEvents) command()        {}
func (MintClusterID) command()       {}
func (StageRestore) command()        {}
func (AbortRestore) command()        {}
func (CommitRestore) command()       {}

// MaxRequestID bounds Request.ID, in bytes.
const MaxRequestID = 128

// Request is a command on its way to a Store.
type Request struct {
	Command Command
	// ID makes the command apply at most once: a second request with the same
	// id answers what the first did, and one with the same id but another
	// command is rejected with conflict. Empty: the store draws a random one.
	// At most MaxRequestID bytes.
	ID string
	// LeaderTerm, when not 0, says in which term the proposer's leader run
	// started; the command is rejected with conflict in any later term.
	LeaderTerm uint64
}

// Proposal is a request as it is replicated: stamped by its proposer.
type Proposal struct {
	Request
	// At is the proposer's clock, UTC.
	At time.Time
	// Fingerprint tells whether two proposals with one request id carry the
	// same command. 0: computed when the proposal is encoded.
	Fingerprint uint64
}

// Outcome says what an accepted command did.
type Outcome uint8

const (
	Rejected Outcome = iota
	Created
	Updated
	Unchanged
	Deleted
)

// Result is what applying a command gave: the same on every replica.
type Result struct {
	// Index of the log entry that carried the command. A read with MinIndex =
	// Index sees the change.
	Index   uint64
	Outcome Outcome
	// ResourceVersion and Generation of the document afterwards; 0 when it is
	// gone.
	ResourceVersion uint64
	Generation      uint64
	// Code and Message explain a rejection.
	Code    model.Code
	Message string
	// Problems names the fields a rejection is about.
	Problems []model.Problem
	// Duplicate is set when the request had been applied before and this is
	// the remembered result.
	Duplicate bool
}

// Err returns the rejection as a *model.Error, or nil.
func (r Result) Err() error {
	if r.Code == "" {
		return nil
	}
	return &model.Error{Code: r.Code, Message: r.Message, Problems: r.Problems}
}
