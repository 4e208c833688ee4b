package records

import (
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// normal fills in what a CRM left out, and puts the name by which the control
// plane knows the cluster in place of the CRM's own.
func normal(record model.DeploymentRecord, cluster string) model.DeploymentRecord {
	record.ClusterName = &cluster
	if record.DeploymentUnitID == "" {
		record.DeploymentUnitID = record.ID
	}
	if record.ResourceRefs == nil {
		record.ResourceRefs = []model.ResourceReference{}
	}
	record.PartitionCount = max(1, record.PartitionCount)
	return record
}

// selects reports whether a record passes the filters of q. environments are
// those of its cluster: CRMs know nothing of them, and call an environment what
// may be a namespace.
func selects(q model.RecordQuery, record model.DeploymentRecord, environments []string) bool {
	class := strings.TrimPrefix(record.ClassKey, record.PackageName+".")
	return (q.Package == "" || q.Package == record.PackageName) &&
		(q.Class == "" || q.Class == record.ClassKey || q.Class == class || q.Class == record.PackageName+"."+class) &&
		(q.Environment == "" || q.Environment == record.TargetEnvironment || q.Environment == *record.ClusterName ||
			slices.Contains(environments, q.Environment)) &&
		(q.Status == "" || strings.EqualFold(q.Status, record.Status.Condition) || strings.EqualFold(q.Status, record.Status.Phase))
}
