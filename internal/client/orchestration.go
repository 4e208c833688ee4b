package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// Plan is where a deployment belongs, and what leads there from what is
// recorded.
type Plan struct {
	ID string `json:"id"`
	// Would is what the write would do: create, update, roll (the deployment
	// stays, its units change) or nothing.
	Would string `json:"would"`
	// Reason and Message say why there is no plan.
	Reason       string                 `json:"reason,omitempty"`
	Message      string                 `json:"message,omitempty"`
	Units        []model.DeploymentUnit `json:"units,omitempty"`
	PlacedOn     []model.PlacedCluster  `json:"placed_on,omitempty"`
	Requirements plan.Requirements      `json:"requirements"`
	Verdicts     []plan.Verdict         `json:"verdicts,omitempty"`
	Changes      []plan.Change          `json:"changes"`
	Shortfall    string                 `json:"shortfall,omitempty"`
	UnknownEnvs  []string               `json:"unknown_envs,omitempty"`
	Stranded     []string               `json:"stranded,omitempty"`
	Template     string                 `json:"template,omitempty"`
}

// Changed reports whether anything would be done.
func (p Plan) Changed() bool { return p.Would != "nothing" }

// PackagePlan is what storing a package would lead to.
type PackagePlan struct {
	ID    string `json:"id"`
	Would string `json:"would"`
	// Deployments of the package: Units and Verdicts are left out, and Changes
	// lack those that keep a unit.
	Deployments []Plan `json:"deployments"`
	// Plans of the deployments that were sent along, in full.
	Plans []Plan `json:"plans"`
	// Omitted is how many deployments were not looked at.
	Omitted int `json:"omitted"`
}

// PlanDeployment asks what storing d would lead to. Nothing is changed.
func (c *Client) PlanDeployment(ctx context.Context, d model.Deployment) (Plan, error) {
	body, err := objectOf(model.EncodeDeployment(d))
	if err != nil {
		return Plan{}, err
	}
	return dryRun[Plan](ctx, c, Resource(Deployments, d.Key), url.Values{}, body)
}

// PlanPackage asks what storing p with the deployments would lead to. Nothing is
// changed.
func (c *Client) PlanPackage(ctx context.Context, p model.Package, deployments []model.Deployment, force bool) (PackagePlan, error) {
	members, err := model.EncodePackage(p)
	if err != nil {
		return PackagePlan{}, fmt.Errorf("encode document: %w", err)
	}
	// The member is there already, empty: what is embedded is not stored with it.
	var document map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+string(members)+"}"), &document); err != nil {
		return PackagePlan{}, fmt.Errorf("encode document: %w", err)
	}
	embedded := make([]json.RawMessage, len(deployments))
	for i, d := range deployments {
		if embedded[i], err = objectOf(model.EncodeDeployment(d)); err != nil {
			return PackagePlan{}, err
		}
	}
	if document["deployments"], err = json.Marshal(embedded); err != nil {
		return PackagePlan{}, fmt.Errorf("encode document: %w", err)
	}
	body, err := json.Marshal(document)
	if err != nil {
		return PackagePlan{}, fmt.Errorf("encode document: %w", err)
	}
	query := url.Values{"apply_deployments": {"true"}}
	if force {
		query.Set("force", "true")
	}
	return dryRun[PackagePlan](ctx, c, Resource(Packages, p.Name), query, body)
}

// dryRun puts a document without storing it.
func dryRun[T any](ctx context.Context, c *Client, path string, query url.Values, body []byte) (T, error) {
	var answer T
	query.Set("dry_run", "true")
	response, err := c.Do(ctx, Request{Method: http.MethodPut, Path: path, Query: query, Body: body})
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(response.Body, &answer); err != nil {
		return answer, fmt.Errorf("decode answer of %s: %w", response.Server, err)
	}
	return answer, nil
}

// GetPlan reads where a stored deployment belongs now, and why.
func (c *Client) GetPlan(ctx context.Context, key string) (Plan, error) {
	return Get[Plan](ctx, c, Resource(Deployments, key, "plan"), nil)
}

// GetCluster reads a cluster with its health.
func (c *Client) GetCluster(ctx context.Context, name string) (model.Cluster, error) {
	return Get[model.Cluster](ctx, c, Resource(Clusters, name), nil)
}

// CreateCluster adds a cluster; a taken name is a conflict.
func (c *Client) CreateCluster(ctx context.Context, cluster model.Cluster, o WriteOptions) (WriteResult, error) {
	body, err := objectOf(model.EncodeCluster(cluster))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPost, Resource(Clusters), body, o)
}

// PutCluster adds or replaces a cluster.
func (c *Client) PutCluster(ctx context.Context, cluster model.Cluster, o WriteOptions) (WriteResult, error) {
	body, err := objectOf(model.EncodeCluster(cluster))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPut, Resource(Clusters, cluster.Name), body, o)
}

// DeleteCluster removes a cluster; while units are recorded there, only with
// Force.
func (c *Client) DeleteCluster(ctx context.Context, name string, o WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodDelete, Resource(Clusters, name), nil, o)
}

// What can be done with a cluster.
const (
	Cordon   = "cordon"
	Uncordon = "uncordon"
	Drain    = "drain"
)

// ActOnCluster cordons, uncordons or drains a cluster.
func (c *Client) ActOnCluster(ctx context.Context, name, action string, o WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodPost, Resource(Clusters, name, action), nil, o)
}

// ListClusterUnits reads the units of all deployments in a cluster, and the
// index at which that was so.
func (c *Client) ListClusterUnits(ctx context.Context, name string, query url.Values) ([]model.UnitStatus, uint64, error) {
	list, err := c.ListRaw(ctx, Resource(Clusters, name, "units"), query, 0)
	if err != nil {
		return nil, 0, err
	}
	units := make([]model.UnitStatus, len(list.Items))
	for i, raw := range list.Items {
		if err := json.Unmarshal(raw, &units[i]); err != nil {
			return nil, 0, fmt.Errorf("decode unit of cluster %s: %w", name, err)
		}
	}
	return units, list.Index, nil
}

// What can be done with the rollout of a deployment.
const (
	Pause  = "pause"
	Resume = "resume"
)

// ActOnDeployment pauses or resumes a rollout.
func (c *Client) ActOnDeployment(ctx context.Context, key, action string, o WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodPost, Resource(Deployments, key, action), nil, o)
}

// Rollback returns a deployment to a revision; 0 lets the server choose the last
// good one.
func (c *Client) Rollback(ctx context.Context, key string, revision uint64, o WriteOptions) (WriteResult, error) {
	body, err := json.Marshal(model.Rollback{Revision: revision})
	if err != nil {
		return WriteResult{}, fmt.Errorf("encode request: %w", err)
	}
	return c.write(ctx, http.MethodPost, Resource(Deployments, key, "rollback"), body, o)
}

// ListRevisions reads the kept revisions of a deployment, the oldest first.
func (c *Client) ListRevisions(ctx context.Context, key string) ([]model.Revision, error) {
	return ListAll[model.Revision](ctx, c, Resource(Deployments, key, "revisions"), nil)
}

// ListEvents reads events, the oldest first; query selects by kind, name, type,
// reason, since and limit.
func (c *Client) ListEvents(ctx context.Context, query url.Values) ([]model.Event, error) {
	return ListAll[model.Event](ctx, c, Resource(Events), query)
}

// FailedCluster is a cluster that a partial answer lacks.
type FailedCluster struct{ Name, Class string }

// failedClusters reads the header of a partial answer.
func failedClusters(header http.Header) []FailedCluster {
	var failed []FailedCluster
	for part := range strings.SplitSeq(header.Get("X-Oprc-Failed-Clusters"), ",") {
		if name, class, ok := strings.Cut(part, "="); ok {
			failed = append(failed, FailedCluster{name, class})
		}
	}
	// The header names no more than some; the others have no names here.
	if count, err := strconv.Atoi(header.Get("X-Oprc-Failed-Count")); err == nil && count > len(failed) && count < 1<<20 {
		failed = append(failed, FailedCluster{Name: fmt.Sprintf("%d more", count-len(failed))})
	}
	return failed
}
