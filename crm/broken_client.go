package crm

import (
	"context"

	"github.com/oprc/oprc-pm/model"
)

// brokenClient stands for a cluster whose settings cannot be used.
type brokenClient struct {
	cluster string
	err     error
}

func (b *brokenClient) fail(call string) error {
	return &CallError{Cluster: b.cluster, Call: call, Class: ClassTerminal, Reason: "cluster's settings cannot be used", NotSent: true, Err: b.err}
}

// Health implements Client.
func (b *brokenClient) Health(context.Context) (model.ClusterHealth, error) {
	return model.ClusterHealth{}, b.fail(CallHealth)
}

// Deploy implements Client.
func (b *brokenClient) Deploy(context.Context, Origin, model.DeploymentUnit) (model.CRMResponse, error) {
	return model.CRMResponse{}, b.fail(CallDeploy)
}

// Status implements Client.
func (b *brokenClient) Status(context.Context, Origin, string) (model.CRMStatus, error) {
	return model.CRMStatus{}, b.fail(CallStatus)
}

// Record implements Client.
func (b *brokenClient) Record(context.Context, Origin, string) (model.DeploymentRecord, error) {
	return model.DeploymentRecord{}, b.fail(CallRecord)
}

// Records implements Client.
func (b *brokenClient) Records(context.Context, Origin, RecordFilter) ([]model.DeploymentRecord, error) {
	return nil, b.fail(CallRecords)
}

// Delete implements Client.
func (b *brokenClient) Delete(context.Context, Origin, string) error { return b.fail(CallDelete) }

// Topology implements Client.
func (b *brokenClient) Topology(context.Context) (model.TopologySnapshot, error) {
	return model.TopologySnapshot{}, b.fail(CallTopology)
}

// Close does nothing: there is nothing to give up.
func (b *brokenClient) Close() {}
