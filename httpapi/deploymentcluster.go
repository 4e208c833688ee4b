package httpapi

import (
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// removeFromCluster takes a cluster off the targets of a deployment, so that its
// unit there is removed and the others stay.
func (rq request) removeFromCluster(cluster string) error {
	wait, err := rq.queryWait()
	if err != nil {
		return err
	}
	d, res, err := rq.changeDeployment("remove from "+cluster, func(r storage.Reader, d *model.Deployment) error {
		return dropTarget(r, d, cluster)
	})
	if err != nil {
		return err
	}
	code, message := fasthttp.StatusOK, "Deployment deleted from cluster "+cluster
	if wait > 0 {
		gone, err := rq.awaitNoUnits(d.Key, cluster, res.Index, wait)
		if err != nil {
			rq.s.deps.Logger.Warn("watch units for a waiting client", "key", d.Key, "cluster", cluster, "err", err)
		}
		if !gone {
			code, message = fasthttp.StatusAccepted, "Deployment is being deleted from cluster "+cluster
		}
	}
	return rq.answerJSON(code, appendDeletion(nil, d.Key, message, []string{cluster}))
}

// dropTarget removes a cluster from the explicit targets. A deployment that does
// not ask to be there stays as it is: its unit is on its way out, or gone.
func dropTarget(r storage.Reader, d *model.Deployment, cluster string) error {
	conflict := func(format string, args ...any) error {
		e := model.Errorf(model.CodeConflict, format, args...)
		e.Problems = []model.Problem{{Path: "cluster", Message: e.Message}}
		return e
	}
	i := slices.Index(d.TargetEnvs, cluster)
	if i < 0 {
		planned, err := plannedOnto(r, d, cluster)
		if err != nil {
			return err
		}
		if planned {
			return conflict("deployment %q does not name cluster %q in target_envs; where it runs is planned: cordon or drain the cluster, or change placement",
				d.Key, cluster)
		}
		return knownCluster(r, d.Key, cluster)
	}
	if len(d.TargetEnvs) == 1 {
		// Without targets it would be placed anywhere.
		return conflict("%q is the only target of deployment %q; delete the deployment instead", cluster, d.Key)
	}
	d.TargetEnvs = slices.Delete(slices.Clone(d.TargetEnvs), i, i+1)
	delete(d.EnvTemplates, cluster)
	if d.ODGM != nil {
		delete(d.ODGM.EnvNodeIDs, cluster)
	}
	return nil
}

// plannedOnto reports whether planning may choose a cluster that a deployment does
// not name: it names none, or an environment of the cluster, or the cluster stands
// in for a target.
func plannedOnto(r storage.Reader, d *model.Deployment, cluster string) (bool, error) {
	standsIn := slices.ContainsFunc(d.PlacedOn, func(p model.PlacedCluster) bool { return p.Cluster == cluster && p.For != "" })
	if len(d.TargetEnvs) == 0 || standsIn {
		return true, nil
	}
	doc, err := r.Get(storage.ClusterKey(cluster))
	if err != nil || doc == nil {
		return false, err
	}
	c, err := model.ParseCluster(doc)
	if err != nil {
		return false, fmt.Errorf("read cluster %q: %w", cluster, err)
	}
	return slices.ContainsFunc(d.TargetEnvs, func(env string) bool { return slices.Contains(c.Environments, env) }), nil
}

// knownCluster reports a name that is no cluster: to say that the deployment was
// taken off it would hide a typing error. One that is gone and of which units are
// still recorded is known.
func knownCluster(r storage.Reader, key, cluster string) error {
	doc, err := r.Get(storage.ClusterKey(cluster))
	if err != nil || doc != nil {
		return err
	}
	units, err := storage.DecodeUnits(r, key)
	if err != nil || slices.ContainsFunc(units, func(u model.UnitStatus) bool { return u.Cluster == cluster }) {
		return err
	}
	return clusterMissing(cluster)
}
