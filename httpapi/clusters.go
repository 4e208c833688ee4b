package httpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleListClusters answers with the clusters and what is known of their
// health. It waits for no CRM, unless the client asks it to.
func (s *Server) handleListClusters(rq request) error {
	clusters, err := rq.clusters()
	if err != nil {
		return err
	}
	return rq.answerValue(clusters)
}

func (s *Server) handleListClusterHealth(rq request) error {
	clusters, err := rq.clusters()
	if err != nil {
		return err
	}
	health := make([]model.ClusterHealth, len(clusters))
	for i, c := range clusters {
		health[i] = c.Health
	}
	return rq.answerValue(health)
}

// clusters reads all clusters from memory, as fresh as the request asks.
func (rq request) clusters() ([]model.ClusterInfo, error) {
	refresh, err := rq.awaitClusters()
	if err != nil {
		return nil, err
	}
	clusters := rq.s.deps.Clusters.Clusters()
	if refresh {
		rq.setFailedClusters(rq.refreshAll(clusters))
	}
	return clusters, nil
}

// handleGetCluster answers with a cluster as it is stored, and what is known of
// it now.
func (s *Server) handleGetCluster(rq request) error {
	info, err := rq.cluster()
	if err != nil {
		return err
	}
	spec, ok := s.deps.Clusters.Spec(info.Name)
	if !ok {
		return clusterMissing(info.Name)
	}
	spec.Health, spec.Units = &info.Health, &info.Units
	body, err := json.Marshal(spec, jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return fmt.Errorf("encode cluster: %w", err)
	}
	rq.setETag(spec.ResourceVersion)
	return rq.answerJSON(fasthttp.StatusOK, append(body, '\n'))
}

func (s *Server) handleClusterHealth(rq request) error {
	info, err := rq.cluster()
	if err != nil {
		return err
	}
	return rq.answerValue(info.Health)
}

// cluster reads the cluster of the path, as fresh as the request asks.
func (rq request) cluster() (model.ClusterInfo, error) {
	name, err := rq.pathParam("name")
	if err != nil {
		return model.ClusterInfo{}, err
	}
	refresh, err := rq.awaitClusters()
	if err != nil {
		return model.ClusterInfo{}, err
	}
	info, ok := rq.s.deps.Clusters.Cluster(name)
	if !ok {
		return info, clusterMissing(name)
	}
	if refresh {
		ctx := rq.deadline(rq.s.cfg.RequestTimeout)
		defer ctx.release()
		if info.Health, err = rq.s.deps.Clusters.Refresh(ctx, name); err != nil {
			return info, err
		}
	}
	return info, nil
}

// catchUp is how long a read of the clusters waits for what this node has
// applied, so that the answer can say its index. It is a matter of microseconds.
const catchUp = 100 * time.Millisecond

// awaitClusters brings the view of the clusters to where the request asks:
// ?min_index=, or a ?consistency= that is given. Without either the view is
// taken as it is, which is what this node has applied. It also reads ?refresh=.
func (rq request) awaitClusters() (refresh bool, err error) {
	if refresh, _, err = rq.queryBool("refresh"); err != nil {
		return false, err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return false, err
	}
	_, given, err := rq.query("consistency")
	if err != nil {
		return false, err
	}
	if given || opts.MinIndex > 0 {
		if !given {
			opts.Consistency = storage.Stale
		}
		info, err := rq.view(opts, func(storage.Reader) error { return nil })
		if err != nil {
			return false, err
		}
		return refresh, rq.awaitInventory(info.Index)
	}
	ctx, cancel := context.WithTimeout(rq.s.base, catchUp)
	defer cancel()
	status := rq.s.deps.Store.Status()
	rq.setLastContact(status.LastContact)
	if rq.s.deps.Clusters.WaitFor(ctx, status.AppliedIndex) == nil {
		rq.setIndex(status.AppliedIndex)
	}
	return refresh, nil
}

// awaitInventory waits until what is told of the clusters includes the index.
func (rq request) awaitInventory(index uint64) error {
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	if err := rq.s.deps.Clusters.WaitFor(ctx, index); err != nil {
		return &model.Error{Code: model.CodeUnavailable, Message: "what this node knows of the clusters is behind", Err: err}
	}
	return nil
}

// maxRefreshes bounds how many clusters one request asks at once.
const maxRefreshes = 32

// refreshAll asks every CRM how it is and puts the answers in clusters. It
// returns those that did not answer; their health stays what was known.
func (rq request) refreshAll(clusters []model.ClusterInfo) []model.ClusterFailure {
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	failures := make([]*model.ClusterFailure, len(clusters))
	var group errgroup.Group
	group.SetLimit(maxRefreshes)
	for i := range clusters {
		group.Go(func() error {
			health, err := rq.s.deps.Clusters.Refresh(ctx, clusters[i].Name)
			if err != nil {
				failures[i] = clusterFailed(clusters[i].Name, err)
				return nil
			}
			clusters[i].Health = health
			return nil
		})
	}
	_ = group.Wait() // the functions return no errors
	var failed []model.ClusterFailure
	for _, f := range failures {
		if f != nil {
			failed = append(failed, *f)
		}
	}
	return failed
}

// clusterFailed makes sure that an error of a CRM says of which.
func clusterFailed(name string, err error) *model.ClusterFailure {
	var known *model.ClusterFailure
	if errors.As(err, &known) {
		return known
	}
	f := &model.ClusterFailure{Cluster: name, Code: model.CodeClusterFailed, Message: "its CRM could not be asked", Err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Code, f.Message = model.CodeClusterTimeout, "no answer in time"
	}
	return f
}

const (
	headerFailedClusters = "X-Oprc-Failed-Clusters"
	headerFailedCount    = "X-Oprc-Failed-Count"
	// maxFailedShown bounds how many clusters the header names.
	maxFailedShown = 100
)

// setFailedClusters marks a partial answer with those that it lacks:
// name=class,name=class.
func (rq request) setFailedClusters(failed []model.ClusterFailure) {
	if len(failed) == 0 {
		return
	}
	parts := make([]string, 0, min(len(failed), maxFailedShown))
	for _, f := range failed[:min(len(failed), maxFailedShown)] {
		parts = append(parts, headerSafe(f.Cluster)+"="+headerSafe(orElse(f.Class, string(f.Code))))
	}
	slices.Sort(parts)
	h := &rq.ctx.Response.Header
	h.Set(headerFailedClusters, strings.Join(parts, ","))
	h.Set(headerFailedCount, strconv.Itoa(len(failed)))
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
