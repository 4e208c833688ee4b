package httpapi

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleListUnits answers with the unit records of one deployment as they are
// stored. A deployment has few: one per cluster, two while one replaces another.
func (s *Server) handleListUnits(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var body []byte
	found := false
	_, err = rq.view(opts, func(r storage.Reader) error {
		doc, err := r.Get(storage.DeploymentKey(key))
		if err != nil {
			return err
		}
		found = doc != nil
		body = append(body[:0], '[')
		err = storage.ListUnits(r, key, func(_ storage.UnitRef, record []byte) (bool, error) {
			if len(body) > 1 {
				body = append(body, ",\n"...)
			}
			body = append(body, record...)
			return true, nil
		})
		body = append(body, ']')
		return err
	})
	if err != nil {
		return err
	}
	if !found {
		return model.Errorf(model.CodeNotFound, "deployment %q does not exist", key)
	}
	return rq.answerJSON(fasthttp.StatusOK, body)
}

// handleListClusterUnits answers with the unit records of all deployments in one
// cluster.
func (s *Server) handleListClusterUnits(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var docs [][]byte
	exists := true
	_, err = rq.view(opts, func(r storage.Reader) error {
		docs = docs[:0]
		err := storage.UnitsOnCluster(r, name, func(deployment, unit string) (bool, error) {
			record, err := r.Get(storage.UnitKey(deployment, name, unit))
			if err == nil && record != nil {
				docs = append(docs, bytes.Clone(record))
			}
			return true, err
		})
		if err != nil || len(docs) > 0 {
			return err
		}
		doc, err := r.Get(storage.ClusterKey(name))
		exists = doc != nil
		return err
	})
	switch {
	case err != nil:
		return err
	case !exists:
		return clusterMissing(name)
	}
	return rq.answerDocuments(docs)
}

// handleMappings answers by which id each CRM knows the deployment. An unknown
// deployment has empty maps, as existing clients expect.
func (s *Server) handleMappings(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var units []model.UnitStatus
	_, err = rq.view(opts, func(r storage.Reader) error {
		units, err = storage.DecodeUnits(r, key)
		return err
	})
	if err != nil {
		return err
	}
	mapped := mappedUnits(units)
	body := append([]byte(`{"deployment_key":`), appendText(nil, key, false)...)
	for _, name := range []string{"cluster_ids", "env_ids"} {
		body = append(body, `,"`+name+`":{`...)
		for i, unit := range mapped {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(appendText(body, unit.Cluster, false), ':')
			body = appendText(body, unit.CRMID, false)
		}
		body = append(body, '}')
	}
	return rq.answerJSON(fasthttp.StatusOK, append(body, '}', '\n'))
}

// mappedUnits keeps one unit per cluster that its CRM has confirmed: where one
// unit is replacing another, the one that stays.
func mappedUnits(units []model.UnitStatus) []model.UnitStatus {
	units = slices.DeleteFunc(units, func(u model.UnitStatus) bool { return u.CRMID == "" })
	rank := func(u model.UnitStatus) uint64 {
		if u.Phase == model.UnitDeleting {
			return 0
		}
		return u.Generation + 1
	}
	slices.SortStableFunc(units, func(a, b model.UnitStatus) int {
		switch {
		case a.Cluster < b.Cluster:
			return -1
		case a.Cluster > b.Cluster:
			return 1
		case rank(a) > rank(b):
			return -1
		case rank(a) < rank(b):
			return 1
		}
		return 0
	})
	return slices.CompactFunc(units, func(a, b model.UnitStatus) bool { return a.Cluster == b.Cluster })
}
