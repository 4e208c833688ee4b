package httpapi

import (
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleListRecords answers with what the CRMs hold. An unknown cluster is bad
// input.
func (s *Server) handleListRecords(rq request) error {
	q, err := rq.recordQuery()
	if err != nil {
		return err
	}
	return rq.answerRecords(q)
}

// handleListClassRuntimes is handleListRecords as existing clients know it: an
// unknown cluster holds nothing.
func (s *Server) handleListClassRuntimes(rq request) error {
	q, err := rq.recordQuery()
	if err != nil {
		return err
	}
	if q.Cluster != "" {
		if _, known := s.deps.Clusters.Cluster(q.Cluster); !known {
			return rq.answerValue([]model.DeploymentRecord{})
		}
	}
	return rq.answerRecords(q)
}

// recordQuery reads the filters of the record lists.
func (rq request) recordQuery() (q model.RecordQuery, err error) {
	for _, parameter := range []struct {
		name  string
		value *string
	}{
		{"cluster", &q.Cluster}, {"package_name", &q.Package}, {"class_key", &q.Class},
		{"environment", &q.Environment}, {"status", &q.Status},
	} {
		if *parameter.value, err = rq.queryName(parameter.name); err != nil {
			return q, err
		}
	}
	return q, nil
}

// answerRecords asks the CRMs. When the only cluster that was asked does not
// answer, that is the answer; otherwise a header tells what is missing.
func (rq request) answerRecords(q model.RecordQuery) error {
	limit, limited, err := rq.queryCount("limit")
	if err != nil {
		return err
	}
	offset, _, err := rq.queryCount("offset")
	if err != nil {
		return err
	}
	list := model.RecordList{}
	if rq.s.deps.Records != nil {
		ctx := rq.deadline(rq.s.cfg.RequestTimeout)
		defer ctx.release()
		if list, err = rq.s.deps.Records.List(ctx, q); err != nil {
			return err
		}
	}
	if q.Cluster != "" && len(list.Failed) > 0 && len(list.Records) == 0 {
		return &list.Failed[0]
	}
	rq.setFailedClusters(list.Failed)
	records := list.Records[min(offset, len(list.Records)):]
	if limited {
		records = records[:min(limit, len(records))]
	}
	return rq.answerValue(records)
}

// handleGetRecord answers with one record, by the id of its unit.
func (s *Server) handleGetRecord(rq request) error {
	id, cluster, err := rq.unitAddress()
	if err != nil {
		return err
	}
	if s.deps.Records == nil {
		return noCRM()
	}
	ctx := rq.deadline(s.cfg.RequestTimeout)
	defer ctx.release()
	record, err := s.deps.Records.Get(ctx, id, cluster)
	if err != nil {
		return err
	}
	return rq.answerValue(record)
}

// unitAddress reads the id of the path, and ?env= or its alias ?cluster=.
func (rq request) unitAddress() (id, cluster string, err error) {
	if id, err = rq.pathParam("id"); err != nil {
		return "", "", err
	}
	if cluster, err = rq.queryName("env"); err != nil || cluster != "" {
		return id, cluster, err
	}
	cluster, err = rq.queryName("cluster")
	return id, cluster, err
}

func noCRM() error {
	return model.Errorf(model.CodeClusterUnavailable, "there is no cluster that could be asked")
}

// statusAnswer is the state of a unit or, with Units, of a deployment.
type statusAnswer struct {
	ID      string  `json:"id"`
	Status  string  `json:"status"`
	Phase   string  `json:"phase"`
	Message *string `json:"message"`
	// LastUpdated is RFC 3339.
	LastUpdated string             `json:"last_updated"`
	Condition   string             `json:"condition,omitempty"`
	Units       []model.UnitStatus `json:"units,omitempty"`
}

// handleDeploymentStatus answers how a deployment is, by its key, from what is
// recorded; or how a unit is, by its id, as its CRM says.
func (s *Server) handleDeploymentStatus(rq request) error {
	id, cluster, err := rq.unitAddress()
	if err != nil {
		return err
	}
	if cluster == "" {
		answer, found, err := rq.recordedStatus(id)
		if err != nil {
			return err
		}
		if found {
			return rq.answerValue(answer)
		}
	}
	if s.deps.Records == nil {
		return noCRM()
	}
	ctx := rq.deadline(s.cfg.RequestTimeout)
	defer ctx.release()
	status, err := s.deps.Records.Status(ctx, id, cluster)
	if err != nil {
		return err
	}
	return rq.answerValue(status)
}

// recordedStatus words the recorded state of a deployment as CRMs word that of
// units.
func (rq request) recordedStatus(key string) (answer statusAnswer, found bool, err error) {
	opts, err := rq.readOptions()
	if err != nil {
		return answer, false, err
	}
	var d model.Deployment
	var units []model.UnitStatus
	_, err = rq.view(opts, func(r storage.Reader) error {
		if d, found, err = readDeployment(r, key); err != nil || !found {
			return err
		}
		units, err = storage.DecodeUnits(r, key)
		return err
	})
	if err != nil || !found {
		return answer, false, err
	}
	answer = statusAnswer{ID: key, Phase: string(d.Condition), Condition: string(d.Condition), Units: units}
	if d.Condition == "" {
		answer.Phase, answer.Condition = string(model.DeploymentPending), string(model.DeploymentPending)
	}
	switch d.Condition {
	case model.DeploymentRunning:
		answer.Status = "Running"
	case model.DeploymentDown, model.DeploymentDeleted:
		answer.Status = "Down"
	default:
		answer.Status = "Pending"
	}
	if text := whyNot(d); text != "" {
		answer.Message = &text
	}
	if d.UpdatedAt != nil {
		answer.LastUpdated = d.UpdatedAt.UTC().Format(time.RFC3339Nano)
	}
	return answer, true, nil
}

// whyNot is what keeps a deployment from running, in its own words.
func whyNot(d model.Deployment) string {
	if d.Status != nil && d.Status.LastError != "" {
		return d.Status.LastError
	}
	i := slices.IndexFunc(d.Conditions, func(c model.Condition) bool {
		return c.Status != model.ConditionTrue && c.Message != ""
	})
	if i < 0 {
		return ""
	}
	return d.Conditions[i].Message
}
