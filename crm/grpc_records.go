package crm

import (
	"context"
	"errors"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// Record implements Client. A CRM that cannot tell a unit's record is asked for
// its state, which says less.
func (c *GRPCClient) Record(ctx context.Context, from Origin, id string) (model.DeploymentRecord, error) {
	if !usableID(id) {
		return model.DeploymentRecord{}, c.notSent(CallRecord, ClassTerminal, reasonBadID, nil)
	}
	var answer *crmpb.GetClassRuntimeResponse
	err := c.read(ctx, CallRecord, from, classRuntime(id, &answer))
	switch {
	case ClassOf(err) == ClassNotSupported:
		state, err := c.deploymentStatus(ctx, CallRecord, from, id)
		if err != nil {
			return model.DeploymentRecord{}, err
		}
		return recordFromStatus(state, id, c.now()), nil
	case err != nil:
		return model.DeploymentRecord{}, err
	case answer.GetDeployment() == nil:
		return model.DeploymentRecord{}, c.fail(CallRecord, ClassNotFound, "answered without a record", nil)
	}
	return recordFromProto(answer.GetDeployment()), nil
}

func classRuntime(id string, into **crmpb.GetClassRuntimeResponse) method {
	request := &crmpb.GetClassRuntimeRequest{DeploymentId: id}
	return unary(crmpb.NewDeploymentServiceClient, crmpb.DeploymentServiceClient.GetClassRuntime, request, into)
}

// Records implements Client.
func (c *GRPCClient) Records(ctx context.Context, from Origin, filter RecordFilter) ([]model.DeploymentRecord, error) {
	return listRecords(filter, maxRecords, func(page RecordFilter) ([]model.DeploymentRecord, error) {
		items, err := c.summaries(ctx, from, page)
		if err != nil {
			return nil, err
		}
		records := make([]model.DeploymentRecord, 0, len(items))
		for _, item := range items {
			records = append(records, recordFromProto(item))
		}
		return records, nil
	})
}

// summaries asks for one page of records.
func (c *GRPCClient) summaries(ctx context.Context, from Origin, page RecordFilter) ([]*crmpb.ClassRuntimeSummary, error) {
	var answer *crmpb.ListClassRuntimesResponse
	err := c.read(ctx, CallRecords, from, unary(crmpb.NewDeploymentServiceClient, crmpb.DeploymentServiceClient.ListClassRuntimes, filterToProto(page), &answer))
	return answer.GetItems(), err
}

// anyRecord finds the record of a unit that the CRM has just said to have, by its
// id or else in the list. nil: the CRM tells none. An error is one that will pass;
// that the CRM has no such call, or keeps it from us, is no error.
func (c *GRPCClient) anyRecord(ctx context.Context, from Origin, id string) (*crmpb.ClassRuntimeSummary, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout) // for all that it takes
	defer cancel()
	var answer *crmpb.GetClassRuntimeResponse
	err := c.send(ctx, CallRecord, from, classRuntime(id, &answer))
	switch ClassOf(err) {
	case ClassOK:
		return answer.GetDeployment(), nil
	case ClassNotFound:
		return nil, nil // it went meanwhile, or will be listed: the next look tells
	case ClassNotSupported, ClassTerminal:
		return c.listedRecord(ctx, from, id)
	}
	return nil, err
}

// errListed ends a list when it has shown what was looked for.
var errListed = errors.New("listed")

// listedRecord finds the record of a unit among all of its CRM. These CRMs heed
// no filter that would find it sooner.
func (c *GRPCClient) listedRecord(ctx context.Context, from Origin, id string) (*crmpb.ClassRuntimeSummary, error) {
	var found *crmpb.ClassRuntimeSummary
	_, err := listRecords(RecordFilter{}, maxRecords, func(page RecordFilter) ([]model.DeploymentRecord, error) {
		items, err := c.summaries(ctx, from, page)
		if err != nil {
			return nil, err
		}
		seen := make([]model.DeploymentRecord, 0, len(items))
		for _, item := range items {
			if item.GetId() == id || item.GetDeploymentUnitId() == id {
				found = item
				return nil, errListed
			}
			seen = append(seen, model.DeploymentRecord{ID: item.GetId()})
		}
		return seen, nil
	})
	switch class := ClassOf(err); {
	case found != nil, class == ClassNotSupported, class == ClassTerminal:
		return found, nil
	}
	return nil, err
}
