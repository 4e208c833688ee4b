package records

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

var (
	errNoClient = errors.New("this node has no client for it")
	errBusy     = errors.New("too many questions wait for its answer")
)

// Classes of failures that no call has.
const (
	classNoClient = "no_client"
	classBusy     = "busy"
	// classCircuitOpen: it was not asked, because it did not answer before.
	classCircuitOpen = "circuit_open"
	classTimeout     = "timeout"
	classTruncated   = "truncated"
)

// Failure words the failed call to a cluster's CRM for clients of the API.
func Failure(cluster string, err error) *model.ClusterFailure {
	f := &model.ClusterFailure{Cluster: cluster, Code: model.CodeClusterUnavailable, Message: "its CRM did not answer", Err: err}
	var known *model.ClusterFailure
	var call *crm.CallError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errNoClient):
		f.Class, f.Message = classNoClient, errNoClient.Error()
	case errors.Is(err, errBusy):
		f.Class, f.Message = classBusy, errBusy.Error()
	case errors.As(err, &call):
		f.Class, f.Message = string(call.Class), call.Reason
		f.Code = codeOf(call)
		if cluster == "" {
			f.Cluster = call.Cluster // the default one
		}
	case timedOut(err):
		f.Code, f.Message = model.CodeClusterTimeout, "no answer in time"
	}
	if f.Code == model.CodeClusterTimeout {
		f.Class = classTimeout
	}
	if f.Class == "" {
		f.Class = string(crm.ClassOf(err))
	}
	return f
}

func codeOf(call *crm.CallError) model.Code {
	switch {
	case call.Class == crm.ClassNotSupported:
		return model.CodeClusterFailed
	case call.NotSent:
		return model.CodeClusterUnavailable
	case call.TimedOut(), call.Status == 0 && timedOut(call.Err):
		return model.CodeClusterTimeout
	case call.Status == 0 && call.Class == crm.ClassRetryable, call.Class == crm.ClassCanceled:
		return model.CodeClusterUnavailable
	}
	return model.CodeClusterFailed
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func unknownCluster(name string) error {
	return model.Invalid([]model.Problem{{Path: "cluster", Message: fmt.Sprintf("there is no cluster %q", name)}})
}
