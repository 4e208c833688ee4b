package model

// RecordQuery selects deployment records of CRMs; empty fields select all.
type RecordQuery struct {
	// Cluster asks one cluster only.
	Cluster string
	Package string
	// Class is a class key, or PACKAGE.CLASS as CRMs write it.
	Class string
	// Environment is what a CRM calls its environment, or a cluster's name.
	Environment string
	// Status is a record's condition or phase, in any case.
	Status string
}

// RecordList is what the CRMs that answered hold, sorted by cluster and id, and
// which clusters did not answer.
type RecordList struct {
	Records []DeploymentRecord
	Failed  []ClusterFailure
}

// Codes of failures of a cluster's CRM, where its answer is what was asked for.
const (
	// CodeClusterFailed: the CRM answered, and not with what was asked for.
	CodeClusterFailed Code = "cluster_failed"
	// CodeClusterUnavailable: the CRM cannot be reached.
	CodeClusterUnavailable Code = "cluster_unavailable"
	// CodeClusterTimeout: the CRM did not answer in time.
	CodeClusterTimeout Code = "cluster_timeout"
)

// ClusterFailure tells that a cluster's CRM did not answer a question.
type ClusterFailure struct {
	Cluster string
	// Code is one of the three above; Class is how the call failed, for programs:
	// retryable, terminal and so on.
	Code  Code
	Class string
	// Message is for people.
	Message string
	// Err is the cause, for the log; may be nil.
	Err error
}

func (e *ClusterFailure) Error() string {
	text := "cluster " + e.Cluster + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives what a client may see, see CodeOf.
func (e *ClusterFailure) Unwrap() error {
	return &Error{Code: e.Code, Message: "cluster " + e.Cluster + ": " + e.Message, Err: e.Err}
}
