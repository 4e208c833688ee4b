package crm

import (
	"context"

	"github.com/oprc/oprc-pm/model"
)

// Client speaks to the CRM of one cluster. All errors are *CallError. Methods
// may be called from many goroutines and return soon after ctx ends.
type Client interface {
	// Health asks the CRM how its cluster is.
	Health(ctx context.Context) (model.ClusterHealth, error)
	// Deploy asks the CRM to run a unit. A unit that it already runs is
	// accepted again and left alone.
	Deploy(ctx context.Context, from Origin, unit model.DeploymentUnit) (model.CRMResponse, error)
	// Status asks for the state of a unit; ClassNotFound when the CRM does not
	// know it.
	Status(ctx context.Context, from Origin, id string) (model.CRMStatus, error)
	// Record asks for the full record of a unit; ClassNotFound as Status.
	Record(ctx context.Context, from Origin, id string) (model.DeploymentRecord, error)
	// Records lists records: with a limit one page as the CRM gives it, else all
	// that can be asked for again, each id once. CRMs differ in what they make of
	// the filter's texts. ClassNotSupported when the CRM cannot list.
	Records(ctx context.Context, from Origin, filter RecordFilter) ([]model.DeploymentRecord, error)
	// Delete removes a unit. A unit that is already gone is a success.
	Delete(ctx context.Context, from Origin, id string) error
	// Topology asks what is connected with what, as the CRM sees it;
	// ClassNotSupported over HTTP.
	Topology(ctx context.Context) (model.TopologySnapshot, error)
}

// Origin says on whose behalf a call is made. Its zero value is fine for reads
// that are not the dispatcher's.
type Origin struct {
	// Term of the leader run that calls: the fencing token with which a CRM can
	// refuse a deposed leader. 0: not a leader's call.
	Term uint64
	// Deployment is the key of the deployment that is acted on; may be empty, and
	// is known for a deploy call.
	Deployment string
	// Generation of the deployment that is acted on; 0 when there is none.
	Generation uint64
	// CorrelationID joins the CRM's log lines with ours; may be empty.
	CorrelationID string
	// TraceParent is the W3C trace context of the request that led to the call;
	// may be empty.
	TraceParent string
	// IdempotencyKey names the intent behind a change: the same for every
	// repetition, by later leaders too, and another one when the unit is wanted
	// or unwanted anew. May be empty.
	IdempotencyKey string
}

// RecordFilter selects deployment records; empty fields select all.
type RecordFilter struct {
	Package     string
	Class       string
	Environment string
	Status      string
	// Limit is the most records wanted. 0 means all: the client asks page by
	// page.
	Limit  int
	Offset int
}

// Names of the calls, as in errors and metrics.
const (
	CallHealth   = "health"
	CallDeploy   = "deploy"
	CallStatus   = "status"
	CallRecord   = "record"
	CallRecords  = "records"
	CallDelete   = "delete"
	CallTopology = "topology"
)
