package httpapi

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// defaultEvents is how many events a list without ?limit holds.
const defaultEvents = 500

// handleListEvents answers with events, the oldest first. ?limit keeps the
// newest.
func (s *Server) handleListEvents(rq request) error {
	q, err := rq.eventQuery()
	if err != nil {
		return err
	}
	if q.Kind, err = rq.queryName("kind"); err != nil {
		return err
	}
	switch q.Kind {
	case "", model.EventAboutDeployment, model.EventAboutCluster, model.EventAboutPackage, model.EventAboutNode:
	default:
		return invalidField("kind", "query parameter kind must be deployment, cluster, package or node, not %q", printable([]byte(q.Kind)))
	}
	if q.Name, err = rq.queryName("name"); err != nil {
		return err
	}
	return rq.answerEvents(q, nil)
}

// handleDeploymentEvents answers with the events about one deployment. Those of
// one that is gone are kept for a while.
func (s *Server) handleDeploymentEvents(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	q, err := rq.eventQuery()
	if err != nil {
		return err
	}
	q.Kind, q.Name = model.EventAboutDeployment, key
	return rq.answerEvents(q, storage.DeploymentKey(key))
}

// handleClusterEvents answers with the events about one cluster.
func (s *Server) handleClusterEvents(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	q, err := rq.eventQuery()
	if err != nil {
		return err
	}
	q.Kind, q.Name = model.EventAboutCluster, name
	return rq.answerEvents(q, storage.ClusterKey(name))
}

// eventQuery reads the filters that all lists of events have.
func (rq request) eventQuery() (storage.EventQuery, error) {
	q := storage.EventQuery{NewestFirst: true, Limit: defaultEvents}
	kind, err := rq.queryName("type")
	if err != nil {
		return q, err
	}
	switch q.Type = model.EventType(kind); q.Type {
	case "", model.EventNormal, model.EventWarning, model.EventAlarm:
	default:
		return q, invalidField("type", "query parameter type must be Normal, Warning or Alarm, not %q", printable([]byte(kind)))
	}
	if q.Reason, err = rq.queryName("reason"); err != nil {
		return q, err
	}
	limit, given, err := rq.queryCount("limit")
	if err != nil {
		return q, err
	}
	if given {
		q.Limit = min(limit, storage.MaxEvents)
		if limit == 0 {
			return q, invalidField("limit", "query parameter limit must be at least 1")
		}
	}
	return q, rq.eventsSince(&q)
}

// eventsSince reads ?since=: the sequence of an event that is known, a time, or
// how long ago.
func (rq request) eventsSince(q *storage.EventQuery) error {
	const name = "since"
	text, given, err := rq.query(name)
	if err != nil || !given {
		return err
	}
	if sequence, err := strconv.ParseUint(text, 10, 64); err == nil {
		q.After = sequence
		return nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		q.Since = at
		return nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		q.Since = time.Now().Add(-ago)
		return nil
	}
	return invalidField(name, "query parameter %s must be the sequence of an event, a time such as 2026-01-02T15:04:05Z, or how long ago, such as 1h, not %q",
		name, printable([]byte(text)))
}

// answerEvents answers with the events that q selects, the oldest first. When
// there are none and owner, which may be nil, does not exist, that is not found.
func (rq request) answerEvents(q storage.EventQuery, owner []byte) error {
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var docs [][]byte
	exists := true
	_, err = rq.view(opts, func(r storage.Reader) error {
		docs = docs[:0]
		err := storage.ListEvents(r, q, func(_ model.Event, doc []byte) (bool, error) {
			docs = append(docs, bytes.Clone(doc))
			return true, nil
		})
		if err != nil || owner == nil || len(docs) > 0 {
			return err
		}
		doc, err := r.Get(owner)
		exists = doc != nil
		return err
	})
	if err != nil {
		return err
	}
	if !exists {
		return model.Errorf(model.CodeNotFound, "%s %q does not exist", q.Kind, q.Name)
	}
	slices.Reverse(docs)
	return rq.answerDocuments(docs)
}

// answerDocuments answers with documents that are JSON already.
func (rq request) answerDocuments(docs [][]byte) error {
	body := append([]byte{'['}, bytes.Join(docs, []byte(itemSeparator))...)
	return rq.answerJSON(fasthttp.StatusOK, append(body, ']', '\n'))
}
