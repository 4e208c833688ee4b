package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxUnitID is more than any package manager's ids are long.
const maxUnitID = 253

// adoptUnit records a unit that an earlier package manager made.
func (s *Store) adoptUnit(ctx context.Context, term uint64, key, id string) error {
	deployment, cluster, _ := strings.Cut(strings.TrimPrefix(key, storage.DeploymentPrefix), legacyClusters)
	document, err := s.current.Load().tree.Get(storage.DeploymentKey(deployment))
	if err != nil {
		return err
	}
	if id == "" || len(id) > maxUnitID || strings.ContainsAny(id+cluster, "/\x00") {
		s.refuse(key, []byte(id), fmt.Errorf("%.40q in cluster %q is no id of a unit", id, cluster))
		return nil
	}
	if document == nil {
		return fmt.Errorf("unit %s in %s: its deployment %s is not taken over", id, cluster, deployment)
	}
	// Asked for here and not left to the command: a rejection would be an entry, and
	// this is tried again for as long as the cluster is missing.
	if known, err := s.current.Load().tree.Get(storage.ClusterKey(cluster)); known == nil {
		return errors.Join(fmt.Errorf("unit %s of %s: its cluster %s is not registered", id, deployment, cluster), err)
	}
	stamp, err := storage.ReadStamp(document)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	o := newOp(storage.Request{LeaderTerm: term, Command: storage.RecordUnitStatus{
		Deployment: deployment, Generation: stamp.Generation,
		Put: []model.UnitStatus{{
			ID: id, CRMID: id, DeploymentKey: deployment, Cluster: cluster, Generation: stamp.Generation,
			Phase: model.UnitRunning, LastTransitionTime: now, Message: "taken over from an earlier package manager",
		}},
	}})
	full := s.keys.of(key)
	o.repairs, o.conditions, o.extra = []string{key}, []clientv3.Cmp{holds(full, []byte(id))}, []clientv3.Op{clientv3.OpDelete(full)}
	if _, err := s.submitBounded(ctx, o); err != nil {
		// Nothing was written. The deployment may have changed meanwhile.
		return fmt.Errorf("take over unit %s of %s in %s: %w", id, deployment, cluster, err)
	}
	s.logger.Info("a unit of an earlier package manager was taken over", "unit", id, "deployment", deployment, "cluster", cluster)
	return nil
}
