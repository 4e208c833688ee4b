package httpapi

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleListClusters answers with the configured clusters and what is known of
// their health. It waits for no CRM.
func (s *Server) handleListClusters(rq request) error {
	return rq.answerValue(s.clusters(rq))
}

func (s *Server) handleListClusterHealth(rq request) error {
	clusters := s.clusters(rq)
	health := make([]model.ClusterHealth, len(clusters))
	for i, c := range clusters {
		health[i] = c.Health
	}
	return rq.answerValue(health)
}

func (s *Server) handleClusterHealth(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	if s.deps.Clusters != nil {
		ctx := rq.deadline(s.cfg.RequestTimeout)
		defer ctx.release()
		if health, ok := s.deps.Clusters.ClusterHealth(ctx, name); ok {
			return rq.answerValue(health)
		}
	}
	return model.Errorf(model.CodeNotFound, "cluster %q is not configured", name)
}

func (s *Server) clusters(rq request) []model.ClusterInfo {
	if s.deps.Clusters == nil {
		return []model.ClusterInfo{}
	}
	ctx := rq.deadline(s.cfg.RequestTimeout)
	defer ctx.release()
	return s.deps.Clusters.Clusters(ctx)
}

// handleListMembers answers with the servers of the cluster.
func (s *Server) handleListMembers(rq request) error {
	members := []storage.Member{}
	if s.deps.Members != nil {
		ctx, cancel := context.WithTimeout(s.base, s.cfg.RequestTimeout)
		defer cancel()
		found, err := s.deps.Members(ctx)
		if err != nil {
			return fmt.Errorf("list members: %w", err)
		}
		members = append(members, found...)
	}
	return rq.answerValue(members)
}

// answerValue answers 200 with a value as JSON; a nil slice is an empty array.
func (rq request) answerValue(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return rq.answerJSON(fasthttp.StatusOK, append(body, '\n'))
}
