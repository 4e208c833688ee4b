package records

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// Fleet hands out the clients of clusters.
type Fleet interface {
	// Client returns the client of a cluster; "" means the default cluster.
	Client(name string) (crm.Client, bool)
}

// Inventory tells which clusters there are, and where a unit is recorded.
type Inventory interface {
	Clusters() []inventory.ClusterView
	Cluster(name string) (inventory.ClusterView, bool)
	FindUnit(id string) []inventory.UnitRef
}

// Reader asks CRMs. Its methods may be called from many goroutines.
type Reader struct {
	fleet     Fleet
	inventory Inventory
	cfg       Config
	slots     slots
	// lists has a place for each question to all clusters.
	lists chan struct{}
}

// New makes a reader; cfg must be valid. It does no I/O.
func New(fleet Fleet, inv Inventory, cfg Config) *Reader {
	return &Reader{
		fleet: fleet, inventory: inv, cfg: cfg,
		slots: slots{perCluster: cfg.PerCluster, byCluster: map[string]*slot{}},
		lists: make(chan struct{}, cfg.MaxLists),
	}
}

// List returns the records that q selects, over all clusters or of q.Cluster. A
// cluster that does not answer is in Failed; one whose circuit is open is not
// asked, unless it is named. Errors: invalid for a cluster that does not exist,
// unavailable when too many others ask.
func (r *Reader) List(ctx context.Context, q model.RecordQuery) (model.RecordList, error) {
	list := model.RecordList{Records: []model.DeploymentRecord{}}
	names, err := r.asked(q.Cluster, &list.Failed)
	if err != nil {
		return list, err
	}
	outcomes, err := askAll(ctx, r, names, func(ctx context.Context, name string, client crm.Client) ([]model.DeploymentRecord, error) {
		return r.pages(ctx, name, client, q)
	})
	if err != nil {
		return list, err
	}
	for _, o := range outcomes {
		list.Records = append(list.Records, o.value...)
		if o.err != nil {
			list.Failed = append(list.Failed, *Failure(o.cluster, o.err))
		}
	}
	slices.SortFunc(list.Failed, func(a, b model.ClusterFailure) int { return cmp.Compare(a.Cluster, b.Cluster) })
	return list, nil
}

// asked names the clusters that a question goes to. Those that are not worth
// asking are added to failed.
func (r *Reader) asked(only string, failed *[]model.ClusterFailure) ([]string, error) {
	if only != "" {
		if _, known := r.inventory.Cluster(only); !known {
			return nil, unknownCluster(only)
		}
		return []string{only}, nil
	}
	views := r.inventory.Clusters()
	names := make([]string, 0, len(views))
	for i := range views {
		name := views[i].Spec.Name
		if views[i].Health.Circuit == model.CircuitOpen {
			*failed = append(*failed, model.ClusterFailure{
				Cluster: name, Code: model.CodeClusterUnavailable, Class: classCircuitOpen,
				Message: "it was not asked, since it has not answered for some time",
			})
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

// pages reads the records of one cluster page by page. CRMs differ in what they
// make of filters (the reference CRM ignores most and compares status with a
// text), so only the package is sent and all are applied here.
func (r *Reader) pages(ctx context.Context, cluster string, client crm.Client, q model.RecordQuery) ([]model.DeploymentRecord, error) {
	var records []model.DeploymentRecord
	seen := map[string]bool{}
	view, _ := r.inventory.Cluster(cluster)
	short := false
	for {
		page, err := client.Records(ctx, crm.Origin{}, crm.RecordFilter{Package: q.Package, Limit: r.cfg.PageSize, Offset: len(seen)})
		if err != nil {
			// What the pages before held is not the whole, and not worth less.
			return finished(records), err
		}
		before := len(seen)
		for _, record := range page {
			if seen[record.ID] {
				continue
			}
			seen[record.ID] = true
			if record = normal(record, cluster); selects(q, record, view.Spec.Environments) {
				records = append(records, record)
			}
		}
		// The CRM's own limit may be below ours: a short page is the last one when
		// nothing recorded is missing, unless there was more after another.
		wasShort := short
		short = len(page) < r.cfg.PageSize
		switch {
		case len(seen) == before, len(page) > r.cfg.PageSize:
			// Nothing more, or a CRM that heeds no offset, or no limit.
			return finished(records), nil
		case short && !wasShort && len(seen) >= view.Units:
			return finished(records), nil
		case len(seen) >= r.cfg.MaxRecords:
			return finished(records), &model.ClusterFailure{
				Cluster: cluster, Code: model.CodeClusterFailed, Class: classTruncated,
				Message: fmt.Sprintf("it holds more than %d records", r.cfg.MaxRecords),
			}
		}
	}
}

func finished(records []model.DeploymentRecord) []model.DeploymentRecord {
	slices.SortFunc(records, func(a, b model.DeploymentRecord) int { return cmp.Compare(a.ID, b.ID) })
	return records
}

// Get returns a record by the unit's id or by the id that its CRM gave it. It
// asks cluster, or where the unit is recorded, or else all clusters. Errors:
// invalid for a cluster that does not exist, not_found when every cluster that
// could hold it says so, else the *model.ClusterFailure of one that did not say.
func (r *Reader) Get(ctx context.Context, id, cluster string) (model.DeploymentRecord, error) {
	return find(ctx, r, id, cluster, func(ctx context.Context, at place, client crm.Client) (model.DeploymentRecord, error) {
		record, err := client.Record(ctx, crm.Origin{}, at.id)
		return normal(record, at.cluster), err
	})
}

// Status returns the state of a unit as its CRM tells it; errors as Get.
func (r *Reader) Status(ctx context.Context, id, cluster string) (model.CRMStatus, error) {
	return find(ctx, r, id, cluster, func(ctx context.Context, at place, client crm.Client) (model.CRMStatus, error) {
		return client.Status(ctx, crm.Origin{}, at.id)
	})
}

// Topology asks a cluster for its data plane; "" means the default cluster.
func (r *Reader) Topology(ctx context.Context, cluster string) (model.TopologySnapshot, error) {
	if cluster != "" {
		if _, known := r.inventory.Cluster(cluster); !known {
			return model.TopologySnapshot{}, unknownCluster(cluster)
		}
	}
	o := ask(ctx, r, cluster, func(ctx context.Context, _ string, client crm.Client) (model.TopologySnapshot, error) {
		return client.Topology(ctx)
	})
	if o.err == nil {
		return o.value, nil
	}
	if cluster == "" && errors.Is(o.err, errNoClient) {
		return model.TopologySnapshot{}, model.Errorf(model.CodeClusterUnavailable, "no default cluster is configured")
	}
	return model.TopologySnapshot{}, Failure(cluster, o.err)
}
